"""Each finding is found where it is staged on the real kernel, and nothing is found where it only looks like it.

With MAILPORTS_KEEP_CASES set, the Snapshot of each scene is written to `tests/cases/extent`, from which
`tests/test_extent.py` takes away what a look saw.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import jsonschema
import pytest
from stage import KEPT, At, Json, Stage, asked, bound, conversation, fork_worker, shared, stage

from mailports.formats.documents import json_schema
from mailports.remedies import KINDS as REMEDIES

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.kernel

CASES = os.path.join(os.path.dirname(__file__), os.pardir, "cases", "extent")
CONFLICTS = {"shared-port", "shadowed-listener", "redirected-port", "ephemeral-collision", "rpc-squatter"}


class Expected(NamedTuple):
    """A finding that must be there.

    Attributes:
        name: its name.
        severity: its severity.
        endpoints: all that it concerns, the one that the summary names first.
        parties: role and name of each; a name that ends in `*` may go on.
        moves: who moves or acts by each remedy.
        sources: where its evidence must come from, among others.
    """

    name: str
    severity: str
    endpoints: tuple[str, ...]
    parties: tuple[tuple[str, str], ...]
    moves: tuple[str | None, ...]
    sources: frozenset[str] = frozenset({"sock_diag", "/proc/PID/fd"})


class Scene(NamedTuple):
    """How it is staged, and what must be found there: nothing, where nothing is given."""

    stages: Callable[[Stage], Any]
    expected: tuple[Expected, ...] = ()


def run(name: str, *places: At, workers: int = 0) -> Callable[[Stage], Any]:
    """Stage a program."""
    return lambda here: here.program(name, *places, workers=workers)


def both(*stagings: Callable[[Stage], Any]) -> Callable[[Stage], Any]:
    """Stage one after the other."""

    def stage_all(here: Stage) -> None:
        for staging in stagings:
            staging(here)

    return stage_all


def wire(here: Stage) -> None:
    here.add_outside()


def inside(name: str, *places: At) -> Callable[[Stage], Any]:
    """Stage a program in `outside`."""
    return lambda here: here.program(name, *places, netns="outside")


# One port, several programs


def group_of_workers(here: Stage) -> None:
    """Four workers of one program, each with a socket of its own in one SO_REUSEPORT group."""

    def job() -> None:
        for _ in range(4):
            fork_worker(lambda: bound(shared("0.0.0.0", 25)))

    here.act(job, name="haproxy")


def two_users(here: Stage) -> None:
    """Two groups of one program may not share: the other user's is on another address."""
    here.program("haproxy", shared("127.0.0.1", 10025))
    here.program("haproxy", shared("127.0.0.2", 10025), uid=1000)


