"""The readers of netfilter rules agree with the tools that made the rules, and with what the kernel does.

Every namespace here is kept by a `sleep` of its own, which is killed by its pid: the namespace, its devices
and its rules end with it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shlex
import shutil
import socket
import subprocess
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from mailports.firewalls.asks import networks, shared_addresses
from mailports.firewalls.netfilter import Printed, read_netfilter
from mailports.firewalls.nft import read_ruleset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailports.firewalls.chains import Reading
    from mailports.model.facts import Gate, Redirect

pytestmark = pytest.mark.kernel

CLONE_NEWNET = 0x40000000
REFUSED = (errno.ECONNREFUSED, errno.EPERM, errno.EACCES, errno.EHOSTUNREACH)
WAIT_S = 0.4
"""How long a packet on loopback may take before it counts as dropped."""


class Net:
    """A network namespace: commands and sockets in it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def run(self, *argv: str, text: str | None = None, check: bool = True) -> str:
        """Run a command in the namespace and return what it printed."""
        command = ["nsenter", "-t", str(self.pid), "-n", "--", *argv]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=30, check=False)
        if check and done.returncode:
            pytest.fail(f"{' '.join(argv)}: {done.stderr}")
        return done.stdout

    def within(self, job: Callable[[], Any]) -> Any:
        """Run a function in a thread that is in the namespace; sockets that it makes stay there."""
        result: list[Any] = []

        def enter() -> None:
            libc = ctypes.CDLL(None, use_errno=True)
            with open(f"/proc/{self.pid}/ns/net", "rb") as namespace:  # noqa: PTH123
                if libc.setns(namespace.fileno(), CLONE_NEWNET):
                    result.append(OSError(ctypes.get_errno(), "setns"))
                    return
            try:
                result.append(job())
            except OSError as error:
                result.append(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if isinstance(result[0], OSError):
            raise result[0]
        return result[0]

    def reading(self) -> Reading:
        """Read the namespace's rules as an observer would."""
        printed = Printed(
            self.run("nft", "-j", "list", "ruleset"),
            self._save("iptables-nft-save"),
            self._save("ip6tables-nft-save"),
            self._save("iptables-legacy-save"),
            self._save("ip6tables-legacy-save"),
        )
        reading = read_netfilter(printed, "here")
        assert reading.problems == ()
        return reading

    def _save(self, program: str) -> str | None:
        return self.run(program) if shutil.which(program) else None


@contextmanager
def namespace() -> Iterator[Net]:
    holder = subprocess.Popen(["unshare", "-n", "--", "sleep", "600"])
    try:
        ours = os.readlink("/proc/self/ns/net")
        for _ in range(2000):
            # unshare becomes sleep only after the namespace is there.
            with open(f"/proc/{holder.pid}/comm", encoding="ascii") as comm:  # noqa: PTH123
                if comm.read().strip() == "sleep" and os.readlink(f"/proc/{holder.pid}/ns/net") != ours:
                    break
            threading.Event().wait(0.002)
        net = Net(holder.pid)
        net.run("ip", "link", "set", "lo", "up")
        yield net
    finally:
        holder.kill()
        holder.wait()


@pytest.fixture
def net() -> Iterator[Net]:
    need("nft", "ip", "unshare", "nsenter")
    with namespace() as made:
        yield made


def need(*programs: str) -> None:
    """Skip where a namespace can't be made or a program isn't there."""
    if os.geteuid() != 0:
        pytest.skip("needs root to make a network namespace")
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} isn't installed")


