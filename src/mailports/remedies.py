"""Ways out of a finding: what to do, who moves, and the rule that says so. Pure.

The rules, in the order in which they decide:

1. The public MX's port 25, on any address that isn't loopback, never moves (RFC 5321 5.1).
2. A listener that nobody configured yields to one that an administrator wrote; a program that has no business
   on a port yields to the port's own service.
3. A back end moves inward, behind its front.
4. Standard client ports move only as a last resort.
5. Internal ports on loopback move freely, with every reference; that is where they belong.
6. A second MTA that the host doesn't need: by address, then as a queue runner, then stopped. Never purged.
7. A stale instance is stopped by its product's own command. Nothing is killed because it holds a port.
8. On companion ports whoever resolves for this machine, or answers ACME, stays.
9. A service leaves the ephemeral range or has its port reserved; the client that took it is left alone.
   Of two equals neither is chosen without a reason: both are offered, and the deciding fact is named.
10. Where the cause isn't a conflict, the remedy is what does help.

Where the deciding fact isn't known `moves` is null.
"""

from __future__ import annotations

from mailports.model.findings import Remedy

KINDS = frozenset(
    (
        "separate-address",
        "drop-claim",
        "queue-runner",
        "stop",
        "move",
        "put-behind",
        "align-socket-unit",
        "change-publish",
        "reserve-port",
        "blacklist-port",
        "remove-redirect",
        "open-firewall",
        "bind-loopback",
        "label-port",
        "grant-capability",
        "quote-port",
        "stop-stale",
        "remove-pid-file",
        "correct-reference",
        "enable-listener",
        "widen-listener",
        "start",
        "assign",
        "find-holder",
    )
)
"""What a remedy may be; plans know how to carry out each."""

RULE_MX = "1: port 25 of the public MX never moves"
RULE_UNCONFIGURED = "2: a listener that nobody configured yields to one that was written"
RULE_STRANGER = "2: who has no business on a port yields to the port's own service"
RULE_BACK_END = "3: a back end moves inward, behind its front"
RULE_CLIENT_PORT = "4: standard client ports move only as a last resort"
RULE_INTERNAL = "5: internal ports on loopback move freely, with every reference"
RULE_EXPOSED = "5: an internal port belongs on loopback, or where its clients are"
RULE_SECOND_MTA = "6: a second MTA separates by address first, then runs only its queue, then stops"
RULE_STALE = "7: a stale instance is stopped by its product's own command, never killed for holding a port"
RULE_COMPANION = "8: who resolves names or answers ACME for this machine stays"
RULE_EPHEMERAL = "9: a service has its port reserved; the client that took it is left alone"
RULE_EQUALS = "9: of two equals both are offered where the deciding fact isn't known"
RULE_REFERRER = "9: a reference is corrected where the other end is where it was meant to be"
RULE_NO_CONFLICT = "10: where the cause isn't a conflict, what does help is offered"

STOP_COMMANDS = {
    "postfix": "postfix stop",
    "dovecot": "doveadm stop",
    "opensmtpd": "smtpctl stop",
    "nginx": "nginx -s quit",
}
"""How a product stops an instance that no unit runs, where it has a command for that."""


def stop(unit_or_name: str, rule: str, because: str, *, has_queue: bool, moves: str | None) -> Remedy:
    """Return the remedy that one party stops: the unit with its triggers, and not again at the next boot."""
    queue = ", its queue drained or named first" if has_queue else ""
    summary = f"Stop and disable {unit_or_name}{queue}: {because}"
    return Remedy(f"stop:{unit_or_name}", "stop", summary, rule, moves)


def separate(name: str, port: int, rule: str, *, moves: str | None) -> Remedy:
    """Return the remedy that a party takes an address of its own."""
    return Remedy(
        f"separate-address:{name}:{port}",
        "separate-address",
        f"Let {name} listen on an address of its own, rather than on one that the other has too",
        rule,
        moves,
    )


def move(name: str, port: int, rule: str, *, moves: str | None) -> Remedy:
    """Return the remedy that a party takes another port, with everything that refers to it."""
    return Remedy(
        f"move:{name}:{port}",
        "move",
        f"Move {name} to a port that is really free, and everything that refers to it",
        rule,
        moves,
    )


def reserve(ports: tuple[int, ...]) -> Remedy:
    """Return the remedy that keeps the kernel from giving these ports to outgoing connections."""
    listed = ",".join(str(port) for port in ports)
    return Remedy(
        f"reserve-port:{listed}",
        "reserve-port",
        f"Reserve {listed} in net.ipv4.ip_local_reserved_ports (a drop-in under /etc/sysctl.d keeps it; the "
        "present value is a list, and a write replaces it)",
        RULE_EPHEMERAL,
        None,
    )