LOOPBACK = (At("127.0.0.1", 25), At("::1", 25))
HOLDERS = (("holder", "exim4"), ("holder", "haproxy"))
SHARING: dict[str, Scene] = {
    "shared-port": Scene(
        both(run("exim4", shared("0.0.0.0", 25)), run("haproxy", shared("0.0.0.0", 25))),
        (Expected("shared-port", "error", ("0.0.0.0:25",), HOLDERS, (None,) * 4),),
    ),
    "shared-port-with-a-stranger": Scene(
        both(run("exim4", shared("::", 25)), run("nc", shared("::", 25))),
        (Expected("shared-port", "error", (":::25",), (("holder", "exim4"), ("holder", "nc")), ("nc", "nc")),),
    ),
    "shared-port-of-two-instances": Scene(
        both(run("exim4", shared("0.0.0.0", 25)), run("exim4", shared("0.0.0.0", 25))),
        (
            Expected(
                *("shared-port", "error", ("0.0.0.0:25",)),
                *((("holder", "exim4*"), ("holder", "exim4*")), (None,) * 4),
            ),
        ),
    ),
    "shared-port-on-two-addresses": Scene(
        both(
            run("exim4", shared("127.0.0.1", 587), shared("::1", 587)),
            run("haproxy", shared("127.0.0.1", 587), shared("::1", 587)),
        ),
        (Expected("shared-port", "error", ("127.0.0.1:587", "::1:587"), HOLDERS, (None,) * 4),),
    ),
    "shadowed-listener-by-loopback": Scene(
        both(run("exim4", shared("127.0.0.1", 25)), run("haproxy", shared("0.0.0.0", 25))),
        (
            Expected(
                *("shadowed-listener", "warning", ("127.0.0.1:25", "0.0.0.0:25"), HOLDERS, ("haproxy", "exim4")),
            ),
        ),
    ),
    "shadowed-listener-by-an-address": Scene(
        both(wire, run("exim4", shared("10.9.0.1", 25)), run("haproxy", shared("0.0.0.0", 25))),
        (Expected("shadowed-listener", "error", ("10.9.0.1:25", "0.0.0.0:25"), HOLDERS, (None, None)),),
    ),
    "shadowed-listener-by-ipv4": Scene(
        both(run("exim4", shared("0.0.0.0", 25)), run("haproxy", shared("::", 25))),
        (Expected("shadowed-listener", "error", ("0.0.0.0:25", ":::25"), HOLDERS, (None, None)),),
    ),
    "shadowed-listener-by-a-device": Scene(
        both(wire, run("exim4", shared("0.0.0.0", 25)._replace(device="wire")), run("haproxy", shared("0.0.0.0", 25))),
        (Expected("shadowed-listener", "error", ("0.0.0.0%wire:25", "0.0.0.0:25"), HOLDERS, (None, None)),),
    ),
    # alike
    "group-of-workers": Scene(group_of_workers),
    "workers-of-one-socket": Scene(run("exim4", At("0.0.0.0", 25), At("::", 25, v6only=True), workers=3)),
    "two-addresses": Scene(both(run("exim4", At("127.0.0.1", 25)), run("haproxy", At("127.0.0.2", 25)))),
    "two-users": Scene(two_users),
    "both-loopbacks": Scene(run("exim4", *LOOPBACK)),
    "both-wildcards": Scene(run("exim4", At("0.0.0.0", 25), At("::", 25, v6only=True))),
    "wildcard-and-address-of-one": Scene(run("exim4", shared("127.0.0.1", 25), shared("0.0.0.0", 25))),
    "families-apart": Scene(both(run("exim4", At("0.0.0.0", 25)), run("haproxy", At("::", 25, v6only=True)))),
    "v6-address-beside-ipv4": Scene(both(run("exim4", At("::1", 25)), run("haproxy", At("0.0.0.0", 25)))),
    "two-namespaces": Scene(both(wire, run("exim4", At("0.0.0.0", 25)), inside("haproxy", At("0.0.0.0", 25)))),
    "two-devices": Scene(
        both(wire, run("exim4", At("0.0.0.0", 25, device="wire")), run("haproxy", At("0.0.0.0", 25, device="lo")))
    ),
}


# Ports that the system hands out


def outgoing_from(port: int, name: str = "curl", to: str = "127.0.0.1") -> Callable[[Stage], Any]:
    """Stage a client that the kernel gives this port, as it may any in its range."""

    def staging(here: Stage) -> None:
        here.set("net.ipv4.ip_local_port_range", f"{port} {port}")

        def connect() -> int:
            made = socket.create_connection((to, 25))
            KEPT.append(made)
            chosen: int = made.getsockname()[1]
            return chosen

        assert here.act(connect, name=name).answer == port
        here.set("net.ipv4.ip_local_port_range", "32768 60999")

    return staging


def with_range(text: str, reserved: str = "") -> Callable[[Stage], Any]:
    def staging(here: Stage) -> None:
        here.set("net.ipv4.ip_local_port_range", text)
        here.set("net.ipv4.ip_local_reserved_ports", reserved)

    return staging


def clients_of(port: int, *, keeps_listener: bool) -> Callable[[Stage], Any]:
    """Stage a server with a connection, and one that it ended first, which is in TIME_WAIT."""

    def job() -> None:
        listener = bound(At("127.0.0.1", port))
        conversation(listener)
        client, accepted = conversation(listener)
        accepted.close()
        client.recv(1)
        client.close()
        if not keeps_listener:
            listener.close()

    return lambda here: here.act(job, name="dovecot")


def rpc_client(name: str, port: int, to: int, *, is_held: bool) -> Callable[[Stage], Any]:
    """Stage a connection from a port that bindresvport(3) chose; one that isn't held looks like the kernel's own."""

    def job() -> None:
        made = bound(At("127.0.0.1", port, listens=False))
        made.connect(("127.0.0.1", to))
        if not is_held:
            ends = socket.socketpair()
            KEPT.extend(ends)
            socket.send_fds(ends[0], [b"x"], [made.fileno()])
            made.close()

    return lambda here: here.act(job, name=name)


