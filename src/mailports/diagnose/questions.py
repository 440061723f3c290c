"""What a text leaves open, and the one or two commands whose output would settle it. Pure."""

from __future__ import annotations

from mailports.diagnose.attempts import failures
from mailports.diagnose.seen import Seen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailports.model.facts import Snapshot
    from mailports.model.findings import Diagnosis

MOST = 3
_COMMANDS = (
    "ss",
    "docker",
    "podman",
    "systemctl",
    "journalctl",
    "nft",
    "iptables-save",
    "mailports",
    "ip",
    "getsebool",
    "ps",
    "tasklist",
)


def is_open(snapshot: Snapshot) -> bool:
    """Whether something that failed is still unexplained."""
    return any(one.unknown is not None for one in failures(Seen(snapshot)))


def next_commands(snapshot: Snapshot, diagnosis: Diagnosis) -> tuple[str, ...]:
    """Return what to run next, the most telling first; none where nothing is open."""
    open_questions = [u for f in diagnosis.findings for u in f.unknown] + list(diagnosis.unknown)
    commands = [u.how_to_see for u in open_questions if u.how_to_see and u.how_to_see.split()[0] in _COMMANDS]
    has_listeners = any(s.state == "listen" for s in snapshot.sockets)
    if not diagnosis.findings and not commands and not has_listeners:
        commands = ["ss -tlnp", "journalctl -b -p warning -u postfix -u dovecot -u exim4"]
    if any(a.call == "publish" for a in snapshot.attempts) and not snapshot.containers:
        commands.append("docker ps -a")
    return tuple(dict.fromkeys(commands))[:MOST]
