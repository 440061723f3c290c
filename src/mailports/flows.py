"""How mail moves through each port, and what stops when its traffic goes to the wrong program. Pure.

Source: RFC 5598 (roles), RFC 5321 4.5.4.1 and 5.1 (retries, MX), RFC 8314; behaviour of Postfix 3.10,
Exim 4.98 and Dovecot 2.4 towards wrong or missing services, as measured for each row.
"""

from __future__ import annotations

from mailports.model.findings import Break

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailports.catalogue.ports import Port

WRONG, ABSENT, EXPOSED = "wrong", "absent", "exposed"
"""What happens to a port's traffic: a wrong program gets it, nobody does, or outsiders do."""

_FLOWS = {
    "public-mx": ("inbound relay", "remote MTA -> port 25"),
    "submission": ("submission", "mail client or application -> submission port"),
    "access": ("access", "mail client -> mailbox server"),
    "delivery": ("delivery", "queue -> mailbox"),
    "filter": ("filtering", "MTA -> filter"),
    "management": ("management", "administrator -> controller"),
    "support": ("support", "mail server -> directory, database or resolver"),
    "discovery": ("discovery", "mail client or ACME -> web server"),
    "developer": ("development", "application under test -> catcher"),
}

_WRONG = {
    "public-mx": (
        "inbound mail is refused, deferred or accepted by the wrong program",
        "a rival MTA answers RCPT with 550 or 454; another protocol leaves the sender waiting for 220 up to 5 minutes",
        "RFC 5321 4.5.3.2.1; Postfix 3.10 and Exim 4.98 as senders",
    ),
    "submission": (
        "clients and applications can't send; applications mostly don't queue, so their mail is lost",
        "an error in the mail client",
        "RFC 6409; applications don't retry",
    ),
    "access": ("logins fail; no mail is lost", "an error in the mail client", "RFC 9051, RFC 1939"),
    "delivery": (
        "mail stays in the queue and is deferred, then bounced",
        "nothing at first: the peer got 250; delivery status notifications after the queue's lifetime",
        "Postfix 3.10: 4.4.1 deferred",
    ),
    "filter": (
        "mail is tempfailed, or passes unsigned and unchecked, by the MTA's default action",
        "451 4.7.1 after MAIL, or 421 as greeting",
        "Postfix milter_default_action; Sendmail F= flags",
    ),
    "management": ("the controller can't be reached, or another program answers for it", None, None),
    "support": ("look-ups fail; mail that needs them is deferred", "450 or 451", "Postfix 3.10"),
    "discovery": ("certificates aren't renewed and clients aren't configured", None, "RFC 8555 8.3"),
    "developer": ("test mail goes elsewhere", None, None),
}
_ABSENT = {
    "public-mx": (
        "inbound mail is deferred at the senders, and returned from their 8th hour to their 7th day on",
        "connection refused or timed out",
        "RFC 5321 4.5.4.1",
    ),
}
_EXPOSED = {
    "filter": ("outsiders can speak to a filter that trusts whoever reaches it", "a filter that answers", None),
    "management": ("outsiders can try the controller's password, or need none", "a controller that answers", None),
    "delivery": ("outsiders can put mail into mailboxes past every check", "LMTP that answers", "RFC 2033 5"),
}

OUTBOUND = Break(
    "outbound relay",
    "mail to other hosts stays in the queue and is deferred, then bounced",
    "queue -> remote MTA",
    "nothing: it isn't reached",
    "Postfix 3.10: 4.4.1 deferred",
)
"""What stops where other hosts' port 25 can't be reached."""


def breaks_of(port: Port | None, what: str, when: str | None = None) -> tuple[Break, ...]:
    """Return what happens to the flow that uses a port; empty where the port isn't of the catalogue.

    Args:
        port: the catalogue's entry.
        what: WRONG, ABSENT or EXPOSED.
        when: on which condition, where it doesn't happen now.
    """
    if port is None:
        return ()
    flow, hop = _FLOWS.get(port.role, (port.role, ""))
    if what == EXPOSED:
        effect, sees, source = _EXPOSED.get(port.role, ("outsiders can reach an internal service", None, None))
    elif what == ABSENT:
        effect, sees, source = _ABSENT.get(port.role) or _WRONG.get(port.role, ("unknown", None, None))
    else:
        effect, sees, source = _WRONG.get(port.role, ("unknown", None, None))
    if when is not None:
        effect = f"{when}: {effect}"
    return (Break(flow, effect, hop.replace("submission port", f"port {port.number}") or None, sees, source),)