CLIENT = (("holder", "curl"),)
EXIM = At("0.0.0.0", 25)
SQUATTING: dict[str, Scene] = {
    "ephemeral-collision-of-a-connection": Scene(
        both(run("exim4", EXIM), outgoing_from(4190)),
        (
            Expected(
                *("ephemeral-collision", "warning", ("127.0.0.1:4190",), CLIENT, (None,)),
                frozenset({"sock_diag"}),
            ),
        ),
    ),
    "ephemeral-collision-in-the-range": Scene(
        both(with_range("4000 60999"), run("dovecot", At("0.0.0.0", 4190)), run("rspamd", At("127.0.0.1", 11332))),
        (
            Expected(
                *("ephemeral-collision", "warning", ("0.0.0.0:4190", "127.0.0.1:11332")),
                *((("holder", "dovecot"), ("holder", "rspamd")), (None,)),
                frozenset({"sock_diag", "/proc/PID/fd", "/proc/sys"}),
            ),
        ),
    ),
    "rpc-squatter": Scene(
        run("rpc.statd", At("0.0.0.0", 993), At("::", 993, v6only=True)),
        (
            Expected(
                *("rpc-squatter", "error", ("0.0.0.0:993", ":::993")),
                *((("holder", "rpc.statd"),), ("rpc.statd", "rpc.statd")),
            ),
        ),
    ),
    "rpc-squatter-by-a-connection": Scene(
        both(run("rpcbind", At("127.0.0.1", 111)), rpc_client("rpc.mountd", 995, 111, is_held=True)),
        (
            Expected(
                *("rpc-squatter", "error", ("127.0.0.1:995",)),
                *((("holder", "rpc.mountd"),), ("rpc.mountd", "rpc.mountd")),
                frozenset({"sock_diag"}),
            ),
        ),
    ),
    "rpc-squatter-of-the-kernel": Scene(
        both(run("nfsd", At("127.0.0.1", 2049)), rpc_client("courier", 995, 2049, is_held=False)),
        (
            Expected(
                *("rpc-squatter", "error", ("127.0.0.1:995",)),
                *((("holder", "the kernel's RPC client"),), ("the kernel's RPC client",)),
                frozenset({"sock_diag"}),
            ),
        ),
    ),
    # alike
    "reserved": Scene(both(with_range("4000 60999", "4000-4200,11332"), run("dovecot", At("0.0.0.0", 4190)))),
    "beside-the-range": Scene(both(with_range("5000 60999"), run("dovecot", At("0.0.0.0", 4190)))),
    "outgoing-from-no-mail-port": Scene(both(run("exim4", EXIM), outgoing_from(40001))),
    "connections-of-a-server": Scene(clients_of(143, keeps_listener=True)),
    "connections-of-a-server-that-went": Scene(clients_of(4190, keeps_listener=False)),
    "rpc-where-it-may-be": Scene(
        both(run("rpc.statd", At("0.0.0.0", 40001)), run("rpcbind", At("0.0.0.0", 111), At("0.0.0.0", 111, "udp")))
    ),
    "a-stranger-in-the-range": Scene(both(with_range("4000 60999"), run("node", At("0.0.0.0", 8080)))),
}


# Who may be reached, and who has no business there


def bridged(here: Stage) -> None:
    here.run("ip", "link", "add", "br0", "type", "bridge")
    here.run("ip", "addr", "add", "172.17.0.1/16", "dev", "br0")
    here.run("ip", "link", "set", "br0", "up")
    here.program("rspamd", At("172.17.0.1", 11334))


def in_flight(here: Stage) -> None:
    def job() -> None:
        listener = bound(At("0.0.0.0", 143))
        ends = socket.socketpair()
        KEPT.extend(ends)
        socket.send_fds(ends[0], [b"x"], [listener.fileno()])
        listener.close()

    here.act(job, name="courier")


RSPAMD = (("holder", "rspamd"),)
EXPOSURE: dict[str, Scene] = {
    "overexposed-listener": Scene(
        run("rspamd", At("0.0.0.0", 11334), At("::", 11334, v6only=True)),
        (Expected("overexposed-listener", "warning", ("0.0.0.0:11334", ":::11334"), RSPAMD, ("rspamd",)),),
    ),
    "overexposed-listener-on-an-address": Scene(
        both(wire, run("rspamd", At("10.9.0.1", 11334))),
        (Expected("overexposed-listener", "warning", ("10.9.0.1:11334",), RSPAMD, ("rspamd",)),),
    ),
    "overexposed-listener-dual-stack": Scene(
        run("opendkim", At("::", 8891, v6only=False)),
        (Expected("overexposed-listener", "warning", (":::8891",), (("holder", "opendkim"),), ("opendkim",)),),
    ),
    "unclaimed-listener": Scene(
        run("testsrv", At("0.0.0.0", 25), At("::", 25, v6only=True)),
        (
            Expected(
                *("unclaimed-listener", "warning", ("0.0.0.0:25", ":::25")),
                *((("holder", "testsrv"),), ("testsrv",)),
            ),
        ),
    ),
    "unclaimed-listener-that-nobody-holds": Scene(
        in_flight,
        (
            Expected(
                *("unclaimed-listener", "warning", ("0.0.0.0:143",), (), (None,)),
                frozenset({"sock_diag", "/proc/*/fd"}),
            ),
        ),
    ),
    # alike
    "rspamd-on-loopback": Scene(run("rspamd", At("127.0.0.1", 11334), At("::1", 11334), At("127.0.0.2", 11332))),
    "rspamd-on-mapped-loopback": Scene(run("rspamd", At("::ffff:127.0.0.1", 11334, v6only=False))),
    "rspamd-on-a-bridge": Scene(bridged),
    "public-ports": Scene(run("dovecot", *(At("0.0.0.0", port) for port in (110, 143, 993, 995, 4190)))),
    "a-proxy-on-a-mail-port": Scene(run("haproxy", At("0.0.0.0", 993), At("0.0.0.0", 995))),
    "a-stranger-on-a-common-port": Scene(run("node", At("0.0.0.0", 2525), At("0.0.0.0", 8080), At("0.0.0.0", 9000))),
    "bound-without-listening": Scene(run("testsrv", At("0.0.0.0", 25, listens=False))),
}


