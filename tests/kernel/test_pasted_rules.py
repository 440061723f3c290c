"""What the real tools print of rules, addresses and settings is read as the kernel's own answer is."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from stage import Stage, stage

from mailports.host.local import Machine
from mailports.observe.look import Scope, observe
from mailports.pasted.found import Found, Line
from mailports.pasted.rules import READERS as RULES
from mailports.pasted.settings import READERS as SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailports.model.facts import Snapshot

pytestmark = pytest.mark.kernel

NFT = """
table inet mail {
    set banned { type ipv4_addr; elements = { 192.0.2.1, 192.0.2.2 } }
    set mail_ports { type inet_service; flags interval; elements = { 25, 465, 587-589 } }
    chain input {
        type filter hook input priority 0; policy drop;
        ct state established,related accept
        iifname "lo" accept
        ip saddr @banned drop
        tcp dport @mail_ports accept
        tcp dport { 143, 993 } counter accept comment "access, mostly"
        tcp dport 110 reject with tcp reset
        ip saddr 10.0.0.0/8 tcp dport 4190 accept
        tcp dport != 22 tcp dport 20-30 drop
        tcp dport vmap { 1025 : drop, 1026 : accept, 1027 : jump other }
        meta l4proto udp limit rate 5/second accept
        udp dport 53 log prefix "dns " accept
    }
    chain other {
        tcp dport 1027 ip6 saddr 2001:db8::/32 accept
        reject with icmpx type admin-prohibited
    }
}
table ip nat4 {
    chain prerouting {
        type nat hook prerouting priority dstnat; policy accept;
        tcp dport 25 dnat to 10.9.9.9:2525
        iifname != "wire" tcp dport 587 redirect to :2587
        fib daddr type local tcp dport { 465, 466 } dnat to 10.9.9.8
        ip daddr 192.0.2.0/24 udp dport 53 redirect
    }
    chain output {
        type nat hook output priority -100;
        meta skuid 1000 tcp dport 25 redirect to :1025
    }
}
table ip6 nat6 {
    chain prerouting {
        type nat hook prerouting priority -100;
        tcp dport 25 dnat to [2001:db8::9]:25
    }
}
"""

FILTER = (
    "-P INPUT DROP",
    "-N MAIL",
    "-A INPUT -i lo -j ACCEPT",
    "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "-A INPUT -p tcp -m multiport --dports 25,465,587 -j MAIL",
    "-A INPUT -s 10.0.0.0/8 -p tcp --dport 143:145 -j ACCEPT",
    "-A INPUT -p tcp --dport 110 -m comment --comment pop-is-off -j REJECT --reject-with tcp-reset",
    "-A INPUT -p udp --dport 53 -j DROP",
    "-A MAIL ! -s 192.0.2.0/24 -p tcp --dport 25 -j ACCEPT",
    "-A MAIL -j RETURN",
    "-A OUTPUT -p tcp --dport 25 -m owner ! --uid-owner 0 -j REJECT",
)
NAT = (
    "-N DOCKER",
    "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
    "-A OUTPUT ! -d 127.0.0.0/8 -p tcp --dport 587 -j REDIRECT --to-ports 2587",
    "-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE",
    "-A DOCKER ! -i docker0 -p tcp --dport 25 -j DNAT --to-destination 172.17.0.2:25",
    "-A DOCKER -d 192.0.2.7/32 ! -i docker0 -p tcp --dport 8025 -j DNAT --to-destination 172.17.0.3:25",
)


@pytest.fixture
def place() -> Iterator[Stage]:
    """Return a fresh stage."""
    with stage() as made:
        yield made


def seen_in(place: Stage) -> Snapshot:
    """Return what mailports sees on the stage."""
    snapshot: Snapshot = place.ask(lambda: observe(Machine(), Scope(everything=True, netns="here")))
    return snapshot


def read(command: str, text: str, readers: Any) -> list[Found]:
    """Read a tool's whole output as pasted after its command; no line may be left over but blank ones."""
    lines = [Line(1, command, is_command=True)]
    lines += [Line(i, row) for i, row in enumerate(text.splitlines(), start=2)]
    at, found = 1, []
    while at < len(lines):
        one = next(filter(None, (reader(lines, at, "here") for reader in readers)), None)
        if one is None:
            assert not lines[at].text.strip(), lines[at]
            at += 1
        else:
            found.append(one)
            at += one.taken
    assert [p for each in found for p in each.problems] == []
    return found


def redirects(holders: Any, *, every_when: bool = True) -> set[tuple[Any, ...]]:
    """Return what matters of redirects."""
    return {
        (r.kind, r.hook, r.family, r.protocol, r.ports, r.addresses, r.local_only, r.to_address, r.to_ports)
        + ((r.when,) if every_when else ())
        for each in holders
        for r in each.redirects
    }