def need_legacy(net: Net, program: str = "iptables-legacy") -> None:
    """Skip where the kernel has no legacy tables."""
    need(program)
    command = ["nsenter", "-t", str(net.pid), "-n", "--", program, "-t", "nat", "-S"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        pytest.skip(f"this kernel has no legacy tables (ip_tables): {done.stderr.strip()}")


# What the kernel does, seen with sockets


def listening(net: Net, address: str, port: int, *, transparent: bool = False) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def listen() -> socket.socket:
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if transparent:
            made.setsockopt(socket.SOL_IP, 19, 1)  # IP_TRANSPARENT
        made.bind((address, port))
        made.listen(64)
        made.settimeout(2)
        return made

    made: socket.socket = net.within(listen)
    return made


def connected(net: Net, address: str, port: int) -> str:
    """Return `accept`, `drop` or `reject`: what becomes of a connection."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def connect() -> str:
        with socket.socket(family, socket.SOCK_STREAM) as made:
            made.settimeout(WAIT_S)
            try:
                made.connect((address, port))
            except TimeoutError:
                return "drop"
            except OSError as error:
                return "reject" if error.errno in REFUSED else str(error)
            return "accept"

    answer: str = net.within(connect)
    return answer


def leads_to(net: Net, address: str, port: int, listener: socket.socket) -> bool:
    """Return whether a connection to the endpoint reaches that listener."""
    if connected(net, address, port) != "accept":
        return False
    try:
        accepted, _ = listener.accept()
    except TimeoutError:
        return False
    accepted.close()
    return True


def holds(fact: Redirect | Gate, address: str, port: int, protocol: str = "tcp") -> bool:
    """Return whether a fact without `when` concerns a packet to this endpoint."""
    family = 6 if ":" in address else 4
    return (
        fact.family in (0, family)
        and fact.protocol in ("any", protocol)
        and (not fact.ports or any(low <= port <= high for low, high in fact.ports))
        and (not fact.addresses or bool(shared_addresses(fact.addresses, networks(address) or ())))
    )


def judged(gates: tuple[Gate, ...], hook: str, address: str, port: int) -> str:
    """Return the verdict that gates give in one base chain, the first that matches."""
    for gate in gates:
        if gate.hook == hook and gate.when is None and holds(gate, address, port):
            return gate.verdict
    return "accept"


# Read back what was put in

SEEN = "add @seen { ip saddr }"
NFT_GATES = [
    ("tcp dport 25 accept", [("accept", 0, "tcp", ((25, 25),), (), None)]),
    ("tcp dport smtp drop", [("drop", 0, "tcp", ((25, 25),), (), None)]),
    ("tcp dport { 25, 143-145, 993 } accept", [("accept", 0, "tcp", ((25, 25), (143, 145), (993, 993)), (), None)]),
    ("tcp dport @ports accept", [("accept", 0, "tcp", ((25, 25), (465, 587)), (), None)]),
    ("tcp dport @moment accept", [("accept", 0, "tcp", ((25, 25),), (), None)]),
    ("tcp dport != 25 drop", [("drop", 0, "tcp", ((0, 24), (26, 65535)), (), "tcp dport != 25")]),
    ("tcp dport > 1024 accept", [("accept", 0, "tcp", ((1025, 65535),), (), None)]),
    ("tcp dport 1-100 reject", [("reject", 0, "tcp", ((1, 100),), (), None)]),
    ("udp dport 53 accept", [("accept", 0, "udp", ((53, 53),), (), None)]),
    ("th dport 25 drop", [("drop", 0, "any", ((25, 25),), (), None)]),
    ("meta l4proto tcp th dport 25 drop", [("drop", 0, "tcp", ((25, 25),), (), None)]),
    (
        "meta l4proto { tcp, udp } th dport 25 drop",
        [("drop", 0, "tcp", ((25, 25),), (), None), ("drop", 0, "udp", ((25, 25),), (), None)],
    ),
    (
        "tcp dport vmap { 25 : accept, 26-30 : drop }",
        [("accept", 0, "tcp", ((25, 25),), (), None), ("drop", 0, "tcp", ((26, 30),), (), None)],
    ),
    ("tcp dport vmap @verdicts", [("drop", 0, "tcp", ((26, 26),), (), None)]),
    (
        "meta l4proto . th dport vmap { tcp . 25 : accept, udp . 53 : drop }",
        [("accept", 0, "tcp", ((25, 25),), (), None), ("drop", 0, "udp", ((53, 53),), (), None)],
    ),
    (
        "ip daddr . tcp dport { 10.0.0.1 . 25, 10.0.0.2 . 26-30 } accept",
        [
            ("accept", 4, "tcp", ((25, 25),), ("10.0.0.1",), None),
            ("accept", 4, "tcp", ((26, 30),), ("10.0.0.2",), None),
        ],
    ),
    ("ip daddr 10.0.0.0/8 tcp dport 25 accept", [("accept", 4, "tcp", ((25, 25),), ("10.0.0.0/8",), None)]),
    (
        "ip daddr != 10.0.0.0/8 tcp dport 25 accept",
        [("accept", 4, "tcp", ((25, 25),), (), "ip daddr != 10.0.0.0/8")],
    ),
    ("ip daddr 10.0.0.4-10.0.0.8 accept", [("accept", 4, "any", (), ("10.0.0.4/30", "10.0.0.8"), None)]),
    ("ip6 daddr { ::1, fe80::/10 } drop", [("drop", 6, "any", (), ("::1", "fe80::/10"), None)]),
    ("meta nfproto ipv6 tcp dport 25 drop", [("drop", 6, "tcp", ((25, 25),), (), None)]),
    ('iifname "lo" accept', [("accept", 0, "any", (), (), 'iifname "lo"')]),
    ("ct state established,related accept", [("accept", 0, "any", (), (), "ct state established,related")]),
    (
        "ct state vmap { invalid : drop, established : accept }",
        [("drop", 0, "any", (), (), "ct state invalid"), ("accept", 0, "any", (), (), "ct state established")],
    ),
    (
        "ip saddr 1.2.3.4 tcp dport 25 limit rate 5/second accept",
        [("accept", 4, "tcp", ((25, 25),), (), "ip saddr 1.2.3.4, limit rate 5/second")],
    ),
    ("tcp dport 25 meta skuid 1000 drop", [("drop", 0, "tcp", ((25, 25),), (), "skuid 1000")]),
    ("meta mark 0x1 tcp dport 25 drop", [("drop", 0, "tcp", ((25, 25),), (), "meta mark 1")]),
    ("fib daddr type local tcp dport 25 drop", [("drop", 0, "tcp", ((25, 25),), (), "fib daddr type local")]),
    ("tcp flags syn tcp dport 25 drop", [("drop", 0, "tcp", ((25, 25),), (), "tcp flags syn")]),
    ("meta nfproto ipv4 tcp dport 25 reject", [("reject", 4, "tcp", ((25, 25),), (), None)]),
    ("meta nfproto ipv6 tcp dport 25 reject", [("reject", 6, "tcp", ((25, 25),), (), None)]),
    ("meta l4proto tcp reject with tcp reset", [("reject", 0, "tcp", (), (), None)]),
    ("tcp dport 25 add @seen { ip saddr limit rate over 5/second } drop", [("drop", 4, "tcp", ((25, 25),), (), SEEN)]),
    ("icmp type echo-request accept", []),
    ("meta l4proto { icmp, icmpv6 } accept", []),
    ("sctp dport 25 drop", []),
    ("tcp dport 25 counter log prefix x", []),
    ("jump inner", [("reject", 0, "tcp", ((98, 98),), (), None)]),
    ("tcp dport { 97, 98 } jump inner", [("reject", 0, "tcp", ((98, 98),), (), None)]),
    ("tcp dport 97 jump inner", []),
]


@pytest.mark.parametrize(("rule", "expected"), NFT_GATES, ids=[g[0] for g in NFT_GATES])
def test_nft_gates_are_read_back_as_they_were_written(net: Net, rule: str, expected: list[Any]) -> None:
    """The gates of each rule, as the real nft prints it, are what the rule says."""
    net.run(
        *("nft", "-f", "-"),
        text=f"""table inet t {{
            set ports {{ type inet_service; flags interval; elements = {{ 25, 465-587 }}; }}
            set moment {{ type inet_service; flags timeout; elements = {{ 25 timeout 1h }}; }}
            map verdicts {{ type inet_service : verdict; elements = {{ 25 : jump nothing, 26 : drop }}; }}
            set seen {{ type ipv4_addr; flags dynamic; size 9; }}
            chain nothing {{
            }}
            chain inner {{
                tcp dport 98 reject
            }}
            chain in {{ type filter hook input priority 0; policy drop;
                {rule}
            }}
        }}""",
    )
    gates = net.reading().gates
    assert [g[:1] + g[3:8] for g in gates[:-1]] == expected
    assert (gates[-1].verdict, gates[-1].is_policy) == ("drop", True)


NFT_REDIRECTS = [
    ("tcp dport 25 redirect to :2525", [(0, ((25, 25),), (), False, None, (2525, 2525), None)]),
    ("tcp dport 25 redirect", [(0, ((25, 25),), (), False, None, None, None)]),
    ("tcp dport 25 redirect to :2525-2530", [(0, ((25, 25),), (), False, None, (2525, 2530), None)]),
    ("tcp dport 25 dnat ip to 10.0.0.2:2525", [(4, ((25, 25),), (), False, "10.0.0.2", (2525, 2525), None)]),
    ("tcp dport 25 dnat ip to 10.0.0.2", [(4, ((25, 25),), (), False, "10.0.0.2", None, None)]),
    ("tcp dport 25 dnat ip6 to [2001:db8::1]:26", [(6, ((25, 25),), (), False, "2001:db8::1", (26, 26), None)]),
    (
        "fib daddr type local tcp dport 25 dnat ip to 10.0.0.2-10.0.0.5:25-30",
        [(4, ((25, 25),), (), True, "10.0.0.2-10.0.0.5", (25, 30), None)],
    ),
    (
        "dnat ip to tcp dport map { 25 : 10.0.0.2 . 2525, 26 : 10.0.0.3 . 26 }",
        [
            (4, ((25, 25),), (), False, "10.0.0.2", (2525, 2525), None),
            (4, ((26, 26),), (), False, "10.0.0.3", (26, 26), None),
        ],
    ),
    ("dnat ip to tcp dport map @targets", [(4, ((25, 25),), (), False, "10.0.0.2", (2525, 2525), None)]),
    (
        "meta l4proto tcp redirect to :tcp dport map { 25 : 2525 }",
        [(0, ((25, 25),), (), False, None, (2525, 2525), None)],
    ),
    (
        "dnat ip to ip daddr . tcp dport map { 1.2.3.4 . 20-30 : 10.0.0.2 . 2525 }",
        [(4, ((20, 30),), ("1.2.3.4",), False, "10.0.0.2", (2525, 2525), None)],
    ),
    (
        "meta l4proto tcp dnat ip to jhash ip saddr mod 2 map { 0 : 10.0.0.1, 1 : 10.0.0.2 }",
        [
            (4, (), (), False, "10.0.0.1", None, "jhash ip saddr mod 2 == 0"),
            (4, (), (), False, "10.0.0.2", None, "jhash ip saddr mod 2 == 1"),
        ],
    ),
    (
        'iifname != "docker0" tcp dport 25 dnat ip to 172.17.0.2:25',
        [(4, ((25, 25),), (), False, "172.17.0.2", (25, 25), 'iifname != "docker0"')],
    ),
]


@pytest.mark.parametrize(("rule", "expected"), NFT_REDIRECTS, ids=[r[0] for r in NFT_REDIRECTS])
def test_nft_redirects_are_read_back_as_they_were_written(net: Net, rule: str, expected: list[Any]) -> None:
    """The redirects of each rule, as the real nft prints it, are what the rule says."""
    net.run(
        *("nft", "-f", "-"),
        text=f"""table inet t {{
            map targets {{ type inet_service : ipv4_addr . inet_service; elements = {{ 25 : 10.0.0.2 . 2525 }}; }}
            chain pre {{ type nat hook prerouting priority -100;
                {rule}
            }}
        }}""",
    )
    redirects = net.reading().redirects
    assert [(r[3], *r[5:11]) for r in redirects] == expected
    assert {r.hook for r in redirects} == {"prerouting"}


def test_tproxy_is_read_back_as_it_was_written(net: Net) -> None:
    """The forms of tproxy, as the real nft prints them."""
    net.run(
        *("nft", "-f", "-"),
        text="""table inet t {
            chain mangle { type filter hook prerouting priority mangle;
                tcp dport 25 tproxy ip to 127.0.0.1:2525 meta mark set 1 accept
                tcp dport 465 tproxy to :2525
                tcp dport 587 tproxy ip6 to [::1]
            }
        }""",
    )
    assert [(r.kind, *r[3:4], *r[5:6], *r[8:10]) for r in net.reading().redirects] == [
        ("tproxy", 4, ((25, 25),), "127.0.0.1", (2525, 2525)),
        ("tproxy", 0, ((465, 465),), None, (2525, 2525)),
        ("tproxy", 6, ((587, 587),), "::1", None),
    ]


IPTABLES = [
    (
        "nat",
        "OUTPUT -p tcp --dport 25 -j REDIRECT --to-ports 2525",
        ("redirect", ((25, 25),), None, (2525, 2525), None),
    ),
    (
        "nat",
        "OUTPUT -p tcp -m multiport --dports 25,465:587 -j REDIRECT --to-ports 2525-2530",
        ("redirect", ((25, 25), (465, 587)), None, (2525, 2530), None),
    ),
    (
        "nat",
        "PREROUTING -p tcp ! --dport 25 -j REDIRECT",
        ("redirect", ((0, 24), (26, 65535)), None, None, "tcp dport != 25"),
    ),
    (
        "nat",
        "PREROUTING ! -i docker0 -p tcp --dport 25 -j DNAT --to-destination 172.17.0.2:25",
        ("dnat", ((25, 25),), "172.17.0.2", (25, 25), 'iifname != "docker0"'),
    ),
    (
        "nat",
        "OUTPUT -p tcp --dport 25 -m owner --uid-owner 1000 -j DNAT --to-destination 10.0.0.1-10.0.0.4:25-30",
        ("dnat", ((25, 25),), "10.0.0.1-10.0.0.4", (25, 30), "skuid 1000"),
    ),
    (
        "mangle",
        "PREROUTING -p tcp --dport 25 -j TPROXY --on-port 2525 --on-ip 127.0.0.1 --tproxy-mark 1",
        ("tproxy", ((25, 25),), "127.0.0.1", (2525, 2525), None),
    ),
    (
        "nat",
        "PREROUTING -p tcp --dport 25 -m comment --comment 'a \"b\" -j DROP' -j REDIRECT",
        ("redirect", ((25, 25),), None, None, None),
    ),
    ("filter", "INPUT -p tcp --dport 1:26 -j DROP", ("drop", ((1, 26),), None)),
    (
        "filter",
        "INPUT -p udp -m multiport ! --dports 25,26 -j DROP",
        ("drop", ((0, 24), (27, 65535)), "udp dport != 25-26"),
    ),
    (
        "filter",
        "INPUT -p tcp --dport 25 -m comment --comment 'two words' -j REJECT --reject-with tcp-reset",
        ("reject", ((25, 25),), None),
    ),
    (
        "filter",
        "INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        ("accept", (), "ct state established,related"),
    ),
    ("filter", "INPUT -i lo -j ACCEPT", ("accept", (), 'iifname "lo"')),
    (
        "filter",
        "INPUT -s 10.0.0.0/8 -p tcp -m mark --mark 1 --dport 25 -j ACCEPT",
        ("accept", ((25, 25),), "ip saddr 10.0.0.0/8, meta mark 1"),
    ),
    ("filter", "INPUT -p tcp -m addrtype --dst-type LOCAL -j DROP", ("drop", (), "fib daddr type local")),
    ("filter", "INPUT -p tcp -m limit --limit 5/min -j ACCEPT", ("accept", (), "limit rate 5/minute")),
    ("filter", "OUTPUT -p tcp -m owner --uid-owner 0 -j DROP", ("drop", (), "skuid 0")),
    ("filter", "FORWARD -m conntrack --ctorigdstport 25 -j DROP", ("drop", (), "ct original proto-dst 25")),
    ("filter", "INPUT -p icmp -j ACCEPT", None),
]


@pytest.mark.parametrize("program", ["iptables-nft", "iptables-legacy"])
@pytest.mark.parametrize(("table", "rule", "expected"), IPTABLES, ids=[r[1][:60] for r in IPTABLES])
def test_iptables_rules_are_read_back_once(net: Net, program: str, table: str, rule: str, expected: Any) -> None:
    """A rule made by either iptables is read once, with all that it says, whichever tool shows it."""
    need(program)
    if program == "iptables-legacy":
        need_legacy(net)
    net.run(program, "-t", table, "-A", *shlex.split(rule))
    reading = net.reading()
    seen: list[Any] = [(r.kind, r.ports, r.to_address, r.to_ports, r.when) for r in reading.redirects]
    seen += [(g.verdict, g.ports, g.when) for g in reading.gates if not g.is_policy]
    assert seen == ([expected] if expected else [])
    facts: list[Redirect | Gate] = [*reading.redirects, *reading.gates]
    assert {f.backend for f in facts} <= {"nft" if program == "iptables-nft" else program}
    assert {f.family for f in facts} <= {4}


@pytest.mark.parametrize("program", ["ip6tables-nft", "ip6tables-legacy"])
def test_ip6tables_rules_are_read_back(net: Net, program: str) -> None:
    """Targets in brackets, without port, and as a range are read for IPv6 too."""
    need(program)
    if program == "ip6tables-legacy":
        need_legacy(net, program)
    for target in ("[2001:db8::1]:26", "2001:db8::1", "[2001:db8::1-2001:db8::5]:26"):
        dnat = ("-j", "DNAT", "--to-destination", target)
        net.run(program, "-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "25", *dnat)
    assert [(r.family, r.to_address, r.to_ports) for r in net.reading().redirects] == [
        (6, "2001:db8::1", (26, 26)),
        (6, "2001:db8::1", None),
        (6, "2001:db8::1-2001:db8::5", (26, 26)),
    ]


def test_a_native_rule_in_a_table_of_iptables_hides_nothing_else(net: Net) -> None:
    """Where iptables calls its table incompatible, nft shows it after all and says what it hides."""
    need("iptables-nft", "iptables-nft-save")
    redirect = ("-j", "REDIRECT", "--to-ports", "2525")
    net.run("iptables-nft", "-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "25", *redirect)
    net.run("nft", "add rule ip nat PREROUTING tcp dport 26 redirect to :2626")
    printed = Printed(net.run("nft", "-j", "list", "ruleset"), net.run("iptables-nft-save"))
    reading = read_netfilter(printed, "here")
    assert [r.ports for r in reading.redirects] == [((25, 25),), ((26, 26),)]
    assert reading.redirects[1].to_ports == (2626, 2626)
    if reading.left_out:  # an nft that hides where REDIRECT leads
        assert reading.left_out == ("ip nat",)
        assert "hides" in (reading.redirects[0].when or "")


# Compare with what the kernel does

TO_2525 = ("-j", "REDIRECT", "--to-ports", "2525")
ADDRESS = {4: "127.0.0.1", 6: "::1"}

OUTPUT_REDIRECTS = [
    ("nft inet", (4, 6), ["nft", "-f", "-"], "tcp dport 25 redirect to :2525"),
    ("nft map", (4, 6), ["nft", "-f", "-"], "meta l4proto tcp redirect to :tcp dport map { 25 : 2525 }"),
    ("nft set", (4, 6), ["nft", "-f", "-"], "tcp dport { 20-25, 993 } redirect to :2525"),
    ("nft dnat", (4,), ["nft", "-f", "-"], "ip daddr 127.0.0.0/8 tcp dport 25 dnat ip to 127.0.0.1:2525"),
    ("iptables-nft", (4,), ["iptables-nft"], ""),
    ("ip6tables-nft", (6,), ["ip6tables-nft"], ""),
    ("iptables-legacy", (4,), ["iptables-legacy"], ""),
    ("ip6tables-legacy", (6,), ["ip6tables-legacy"], ""),
]


@pytest.mark.parametrize(("name", "families", "argv", "rule"), OUTPUT_REDIRECTS, ids=[r[0] for r in OUTPUT_REDIRECTS])
def test_a_connection_goes_where_the_reader_says(
    net: Net, name: str, families: tuple[int, ...], argv: list[str], rule: str
) -> None:
    """A redirect in OUTPUT takes a local connection to the listener at the port that was read, in its families."""
    need(argv[0])
    if "legacy" in name:
        need_legacy(net, argv[0])
    if rule:
        net.run(*argv, text=f"table inet t {{\nchain o {{ type nat hook output priority -100;\n{rule}\n}}\n}}")
    else:
        net.run(*argv, "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "--dport", "25", *TO_2525)
    redirects = net.reading().redirects
    for family, address in ADDRESS.items():
        matching = [r for r in redirects if holds(r, address, 25)]
        assert bool(matching) == (family in families)
        ports = matching[0].to_ports if matching else None
        # Where the reader sees no redirect, the connection must stay at 25.
        with listening(net, address, ports[0] if ports else 25) as listener:
            assert leads_to(net, address, 25, listener)


def test_exempted_and_returned_packets_stay_where_they_are(net: Net) -> None:
    """An accept or return before a redirect spares a port, as the kernel does, and so says the reader."""
    net.run(
        *("nft", "-f", "-"),
        text="""table inet t {
            chain inner {
                tcp dport 26 return
                tcp dport 24-40 redirect to :2525
            }
            chain o { type nat hook output priority -100;
                tcp dport 25 accept
                tcp dport 24-30 goto inner
                tcp dport 26-31 redirect to :2525
            }
        }
        """,
    )
    redirects = net.reading().redirects
    with ExitStack() as stack:
        target = stack.enter_context(listening(net, "127.0.0.1", 2525))
        for port in (24, 25, 26, 27, 31, 32):
            listener = stack.enter_context(listening(net, "127.0.0.1", port))
            is_redirected = any(r.when is None and holds(r, "127.0.0.1", port) for r in redirects)
            assert leads_to(net, "127.0.0.1", port, target if is_redirected else listener), port
            assert is_redirected == (port in (24, 27, 31)), port


def test_a_dormant_table_redirects_nothing_and_is_never_read_as_if_it_did(net: Net) -> None:
    """The kernel skips a dormant table; the reader skips it, or says that it can't tell."""
    chain = "chain o { type nat hook output priority -100;\ntcp dport 25 redirect to :2525\n}"
    net.run("nft", "-f", "-", text=f"table inet asleep {{\n{chain}\n}}")
    net.run("nft", "add table inet asleep { flags dormant; }")
    reading = read_ruleset(net.run("nft", "-j", "list", "ruleset"), "here")
    assert all(r.when == "its table isn't dormant" for r in reading.redirects)
    assert len(reading.problems) == len(reading.redirects)
    with listening(net, "127.0.0.1", 25) as listener:
        assert leads_to(net, "127.0.0.1", 25, listener)


FILTERS = {
    "verdict map, policy accept": """
        tcp dport vmap { 25 : drop, 26-27 : accept, 28 : jump refuse, 29 : goto refuse }
        tcp dport 24-28 drop
        """,
    "sets, negation, jumps and returns": """
        tcp dport @closed reject with tcp reset
        jump checks
        tcp dport { 26, 28-29 } drop
        """,
    "families and addresses": """
        ip daddr 127.0.0.2 tcp dport 25 drop
        meta nfproto ipv6 tcp dport 26 counter reject with tcp reset
        meta nfproto ipv4 tcp dport 30 reject
        ip6 daddr ::1 tcp dport 27 drop
        ip daddr . tcp dport { 127.0.0.1 . 28, 127.0.0.2 . 29 } reject
        """,
    "protocols": """
        udp dport 25 drop
        meta l4proto { tcp, udp } th dport 26 drop
        meta l4proto . th dport vmap { tcp . 27 : drop, udp . 28 : accept }
        """,
}


@pytest.mark.parametrize("rules", FILTERS.values(), ids=FILTERS.keys())
def test_a_connection_is_judged_as_the_reader_says(net: Net, rules: str) -> None:
    """The first gate that matches says what becomes of a connection: it is made, waits in vain, or is refused."""
    net.run(
        *("nft", "-f", "-"),
        text=f"""table inet t {{
            set closed {{ type inet_service; flags interval; elements = {{ 24, 27 }}; }}
            chain refuse {{
                tcp dport != 30 reject with tcp reset
            }}
            chain checks {{
                tcp dport 28 return
                tcp dport 28-30 accept
                tcp dport 25 goto refuse
            }}
            chain in {{ type filter hook input priority 0;
                ct state established,related accept
                {rules}
            }}
        }}""",
    )
    gates = tuple(
        # The condition of `tcp dport != 30` is already in its ports.
        g._replace(when=None) if g.when == "tcp dport != 30" else g
        for g in net.reading().gates
    )
    seen, said = {}, {}
    with ExitStack() as stack:
        for port in range(24, 31):
            stack.enter_context(listening(net, "0.0.0.0", port))
            stack.enter_context(listening(net, "::1", port))
            for address in ("127.0.0.1", "127.0.0.2", "::1"):
                seen[address, port] = connected(net, address, port)
                said[address, port] = judged(gates, "input", address, port)
    assert said == seen
    assert set(seen.values()) > {"accept"}


@pytest.mark.parametrize("program", ["iptables-nft", "iptables-legacy"])
def test_a_connection_is_judged_as_iptables_was_read(net: Net, program: str) -> None:
    """User chains, returns and the policy of either iptables are judged as the kernel judges them."""
    need(program)
    if program == "iptables-legacy":
        need_legacy(net)
    for rule in (
        "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-N MAIL",
        "-A INPUT -p tcp -j MAIL",
        "-A INPUT -p tcp -m multiport --dports 28,29 -j ACCEPT",
        "-A MAIL -p tcp --dport 28 -j RETURN",
        "-A MAIL -p tcp --dport 25:26 -j ACCEPT",
        "-A MAIL -p tcp --dport 24:28 -j REJECT --reject-with tcp-reset",
        "-P INPUT DROP",
    ):
        net.run(program, *rule.split())
    gates = net.reading().gates
    with ExitStack() as stack:
        for port in range(24, 31):
            stack.enter_context(listening(net, "127.0.0.1", port))
            assert connected(net, "127.0.0.1", port) == judged(gates, "input", "127.0.0.1", port), port


@contextmanager
def joined(one: Net, name: str, other: Net, other_name: str, network: str) -> Iterator[None]:
    """Join two namespaces by a pair of devices: `.1` in the first, `.2` in the other."""
    one.run("ip", "link", "add", name, "type", "veth", "peer", "name", other_name, "netns", str(other.pid))
    for net, device, last in ((one, name, 1), (other, other_name, 2)):
        net.run("ip", "addr", "add", f"{network}.{last}/24", "dev", device)
        net.run("ip", "link", "set", device, "up")
    other.run("ip", "route", "add", "default", "via", f"{network}.1")
    yield


@pytest.mark.parametrize("program", ["iptables-nft", "iptables-legacy"])
def test_docker_s_rules_take_outside_traffic_to_the_container(net: Net, program: str) -> None:
    """Docker's own chains, read as a published port, lead clients and this host there, but not 127.0.0.1."""
    need(program)
    if program == "iptables-legacy":
        need_legacy(net)
    for rule in (
        "-N DOCKER",
        "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
        "-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER",
        "-A DOCKER -i docker0 -j RETURN",
        "-A DOCKER ! -i docker0 -p tcp -m tcp --dport 25 -j DNAT --to-destination 172.17.0.2:2525",
    ):
        net.run(program, "-t", "nat", *rule.split())
    net.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    with namespace() as client, namespace() as container, ExitStack() as stack:
        stack.enter_context(joined(net, "eth0", client, "eth0", "10.9.0"))
        stack.enter_context(joined(net, "docker0", container, "eth0", "172.17.0"))
        outside, inside = net.reading().redirects
        assert (outside.hook, outside.local_only, inside.hook, inside.local_only) == (
            "prerouting",
            True,
            "output",
            True,
        )
        assert inside.when is not None
        assert inside.when.startswith("ip daddr != 127.0.0.0/8")
        for fact in (outside, inside):
            assert (fact.ports, fact.to_address, fact.to_ports) == (((25, 25),), "172.17.0.2", (2525, 2525))
            assert 'iifname != "docker0"' in (fact.when or "")
        there = stack.enter_context(listening(container, str(outside.to_address), 2525))
        here = stack.enter_context(listening(net, "0.0.0.0", 25))
        assert leads_to(client, "10.9.0.1", 25, there)
        assert leads_to(net, "10.9.0.1", 25, there)
        assert leads_to(net, "127.0.0.1", 25, here)
        # From the container itself the rule doesn't hold.
        assert leads_to(container, "172.17.0.1", 25, here)


def test_a_tproxy_takes_outside_traffic_to_its_listener(net: Net) -> None:
    """A tproxy rule leads a client's connection, to whichever address, to the listener that was read."""
    net.run(
        *("nft", "-f", "-"),
        text="""table ip t {
            chain mangle { type filter hook prerouting priority mangle;
                tcp dport 25 tproxy to 127.0.0.1:2525 meta mark set 1 accept
            }
        }""",
    )
    net.run("ip", "rule", "add", "fwmark", "1", "lookup", "100")
    net.run("ip", "route", "add", "local", "default", "dev", "lo", "table", "100")
    (redirect,) = net.reading().redirects
    assert redirect.to_ports is not None
    with ExitStack() as stack:
        client = stack.enter_context(namespace())
        stack.enter_context(joined(net, "eth0", client, "eth0", "10.9.0"))
        listener = listening(net, str(redirect.to_address), redirect.to_ports[0], transparent=True)
        stack.enter_context(listener)
        assert leads_to(client, "10.9.0.1", 25, listener)
        assert leads_to(client, "192.0.2.1", 25, listener)


def test_without_root_nft_and_the_save_tools_fail_rather_than_show_nothing(net: Net) -> None:
    """An unprivileged look fails with a status and a message, so that it isn't taken for an empty ruleset."""
    need("setpriv", "iptables-nft-save", "iptables-legacy-save")
    need_legacy(net)  # makes the legacy tables of this namespace
    for argv in (["nft", "-j", "list", "ruleset"], ["iptables-nft-save"], ["iptables-legacy-save"]):
        command = ["nsenter", "-t", str(net.pid), "-n", "--", "setpriv", "--reuid=65534", "--clear-groups", "--", *argv]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode != 0, argv
        assert done.stdout == ""
        assert "ermi" in done.stderr  # permitted, Permission


def test_a_large_ruleset_is_read_in_time(net: Net) -> None:
    """Two thousand rules through jumps are read completely."""
    rules = "\n".join(f"tcp dport {port} drop" for port in range(1000, 3000))
    net.run(
        "nft",
        "-f",
        "-",
        text=f"table inet t {{\nchain c {{\n{rules}\n}}\nchain in {{ type filter hook input priority 0; jump c\n}}\n}}",
    )
    reading = read_ruleset(net.run("nft", "-j", "list", "ruleset"), "here")
    assert (len(reading.gates), reading.problems) == (2001, ())