# Where traffic really goes


def nft(rules: str) -> Callable[[Stage], Any]:
    def staging(here: Stage) -> None:
        here.run("nft", "-f", "-", text=rules.replace("}", "\n}"))

    return staging


def prerouting(rule: str) -> Callable[[Stage], Any]:
    return nft(f"table inet nat {{ chain pre {{ type nat hook prerouting priority dstnat; {rule} }} }}")


def output(rule: str) -> Callable[[Stage], Any]:
    return nft(f"table inet nat {{ chain out {{ type nat hook output priority -100; {rule} }} }}")


def gates(*rules: str) -> Callable[[Stage], Any]:
    return nft(
        f"table inet filter {{ chain in {{ type filter hook input priority 0; policy drop; {'; '.join(rules)}; }} }}"
    )


def iptables(rule: str, *, program: str = "iptables-nft") -> Callable[[Stage], Any]:
    def staging(here: Stage) -> None:
        if shutil.which(program) is None:
            pytest.skip(f"{program} isn't installed")
        if program.endswith("-legacy"):
            tried = subprocess.run(
                here.command(program, "-t", "nat", "-S"), capture_output=True, text=True, check=False
            )
            if tried.returncode:
                pytest.skip(f"this kernel has no legacy tables: {tried.stderr.strip()}")
        here.run(program, *rule.split())

    return staging


def serve(name: str, *places: At) -> Callable[[Stage], Any]:
    """Stage a program that says its name."""
    return lambda here: here.server(name, *places)


def answers(address: str, port: int, *names: str) -> Callable[[Stage], Any]:
    """Make sure that the scene is what it means to be: who really answers from outside."""

    def check(here: Stage) -> None:
        assert here.reached(address, port, netns="outside") == set(names)

    return check


def answers_here(address: str, port: int, name: str) -> Callable[[Stage], Any]:
    def check(here: Stage) -> None:
        assert here.ask(lambda: asked(address, port)) == name

    return check


def farther(here: Stage) -> None:
    """A third namespace, behind the stage, with another server."""
    here.run(
        *("sh", "-e", "-c"),
        """
        ip netns add farther
        ip link add wire2 type veth peer name eth0 netns farther
        ip addr add 10.8.0.1/24 dev wire2
        ip link set wire2 up
        ip -n farther addr add 10.8.0.2/24 dev eth0
        ip -n farther link set eth0 up
        ip -n farther route add default via 10.8.0.1
        sysctl -q -w net.ipv4.ip_forward=1
        """,
    )
    here.server("dovecot", At("10.8.0.2", 2525), netns="farther")


def tproxy(here: Stage) -> None:
    here.run(
        *("sh", "-e", "-c"),
        "ip rule add fwmark 1 lookup 100; ip route add local 0.0.0.0/0 dev lo table 100",
    )
    rule = "meta nfproto ipv4 tcp dport 25 tproxy ip to :2525 meta mark set 1 accept"
    nft(f"table inet mangle {{ chain pre {{ type filter hook prerouting priority mangle; {rule} }} }}")(here)


def taken(
    endpoints: tuple[str, ...], entry: str, source: str, *, severity: str = "error", receiver: str | None = None
) -> Expected:
    """Exim's traffic goes to another."""
    parties = (("redirect", entry), ("holder", "exim4"), *((("receiver", receiver),) if receiver else ()))
    return Expected("redirected-port", severity, endpoints, parties, (None, None), frozenset({source, "sock_diag"}))