def gates(holders: Any, *, every_when: bool = True) -> list[tuple[Any, ...]]:
    """Return what matters of gates, in their order."""
    return [
        (g.verdict, g.hook, g.family, g.protocol, g.ports, g.addresses, g.is_policy)
        + ((g.when,) if every_when else (bool(g.when),))
        for each in holders
        for g in each.gates
    ]


def test_nft_text_says_what_its_json_says(place: Stage) -> None:
    """The listing that people paste gives the redirects and gates that mailports reads from JSON."""
    place.run("nft", "-f", "-", text=NFT)
    live = seen_in(place)
    for command in ("nft list ruleset", "nft -a list ruleset", "nft -n list ruleset"):
        found = read(command, place.run(*command.split()), RULES)
        has_names = command != "nft -n list ruleset"  # it prints even the states of connections as numbers
        assert redirects(found) == redirects([live])
        assert gates(found, every_when=has_names) == gates([live], every_when=has_names)
        assert [look.extent for each in found for look in each.looks] == ["all"]


def iptables(place: Stage, program: str = "iptables") -> None:
    """Put the rules in."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} isn't installed")
    for table, rules in (("filter", FILTER), ("nat", NAT)):
        for rule in rules:
            place.run(program, "-t", table, *rule.split())


def test_iptables_save_says_what_the_kernel_has(place: Stage) -> None:
    """The save tool's output is read as the observer reads it."""
    iptables(place)
    live = seen_in(place)
    found = read("iptables-save", place.run("iptables-save"), RULES)
    assert redirects(found) == redirects([live])
    assert gates(found) == gates([live])


@pytest.mark.parametrize("table", ["filter", "nat"])
def test_iptables_rules_say_what_the_kernel_has(place: Stage, table: str) -> None:
    """`iptables -S` is read as the observer reads it."""
    iptables(place)
    live = seen_in(place)
    found = read(f"iptables -t {table} -S", place.run("iptables", "-t", table, "-S"), RULES)
    if table == "nat":
        assert redirects(found) == redirects([live])
    else:
        assert gates(found) == gates([live])


@pytest.mark.parametrize("options", ["-L -n -v", "-nvL --line-numbers", "-L -v", "-L -n"])
def test_iptables_listings_say_what_the_kernel_has(place: Stage, options: str) -> None:
    """`iptables -L` is read as the observer reads it; without -v the interfaces are unknown, and it says so."""
    iptables(place)
    live = seen_in(place)
    is_whole = "v" in options
    if options == "-L -v":
        options += " -w"
    nat = read(f"iptables -t nat {options}", place.run("iptables", "-t", "nat", *options.split()), RULES)
    assert redirects(nat, every_when=is_whole) == redirects([live], every_when=is_whole)
    listed = read(f"iptables {options}", place.run("iptables", *options.split()), RULES)
    assert gates(listed, every_when=False) == gates([live], every_when=False)


def test_addresses_are_the_kernels(place: Stage) -> None:
    """`ip addr` in its forms, and ifconfig, show the addresses that the kernel has."""
    place.add_outside()
    place.run("ip", "link", "add", "docker0", "type", "bridge")
    place.run("ip", "addr", "add", "172.17.0.1/16", "dev", "docker0")
    place.run("ip", "link", "set", "docker0", "up")
    live = {a for a in seen_in(place).addresses if not a.address.startswith("fe80")}
    assert len(live) > 4
    commands = ["ip addr", "ip -d addr", "ip -o addr", "ip -br addr", "ip -4 addr"]
    if shutil.which("ifconfig"):
        commands.append("ifconfig -a")
    for command in commands:
        found = read(command, place.run(*command.split()), SETTINGS)
        wanted = {a for a in live if "-4" not in command or ":" not in a.address}
        got = {a for each in found for a in each.addresses if not a.address.startswith("fe80")}
        if command != "ip -d addr":  # names alone don't tell what `wire` is
            wanted = {a._replace(device_kind=None) if a.device == "wire" else a for a in wanted}
        assert got == wanted, command
        assert [look.extent for each in found for look in each.looks] == ["some" if "-4" in command else "all"]


def test_settings_are_the_kernels(place: Stage) -> None:
    """`sysctl` shows the settings that the kernel has."""
    place.set("net.ipv4.ip_local_port_range", "20000 30000")
    live = {s.name: s for s in seen_in(place).settings}
    found = read("sysctl -a -r net.ipv4.ip_local", place.run("sysctl", "-a", "-r", "net.ipv4.ip_local"), SETTINGS)
    got = {s.name: s for each in found for s in each.settings}
    shared = sorted(set(got) & set(live))
    assert "net.ipv4.ip_local_port_range" in shared
    assert [got[name] for name in shared] == [live[name] for name in shared]
