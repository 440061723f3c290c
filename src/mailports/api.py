"""The front door for programs: look at this machine, judge what was seen, read and write it.

    from mailports import api

    snapshot = api.observe(api.Scope(everything=True, netns="all"))
    for finding in api.diagnose(snapshot).findings:
        print(finding.severity, finding.name, finding.summary)

Everything that is returned is a plain immutable noun of `mailports.model`.
"""

from __future__ import annotations

from mailports.bind import would_bind
from mailports.diagnose.rules import diagnose
from mailports.diagnose.story import tell
from mailports.formats.documents import snapshot_from_json, snapshot_to_json
from mailports.observe.look import Scope

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailports.model.facts import Snapshot

__all__ = ["Scope", "diagnose", "observe", "snapshot_from_json", "snapshot_to_json", "tell", "would_bind"]


def observe(scope: Scope = Scope()) -> Snapshot:  # noqa: B008 -- immutable
    """Return what is seen of this machine.

    Raises:
        HostError: the machine wouldn't answer, or has no such namespace.
    """
    from mailports.host.local import Machine
    from mailports.observe import look

    return look.observe(Machine(), scope)