MX = At("0.0.0.0", 25)
PROXY = At("0.0.0.0", 2525)
NFT = frozenset({"nft"})
REDIRECTING: dict[str, Scene] = {
    "redirected-port-by-dnat": Scene(
        both(
            *(wire, farther, serve("exim4", MX), answers("10.9.0.1", 25, "exim4")),
            *(prerouting('iifname "wire" tcp dport 25 dnat ip to 10.8.0.2:2525'), answers("10.9.0.1", 25, "dovecot")),
        ),
        (taken(("0.0.0.0:25",), "dnat rule in *", "nft", severity="warning"),),
    ),
    "redirected-port-by-plain-dnat": Scene(
        both(
            *(wire, farther, serve("exim4", MX)),
            *(prerouting("tcp dport 25 dnat ip to 10.8.0.2:2525"), answers("10.9.0.1", 25, "dovecot")),
        ),
        (taken(("0.0.0.0:25",), "dnat rule in *", "nft"),),
    ),
    "redirected-port-by-iptables": Scene(
        both(
            *(wire, serve("exim4", MX), serve("haproxy", PROXY)),
            iptables("-t nat -A PREROUTING -p tcp --dport 25 -j REDIRECT --to-ports 2525"),
            *(answers("10.9.0.1", 25, "haproxy"), answers_here("127.0.0.1", 25, "exim4")),
        ),
        (taken(("0.0.0.0:25",), "redirect rule in *", "nft", receiver="haproxy"),),
    ),
    "redirected-port-by-legacy-iptables": Scene(
        both(
            *(wire, serve("exim4", MX), serve("haproxy", PROXY)),
            iptables("-t nat -A PREROUTING -p tcp --dport 25 -j REDIRECT --to-ports 2525", program="iptables-legacy"),
            answers("10.9.0.1", 25, "haproxy"),
        ),
        (taken(("0.0.0.0:25",), "redirect rule in *", "iptables-legacy", receiver="haproxy"),),
    ),
    "redirected-port-by-tproxy": Scene(
        both(
            *(wire, tproxy, serve("exim4", MX), serve("haproxy", PROXY._replace(transparent=True))),
            answers("10.9.0.1", 25, "haproxy"),
        ),
        (taken(("0.0.0.0:25",), "tproxy rule in *", "nft", receiver="haproxy"),),
    ),
    "redirected-port-of-a-dual-stack-listener": Scene(
        both(
            *(wire, serve("exim4", At("::", 25, v6only=False)), serve("haproxy", At("::", 2525, v6only=False))),
            *(prerouting("tcp dport 25 redirect to :2525"), answers("2001:db8:9::1", 25, "haproxy")),
        ),
        (taken((":::25",), "redirect rule in *", "nft", receiver="haproxy"),),
    ),
    "redirected-port-to-nobody": Scene(
        both(
            *(wire, serve("exim4", MX)),
            *(prerouting("tcp dport 25 redirect to :2525"), answers("10.9.0.1", 25)),
        ),
        (
            Expected(
                *("redirected-port", "error", ("0.0.0.0:25",), (("redirect", "redirect rule in *"),), (None, None)),
                frozenset({"nft", "sock_diag"}),
            ),
        ),
    ),
    "redirected-port-outbound": Scene(
        both(
            *(wire, inside("exim4", MX), serve("haproxy", PROXY)),
            *(output("tcp dport 25 redirect to :2525"), answers_here("10.9.0.2", 25, "haproxy")),
        ),
        (
            Expected(
                *("redirected-port", "warning", ("0.0.0.0:25",), (("redirect", "redirect rule in *"),), (None, None)),
                NFT,
            ),
        ),
    ),
    "unreachable-listener-behind-a-redirect": Scene(
        both(
            *(wire, serve("dovecot", At("127.0.0.1", 10587))),
            *(prerouting("tcp dport 587 redirect to :10587"), answers("10.9.0.1", 587)),
        ),
        (
            Expected(
                *("unreachable-listener", "error", ("127.0.0.1:10587",), (("holder", "dovecot"),), ("dovecot",)),
                frozenset({"nft", "sock_diag", "/proc/PID/fd"}),
            ),
        ),
    ),
    "unreachable-listener-that-is-let-in": Scene(
        both(
            wire,
            serve("exim4", At("127.0.0.1", 25), At("::1", 25)),
            gates("tcp dport 25 accept"),
            answers("10.9.0.1", 25),
        ),
        (
            Expected(
                *("unreachable-listener", "warning", ("127.0.0.1:25", "::1:25"), (("holder", "exim4"),), ("exim4",)),
                frozenset({"nft", "sock_diag", "/proc/PID/fd"}),
            ),
        ),
    ),
    "unreachable-listener-that-iptables-lets-in": Scene(
        both(
            wire,
            serve("exim4", At("127.0.0.1", 25)),
            iptables("-A INPUT -p tcp -m multiport --dports 25,465 -m state --state NEW -j ACCEPT"),
        ),
        (
            Expected(
                *("unreachable-listener", "warning", ("127.0.0.1:25",), (("holder", "exim4"),), ("exim4",)),
                frozenset({"nft", "sock_diag", "/proc/PID/fd"}),
            ),
        ),
    ),
    # alike
    "redirect-of-a-free-port": Scene(
        both(
            *(wire, serve("exim4", MX), prerouting("tcp dport 587 redirect to :25")),
            answers("10.9.0.1", 587, "exim4"),
        )
    ),
    "redirect-to-the-same-program": Scene(
        both(
            *(wire, serve("exim4", MX, At("0.0.0.0", 465)), prerouting("tcp dport 465 redirect to :25")),
            answers("10.9.0.1", 465, "exim4"),
        )
    ),
    "redirect-of-another-address": Scene(
        both(
            *(wire, lambda here: here.run("ip", "addr", "add", "10.9.0.9/24", "dev", "wire")),
            *(serve("exim4", At("10.9.0.1", 25)), serve("haproxy", PROXY)),
            prerouting("ip daddr 10.9.0.9 tcp dport 25 redirect to :2525"),
            *(answers("10.9.0.1", 25, "exim4"), answers("10.9.0.9", 25, "haproxy")),
        )
    ),
    "redirect-past-a-loopback-listener": Scene(
        both(
            *(wire, serve("exim4", At("127.0.0.1", 25), At("::1", 25)), serve("haproxy", PROXY)),
            *(prerouting("tcp dport 25 redirect to :2525"), answers("10.9.0.1", 25, "haproxy")),
            answers_here("127.0.0.1", 25, "exim4"),
        )
    ),
    "redirect-of-an-address-that-is-not-ours": Scene(
        both(wire, farther, run("exim4", MX), prerouting("ip daddr 192.0.2.7 tcp dport 25 dnat ip to 10.8.0.2:2525"))
    ),
    "redirect-that-an-earlier-rule-forestalls": Scene(
        both(
            *(wire, serve("exim4", MX), serve("haproxy", PROXY)),
            prerouting("tcp dport 25 accept; tcp dport 25 redirect to :2525"),
            answers("10.9.0.1", 25, "exim4"),
        )
    ),
    "redirect-of-no-mail-port": Scene(
        both(run("exim4", MX), run("node", At("0.0.0.0", 8080)), prerouting("tcp dport 81 redirect to :8080"))
    ),
    "redirect-of-udp": Scene(both(run("exim4", MX), prerouting("udp dport 25 redirect to :2525"))),
    "redirect-of-the-other-family": Scene(
        both(run("exim4", MX), run("haproxy", PROXY), prerouting("meta nfproto ipv6 tcp dport 25 redirect to :2525"))
    ),
    "redirect-in-another-namespace": Scene(
        both(
            *(wire, run("exim4", MX), inside("haproxy", PROXY)),
            lambda here: here.run(
                *("ip", "netns", "exec", "outside", "nft", "-f", "-"),
                text="add table ip t\nadd chain ip t pre { type nat hook prerouting priority 0; }\n"
                "add rule ip t pre tcp dport 25 redirect to :2525\n",
            ),
        )
    ),
    "outbound-of-local-clients": Scene(
        both(
            serve("haproxy", PROXY),
            *(output("ip daddr 127.0.0.1 tcp dport 25 redirect to :2525"), answers_here("127.0.0.1", 25, "haproxy")),
        )
    ),
    "outbound-to-an-own-address": Scene(
        both(
            *(wire, serve("haproxy", PROXY), output("ip daddr 10.9.0.1 tcp dport 25 redirect to :2525")),
            answers_here("10.9.0.1", 25, "haproxy"),
        )
    ),
    "outbound-of-no-mail-port": Scene(both(run("exim4", MX), output("tcp dport 80 redirect to :3128"))),
    "loopback-without-a-word": Scene(both(run("exim4", *LOOPBACK), gates("tcp dport 22 accept"))),
    "loopback-let-in-by-lo": Scene(
        both(run("exim4", *LOOPBACK), gates('iifname "lo" accept', 'iifname "lo" tcp dport 25 accept'))
    ),
    "loopback-let-in-from-loopback": Scene(
        both(run("exim4", *LOOPBACK), gates("ip saddr 127.0.0.1 tcp dport 25 accept"))
    ),
    "loopback-let-in-from-loopback-by-iptables": Scene(
        both(run("exim4", *LOOPBACK), iptables("-A INPUT -s 127.0.0.0/8 -p tcp --dport 25 -j ACCEPT"))
    ),
    "loopback-let-in-by-lo-by-iptables": Scene(
        both(run("exim4", *LOOPBACK), iptables("-A INPUT -i lo -p tcp --dport 25 -j ACCEPT"))
    ),
    "loopback-let-in-at-loopback-by-iptables": Scene(
        both(run("exim4", *LOOPBACK), iptables("-A INPUT -d 127.0.0.1 -p tcp --dport 25 -j ACCEPT"))
    ),
    "loopback-let-in-at-ipv6-loopback": Scene(
        both(run("exim4", *LOOPBACK), gates("ip6 daddr ::1 tcp dport 25 accept"))
    ),
    "loopback-and-replies": Scene(
        both(
            run("exim4", *LOOPBACK),
            gates("ct state established,related accept", "tcp sport 25 ct state established accept"),
        )
    ),
    "loopback-and-established-to-the-port": Scene(
        both(run("exim4", *LOOPBACK), gates("tcp dport 25 ct state established accept"))
    ),
    "loopback-and-outbound-accept": Scene(
        both(
            run("exim4", *LOOPBACK),
            iptables("-A OUTPUT -p tcp --dport 25 -m state --state NEW,ESTABLISHED -j ACCEPT"),
            iptables("-A INPUT -p tcp --sport 25 -m state --state ESTABLISHED -j ACCEPT"),
        )
    ),
    "wildcard-that-is-let-in": Scene(both(run("exim4", MX), gates("tcp dport 25 accept"))),
}

