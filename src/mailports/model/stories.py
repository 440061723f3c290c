"""The whole story of one port: who has it, who could, and who really gets its traffic."""

from __future__ import annotations

from mailports.model.facts import Container, Endpoint, Gate, Holder, Redirect, Socket, Unit
from mailports.model.findings import Finding, Unknown
from mailports.model.verdicts import BindRequest, Verdict
from mailports.record import Record


class Question(Record):
    """What was asked.

    Attributes:
        asked: the words: `25`, `imaps`, `[::1]:587`.
        protocol: `tcp` or `udp`.
        port: the port.
        address: the address that a bind is judged for; null: both wildcards.
        netns: label of the namespace.
        v6only: as the newcomer would set it; null: as the system's default.
        reuseaddr: whether the newcomer sets SO_REUSEADDR; most daemons do.
        reuseport: whether it sets SO_REUSEPORT.
        device: the device that it binds to.
        uid: as which user it binds.
        may_bind_privileged: whether it has CAP_NET_BIND_SERVICE; null: not known.
    """

    asked: str
    protocol: str
    port: int
    address: str | None = None
    netns: str = "here"
    v6only: bool | None = None
    reuseaddr: bool = True
    reuseport: bool = False
    device: str | None = None
    uid: int = 0
    may_bind_privileged: bool | None = True


class Judged(Record):
    """A bind that was judged: what would be asked of the kernel, and what it would answer."""

    request: BindRequest
    verdict: Verdict


class Receiver(Record):
    """Who gets connections to one address.

    Attributes:
        endpoint: where the connection goes.
        endpoints: the listeners that get it; several share it; none: it is refused.
        holders: who has them.
        source: `kernel lookup`, or `rules` where the kernel couldn't be asked.
    """

    endpoint: Endpoint
    endpoints: tuple[Endpoint, ...]
    holders: tuple[Holder, ...]
    source: str


class Story(Record):
    """Everything about one port.

    Attributes:
        question: what was asked.
        service: the port's name, if the catalogue has one.
        title: what the port is for.
        listeners: who listens, with holders.
        others: sockets that are bound there and don't listen, and connections.
        lingering: TIME_WAIT and closing connections.
        judged: would a bind succeed now.
        receivers: who gets connections to each of the host's addresses.
        redirects: netfilter rules that take its traffic.
        gates: netfilter rules that name it, and let it in or not.
        publishes: containers that publish it.
        candidates: socket units that would listen there.
        is_ephemeral: whether the kernel may give it to an outgoing connection; null unknown.
        is_rpc_range: whether RPC programs, some of which run here, may be given it by bindresvport(3).
        findings: what is wrong on it.
        unknown: what couldn't be seen.
    """

    question: Question
    service: str | None
    title: str | None
    listeners: tuple[Socket, ...]
    others: tuple[Socket, ...]
    lingering: tuple[Socket, ...]
    judged: tuple[Judged, ...]
    receivers: tuple[Receiver, ...]
    redirects: tuple[Redirect, ...]
    gates: tuple[Gate, ...]
    publishes: tuple[Container, ...]
    candidates: tuple[Unit, ...]
    is_ephemeral: bool | None
    is_rpc_range: bool
    findings: tuple[Finding, ...]
    unknown: tuple[Unknown, ...]
