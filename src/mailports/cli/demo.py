"""`mailports demo`: a real conflict in a namespace of its own, and what status, why and audit say of it."""

from __future__ import annotations

import sys

from mailports.cli.arguments import parser_of
from mailports.cli.output import show, style_of
from mailports.faults import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailports.report.style import Style

STORY = """A network namespace of its own, with stand-ins for four programs on real sockets.
postfix and haproxy both set SO_REUSEPORT on port 25, as the real ones do: no
error, no log line, and each gets some of the mail. dovecot is as it should be.
rspamd's controller is open to the world."""


def run(argv: list[str]) -> int:
    """Run the verb."""
    parser = parser_of("demo", "Stage a real conflict in a network namespace of its own, and show it.")
    options = parser.parse_args(argv)
    if sys.platform != "linux":
        raise HostError("make a network namespace", "", "only Linux has them")
    from mailports.host.stage import StandIn, play

    style = style_of(sys.stdout, options.color)
    show([STORY])
    stand_ins = (
        StandIn("postfix", (("0.0.0.0", 25), ("::", 25)), reuseport=True),  # noqa: S104
        StandIn("haproxy", (("0.0.0.0", 25),), reuseport=True),  # noqa: S104
        StandIn("dovecot", (("0.0.0.0", 143), ("::", 143), ("0.0.0.0", 993), ("::", 993))),  # noqa: S104
        StandIn("rspamd", (("127.0.0.1", 11332), ("0.0.0.0", 11334))),  # noqa: S104
    )
    return play(stand_ins, lambda: _act(style))


def _act(style: Style) -> int:
    """In the namespace: the same as the verbs do, so that what is shown is what a user gets."""
    from mailports.cli import audit, status, why

    color = "always" if style.color else "never"
    for words, verb in (
        (("status",), status),
        (("why", "25", "--address", "0.0.0.0", "--netns", "here"), why),  # noqa: S104
        (("audit", "--netns", "here"), audit),
    ):
        show(["", style.paint(f"$ mailports {' '.join(words)}", "hint"), ""])
        verb.run([*words[1:], "--color", color])
    show(["", "Nothing of this is left: the stand-ins and their namespace end with this line."])
    return 0