SCENES = {**SHARING, **SQUATTING, **EXPOSURE, **REDIRECTING}
FOUND = [name for name, scene in SCENES.items() if scene.expected]
SILENT = [name for name, scene in SCENES.items() if not scene.expected]


def spelled(endpoint: Json) -> str:
    device = f"%{endpoint['device']}" if endpoint["device"] else ""
    return f"{endpoint['address']}{device}:{endpoint['port']}"


def is_called(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def assert_is(finding: Json, expected: Expected) -> None:
    """The finding is the one that was expected, in all its parts."""
    assert (finding["name"], finding["severity"]) == (expected.name, expected.severity), finding
    assert finding["is_conflict"] is (expected.name in CONFLICTS)
    assert tuple(spelled(e) for e in finding["endpoints"]) == expected.endpoints
    assert finding["endpoint"] == finding["endpoints"][0]
    assert {e["netns"] for e in finding["endpoints"]} == {"here"}
    assert len(finding["parties"]) == len(expected.parties), finding["parties"]
    parties = sorted((party["role"], party["name"]) for party in finding["parties"])
    for (role, name), (expected_role, pattern) in zip(parties, sorted(expected.parties)):
        assert role == expected_role
        assert is_called(name, pattern), name
    assert tuple(remedy["moves"] for remedy in finding["remedies"]) == expected.moves
    assert {remedy["kind"] for remedy in finding["remedies"]} <= REMEDIES
    assert expected.sources <= {evidence["source"] for evidence in finding["evidence"]}
    assert all(evidence["fact"] and evidence["source"] for evidence in finding["evidence"])
    assert finding["breaks"]
    assert finding["summary"]


def audited(here: Stage) -> tuple[Json, int]:
    """Return what `audit` says and its exit status."""
    done = here.mailports("audit", "--json")
    document = done.json()
    jsonschema.validate(document, json_schema("findings"))
    assert [unknown for unknown in document["unknown"] if unknown["hides"]] == []
    return document, done.status


def burn_pids(here: Stage) -> None:
    """Let the next processes have other pids, and the next sockets other inodes."""
    for _ in range(3):
        here.ask(lambda: None)


@pytest.mark.parametrize("name", FOUND)
def test_what_is_staged_is_found(name: str) -> None:
    """Name, severity, endpoints, parties, who moves and sources are as staged; the fingerprint doesn't know the run."""
    scene = SCENES[name]
    fingerprints = []
    for is_second in (False, True):
        with stage() as here:
            if is_second:
                burn_pids(here)
            scene.stages(here)
            if not is_second:
                keep(name, here)
            document, status = audited(here)
        findings = document["findings"]
        assert [f["name"] for f in findings] == [e.name for e in scene.expected], findings
        for finding, expected in zip(findings, scene.expected):
            assert_is(finding, expected)
        assert status == (1 if any(e.severity == "error" for e in scene.expected) else 0)
        fingerprints.append([f["fingerprint"] for f in findings])
    assert fingerprints[0] == fingerprints[1]


@pytest.mark.parametrize(("address", "again"), [("0.0.0.0", False), ("::", False), ("0.0.0.0", True), ("::", True)])
def test_a_fingerprint_does_not_know_who_came_first(address: str, again: bool) -> None:
    """Two that share a port have one fingerprint in whichever order they started, or one of them started again."""
    fingerprints = set()
    for names in (("exim4", "haproxy"), ("haproxy", "exim4")):
        with stage() as here:
            first, _ = (here.program(name, shared(address, 25)) for name in names)
            if again:
                first.stop()
                here.program(names[0], shared(address, 25))
            document, _ = audited(here)
        (finding,) = document["findings"]
        fingerprints.add(finding["fingerprint"])
    assert len(fingerprints) == 1


def test_a_fingerprint_does_not_know_how_often_the_rules_were_loaded() -> None:
    """The same rule, loaded again, is the same finding: the kernel numbers it anew, and nothing else is new."""
    with stage() as here:
        both(run("exim4", MX), run("haproxy", PROXY), prerouting("tcp dport 25 redirect to :2525"))(here)
        first = audited(here)[0]["findings"]
        here.run("nft", "delete", "table", "inet", "nat")
        prerouting("tcp dport 26 counter; tcp dport 25 redirect to :2525")(here)
        (rule,) = (line for line in here.run("nft", "-a", "list", "ruleset").splitlines() if "dport 26" in line)
        here.run("nft", "delete", "rule", "inet", "nat", "pre", "handle", rule.rpartition(" ")[2])
        second = audited(here)[0]["findings"]
    assert [f["name"] for f in first] == ["redirected-port"]
    assert [f["fingerprint"] for f in first] == [f["fingerprint"] for f in second]


@pytest.mark.parametrize("name", SILENT)
def test_what_only_looks_alike_is_silent(name: str) -> None:
    """Neither `audit` nor the quicker `status` finds anything, and nothing is unknown that could hide something."""
    with stage() as here:
        SCENES[name].stages(here)
        keep(name, here)
        document, status = audited(here)
        assert (document["findings"], status) == ([], 0)
        document = here.mailports("status", "--json").json()
        jsonschema.validate(document, json_schema("status"))
        assert document["findings"] == []


VERBS = {
    "status": ("--all", "--netns", "all", "--json"),
    "why": ("25", "143", "587", "993", "4190", "--json"),
    "snapshot": (),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", [*FOUND[::4], *SILENT[::6]])
def test_what_is_printed_is_what_the_schema_says(name: str, verb: str) -> None:
    """The JSON of each verb is valid by the schema that `mailports schema` prints."""
    with stage() as here:
        SCENES[name].stages(here)
        schema = json.loads(here.mailports("schema", verb).stdout)
        jsonschema.validate(here.mailports(verb, *VERBS[verb]).json(), schema)


def keep(name: str, here: Stage) -> None:
    """Store what was seen, for `tests/test_extent.py`, without what differs from machine to machine."""
    if not os.environ.get("MAILPORTS_KEEP_CASES"):
        return
    document = here.mailports("snapshot").json()
    numbers: dict[int, int] = {}
    for namespace in document["namespaces"]:
        namespace["inode"], namespace["pids"], namespace["mount"] = None, [], None
    document["sockets"].sort(
        key=lambda s: (*map(str, s["endpoint"].values()), s["state"], [h["pid"] for h in s["holders"]])
    )
    for kept in document["sockets"]:
        for key in ("cookie", "inode"):
            kept[key] = numbers.setdefault(kept[key], len(numbers) + 1) if kept[key] else 0
        for holder in kept["holders"]:
            holder.update(exe="/usr/bin/python3", argv=[], started_at=None)
    # A link-local address comes from the device's address, which the kernel draws.
    document["addresses"] = [a for a in document["addresses"] if not a["address"].startswith("fe80:")]
    document.update(host="stage", taken_at="2026-01-01T00:00:00Z", release="6.18.0")
    os.makedirs(CASES, exist_ok=True)
    with open(os.path.join(CASES, f"{name}.json"), "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(_without_nothing(document), file, separators=(",", ":"))
        file.write("\n")


_NEEDED = ("netns", "addresses", "value", "ports", "to_address", "to_ports", "when", "v6only", "device")
"""Keys that have no default, or whose null is a statement."""


def _without_nothing(value: Any) -> Any:
    """Leave out what is null or empty: it is the default."""
    if isinstance(value, dict):
        kept = {key: _without_nothing(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, [], "") or key in _NEEDED}
    return [_without_nothing(item) for item in value] if isinstance(value, list) else value
