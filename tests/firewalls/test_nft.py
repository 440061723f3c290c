"""nftables' JSON is read into redirects and gates."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailports.firewalls.chains import Reading
from mailports.firewalls.nft import read_ruleset
from mailports.model.facts import Gate, Redirect

TCP25 = {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 25}}
DPORT = {"payload": {"protocol": "tcp", "field": "dport"}}
TH_DPORT = {"payload": {"protocol": "th", "field": "dport"}}
DADDR = {"payload": {"protocol": "ip", "field": "daddr"}}
L4PROTO = {"meta": {"key": "l4proto"}}
ACCEPT, DROP = {"accept": None}, {"drop": None}
LOCAL = {"match": {"op": "==", "left": {"fib": {"result": "type", "flags": ["daddr"]}}, "right": "local"}}


def match(left: Any, right: Any, op: str = "==") -> Any:
    return {"match": {"op": op, "left": left, "right": right}}


def meta(key: Any, right: Any, op: str = "==") -> Any:
    return match({"meta": {"key": key}}, right, op)


def base(
    name: str = "in",
    hook: str = "input",
    kind: str = "filter",
    policy: str = "accept",
    family: str = "inet",
    table: str = "t",
) -> Any:
    return {
        "chain": {
            "family": family,
            "table": table,
            "name": name,
            "handle": 1,
            "type": kind,
            "hook": hook,
            "prio": 0,
            "policy": policy,
        }
    }


def plain(name: Any, family: str = "inet", table: str = "t") -> Any:
    return {"chain": {"family": family, "table": table, "name": name, "handle": 1}}


def rule(*expr: Any, chain: str = "in", handle: Any = 9, family: str = "inet", table: str = "t") -> Any:
    return {"rule": {"family": family, "table": table, "chain": chain, "handle": handle, "expr": list(expr)}}


def dump(*objects: Any, family: str = "inet", table: str = "t") -> Any:
    return json.dumps({"nftables": [{"metainfo": {}}, {"table": {"family": family, "name": table}}, *objects]})


def gates(*expr: Any, extra: Any = (), **chain: Any) -> Any:
    """Return verdict, family, protocol, ports, addresses and when of the gates of one rule."""
    reading = read_ruleset(dump(base(**chain), *extra, rule(*expr)), "here")
    assert reading.problems == ()
    return [g[:1] + g[3:8] for g in reading.gates if not g.is_policy]


def redirects(*expr: Any, hook: str = "prerouting", kind: str = "nat", extra: Any = ()) -> Any:
    """Return kind, family, protocol, ports, addresses, local_only, target and when of the redirects of one rule."""
    reading = read_ruleset(dump(base(hook=hook, kind=kind), *extra, rule(*expr)), "here")
    assert reading.problems == ()
    return [r[:1] + r[3:11] for r in reading.redirects]


def test_a_redirect_tells_everything_that_its_rule_says() -> None:
    """A redirect has its hook, ports, target, place and text, and the namespace that it was read in."""
    text = dump(base("o", "output", "nat"), rule(TCP25, {"redirect": {"port": 2525}}, chain="o", handle=12))
    (redirect,) = read_ruleset(text, "name:x").redirects
    assert redirect == (
        *("redirect", "output", "name:x", 0, "tcp", ((25, 25),), (), False),
        *(None, (2525, 2525), None, "nft", "inet t o handle 12", "tcp dport 25 redirect to :2525"),
    )


PORTS = [
    (match(DPORT, {"set": [993, 25, {"range": [143, 145]}]}), ((25, 25), (143, 145), (993, 993)), None),
    (match(DPORT, {"range": [1, 100]}), ((1, 100),), None),
    (match(DPORT, 1024, ">"), ((1025, 65535),), None),
    (match(DPORT, 1024, "<="), ((0, 1024),), None),
    (match(DPORT, 25, "!="), ((0, 24), (26, 65535)), "tcp dport != 25"),
    (match(DPORT, {"set": [25, 26]}, "!="), ((0, 24), (27, 65535)), "tcp dport != { 25, 26 }"),
    (match(DPORT, "@ports"), ((25, 26), (465, 465)), None),
    (match(DPORT, "@gone"), (), "tcp dport @gone"),
    (match({"&": [DPORT, 1]}, 1), (), "tcp dport & 1 == 1"),
]


@pytest.mark.parametrize(("expression", "ports", "when"), PORTS, ids=[str(p[0])[:70] for p in PORTS])
def test_ports_are_read_from_values_ranges_sets_and_comparisons(expression: Any, ports: Any, when: Any) -> None:
    """Every way to ask for a destination port gives its ranges; a negation gives the rest, and says so."""
    elements = [25, {"elem": {"val": 26, "timeout": 3600}}, 465]
    ports_set = {"set": {"family": "inet", "name": "ports", "table": "t", "type": "inet_service", "elem": elements}}
    assert gates(expression, ACCEPT, extra=[ports_set]) == [("accept", 0, "tcp", ports, (), when)]


WHENS = [
    (meta("iifname", "docker0", "!="), 0, "any", 'iifname != "docker0"'),
    (meta("iifname", {"set": ["a", "b*"]}), 0, "any", 'iifname { "a", "b*" }'),
    (meta("skuid", 1000), 0, "any", "skuid 1000"),
    (meta("mark", 1), 0, "any", "meta mark 1"),
    (match({"ct": {"key": "state"}}, ["established", "related"], "in"), 0, "any", "ct state established,related"),
    (match({"ct": {"key": "proto-dst", "dir": "original"}}, 25), 0, "any", "ct original proto-dst 25"),
    (match({"payload": {"protocol": "ip", "field": "saddr"}}, "@banned"), 4, "any", "ip saddr @banned"),
    (match({"payload": {"protocol": "tcp", "field": "sport"}}, 25), 0, "tcp", "tcp sport 25"),
    (match(DADDR, {"prefix": {"addr": "10.0.0.0", "len": 8}}, "!="), 4, "any", "ip daddr != 10.0.0.0/8"),
    ({"limit": {"rate": 5, "burst": 5, "per": "minute"}}, 0, "any", "limit rate 5/minute"),
    ({"ct count": {"val": 5, "inv": True}}, 0, "any", "ct count over 5"),
    (match({"numgen": {"mode": "random", "mod": 10}}, 3, "<"), 0, "any", "numgen random mod 10 < 3"),
    ({"set": {"op": "add", "elem": DPORT, "set": "@m"}}, 0, "tcp", "add @m { tcp dport }"),
]


@pytest.mark.parametrize(("expression", "family", "protocol", "when"), WHENS, ids=[w[3] for w in WHENS])
def test_what_isn_t_weighed_is_kept_as_text(expression: Any, family: Any, protocol: Any, when: Any) -> None:
    """A demand beyond port and destination isn't lost: `when` says it in nft's words."""
    assert gates(expression, DROP) == [("drop", family, protocol, (), (), when)]


NETWORKS = [
    ("10.0.0.1", ("10.0.0.1",)),
    ({"prefix": {"addr": "10.0.0.0", "len": 8}}, ("10.0.0.0/8",)),
    ({"range": ["10.0.0.4", "10.0.0.8"]}, ("10.0.0.4/30", "10.0.0.8")),
    ({"set": ["10.0.0.1", "10.0.0.2"]}, ("10.0.0.1", "10.0.0.2")),
]


@pytest.mark.parametrize(("right", "addresses"), NETWORKS, ids=[str(n[1]) for n in NETWORKS])
def test_destination_addresses_are_addresses_and_networks(right: Any, addresses: Any) -> None:
    """A range of addresses becomes networks, so that whoever reads them needs one notation only."""
    assert gates(match(DADDR, right), TCP25, ACCEPT) == [("accept", 4, "tcp", ((25, 25),), addresses, None)]


@pytest.mark.parametrize(
    "expression",
    [
        match({"payload": {"protocol": "icmp", "field": "type"}}, "echo-request"),
        match({"payload": {"protocol": "icmpv6", "field": "type"}}, {"set": ["echo-request"]}),
        match({"payload": {"protocol": "ip", "field": "protocol"}}, "icmp"),
        meta("l4proto", {"set": ["icmp", "esp"]}),
        match({"payload": {"protocol": "sctp", "field": "dport"}}, 25),
        match({"concat": [L4PROTO, TH_DPORT]}, {"set": [{"concat": ["sctp", 25]}]}),
        match(DPORT, {"set": []}),
    ],
    ids=str,
)
def test_a_rule_that_no_tcp_or_udp_packet_meets_is_no_gate(expression: Any) -> None:
    """ICMP and the like concern no port."""
    assert gates(expression, ACCEPT) == []


def test_protocols_and_families_narrow_a_rule() -> None:
    """`meta l4proto { tcp, udp }` is two gates; `meta nfproto` and `ip protocol` give the family."""
    assert [g[2] for g in gates(meta("l4proto", {"set": ["tcp", 17]}), match(TH_DPORT, 25), DROP)] == ["tcp", "udp"]
    assert gates(meta("nfproto", "ipv6"), TCP25, DROP) == [("drop", 6, "tcp", ((25, 25),), (), None)]
    assert gates(meta("l4proto", "tcp", "!="), DROP) == [("drop", 0, "udp", (), (), None)]
    assert gates(meta("l4proto", "icmp", "!="), DROP) == [("drop", 0, "any", (), (), None)]
    assert gates(meta("nfproto", "ipv4"), match({"payload": {"protocol": "ip6", "field": "saddr"}}, "::1"), DROP) == []


def test_the_answer_of_a_reject_tells_the_family() -> None:
    """Nft doesn't print the demand that the kind of answer implies."""
    for kind, family, protocol in (
        ("icmp", 4, "any"),
        ("icmpv6", 6, "any"),
        ("icmpx", 0, "any"),
        ("tcp reset", 0, "tcp"),
    ):
        assert gates({"reject": {"type": kind}}) == [("reject", family, protocol, (), (), None)]


def test_a_verdict_map_is_a_gate_for_each_element() -> None:
    """A vmap on ports, alone or with the protocol, decides element by element, and `*` for the rest."""
    pairs = [["*", DROP], [25, ACCEPT], [{"range": [26, 30]}, DROP]]
    assert gates({"vmap": {"key": DPORT, "data": {"set": pairs}}}) == [
        ("accept", 0, "tcp", ((25, 25),), (), None),
        ("drop", 0, "tcp", ((26, 30),), (), None),
        ("drop", 0, "tcp", (), (), None),
    ]
    named = [[{"concat": ["tcp", 25]}, ACCEPT], [{"elem": {"val": {"concat": ["udp", 53]}, "timeout": 1}}, DROP]]
    extra = [{"map": {"family": "inet", "name": "vm", "table": "t", "map": "verdict", "elem": named}}]
    key = {"concat": [L4PROTO, TH_DPORT]}
    assert gates({"vmap": {"key": key, "data": "@vm"}}, extra=extra) == [
        ("accept", 0, "tcp", ((25, 25),), (), None),
        ("drop", 0, "udp", ((53, 53),), (), None),
    ]
    states = {"set": [["invalid", DROP], ["established", ACCEPT]]}
    assert [g[5] for g in gates({"vmap": {"key": {"ct": {"key": "state"}}, "data": states}})] == [
        "ct state invalid",
        "ct state established",
    ]


def test_a_concatenation_is_taken_apart() -> None:
    """`ip daddr . tcp dport` pairs each address with its own ports."""
    right = {"set": [{"concat": ["10.0.0.1", 25]}, {"concat": ["10.0.0.2", {"range": [26, 30]}]}]}
    assert gates(match({"concat": [DADDR, DPORT]}, right), ACCEPT) == [
        ("accept", 4, "tcp", ((25, 25),), ("10.0.0.1",), None),
        ("accept", 4, "tcp", ((26, 30),), ("10.0.0.2",), None),
    ]


def test_the_targets_of_dnat_are_read_in_all_their_forms() -> None:
    """Address, address with port, ranges, maps to either or both, and targets chosen by chance."""
    p25 = ("tcp", ((25, 25),), (), False)
    assert redirects(TCP25, {"redirect": None}) == [("redirect", 0, *p25, None, None, None)]
    assert redirects(TCP25, {"dnat": {"family": "ip6", "addr": "2001:db8::1", "port": 26}}) == [
        ("dnat", 6, *p25, "2001:db8::1", (26, 26), None)
    ]
    ranged = {"addr": {"range": ["10.0.0.2", "10.0.0.5"]}, "port": {"range": [25, 30]}}
    assert redirects(TCP25, {"dnat": ranged}) == [("dnat", 0, *p25, "10.0.0.2-10.0.0.5", (25, 30), None)]
    pairs = {"key": DPORT, "data": {"set": [[25, {"concat": ["10.0.0.2", 2525]}], [{"range": [26, 27]}, "10.0.0.3"]]}}
    assert redirects({"dnat": {"family": "ip", "addr": {"map": pairs}}}) == [
        ("dnat", 4, *p25, "10.0.0.2", (2525, 2525), None),
        ("dnat", 4, "tcp", ((26, 27),), (), False, "10.0.0.3", None, None),
    ]
    ports = {"map": {"key": DPORT, "data": {"set": [[25, 2525]]}}}
    assert redirects({"redirect": {"port": ports}}) == [("redirect", 0, *p25, None, (2525, 2525), None)]
    chance = {
        "map": {"key": {"numgen": {"mode": "inc", "mod": 2}}, "data": {"set": [[0, "10.0.0.1"], [1, "10.0.0.2"]]}}
    }
    assert [r[6:] for r in redirects(TCP25, {"dnat": {"addr": chance}})] == [
        ("10.0.0.1", None, "numgen inc mod 2 == 0"),
        ("10.0.0.2", None, "numgen inc mod 2 == 1"),
    ]


def test_tproxy_is_a_redirect_of_the_mangle_hook() -> None:
    """A tproxy leads to a local socket, and the accept after it is no gate."""
    tproxy = {"tproxy": {"family": "ip", "addr": "127.0.0.1", "port": 2525}}
    mark = {"mangle": {"key": {"meta": {"key": "mark"}}, "value": 1}}
    text = dump(base(hook="prerouting"), rule(TCP25, tproxy, mark, ACCEPT))
    reading = read_ruleset(text, None)
    assert [r[3:11] for r in reading.redirects] == [(4, "tcp", ((25, 25),), (), False, "127.0.0.1", (2525, 2525), None)]
    assert reading.gates == ()


def test_a_port_that_a_rule_rewrites_itself_is_a_redirect() -> None:
    """`tcp dport set 2525` takes traffic elsewhere without connection tracking."""
    rewrite = {"mangle": {"key": DPORT, "value": 2525}}
    assert redirects(TCP25, rewrite, kind="filter") == [
        ("redirect", 0, "tcp", ((25, 25),), (), False, None, (2525, 2525), None)
    ]


def test_jumps_are_followed_with_what_they_ask_for() -> None:
    """A rule of Docker's chain is met from both hooks, each time with the demands of the jump."""
    text = dump(
        base("pre", "prerouting", "nat"),
        base("o", "output", "nat"),
        plain("DOCKER"),
        rule(LOCAL, {"jump": {"target": "DOCKER"}}, chain="pre"),
        rule(
            match(DADDR, {"prefix": {"addr": "127.0.0.0", "len": 8}}, "!="), {"jump": {"target": "DOCKER"}}, chain="o"
        ),
        rule(
            meta("iifname", "docker0", "!="),
            TCP25,
            {"dnat": {"family": "ip", "addr": "172.17.0.2", "port": 25}},
            chain="DOCKER",
            handle=6,
        ),
    )
    one, other = read_ruleset(text, "here").redirects
    assert (one.hook, one.local_only, one.when) == ("prerouting", True, 'iifname != "docker0"')
    assert (other.hook, other.local_only) == ("output", False)
    assert other.when == 'ip daddr != 127.0.0.0/8, iifname != "docker0"'
    assert one.place == other.place == "inet t DOCKER handle 6"


def test_a_chain_that_nothing_jumps_to_decides_nothing() -> None:
    """A chain without hook is only read through its jumps."""
    reading = read_ruleset(dump(plain("x"), rule(TCP25, DROP, chain="x")), None)
    assert reading == ((), (), (), False, ())


def test_a_return_spares_its_packets_the_rest_of_the_chain() -> None:
    """After `tcp dport 25 return` the chain's rules concern the other ports only."""
    after = [rule(TCP25, {"return": None}, chain="x"), rule(meta("l4proto", "tcp"), DROP, chain="x")]
    text = dump(base(), plain("x"), rule({"jump": {"target": "x"}}), *after, rule(TCP25, {"reject": None}))
    assert [(g.verdict, g.ports) for g in read_ruleset(text, None).gates] == [
        ("drop", ((0, 24), (26, 65535))),
        ("reject", ((25, 25),)),
        ("accept", ()),
    ]


def test_a_return_that_can_t_be_weighed_is_said() -> None:
    """After `ip saddr … return` the next rule holds where that didn't."""
    source = match({"payload": {"protocol": "ip", "field": "saddr"}}, "10.0.0.9")
    text = dump(base(), rule(source, {"return": None}), rule(TCP25, DROP))
    assert read_ruleset(text, None).gates[0].when == "not (ip saddr 10.0.0.9)"


def test_a_goto_doesn_t_come_back() -> None:
    """What follows a goto isn't met by the packets that went."""
    text = dump(base(), plain("x"), rule(TCP25, {"goto": {"target": "x"}}), rule(TCP25, DROP))
    assert [g.is_policy for g in read_ruleset(text, None).gates] == [True]


def test_an_accept_before_a_redirect_exempts_its_packets() -> None:
    """In a nat chain `accept` means: don't redirect these."""
    text = dump(
        base(kind="nat", hook="output"),
        rule(meta("skuid", 100), ACCEPT),
        rule(match(DPORT, 465), ACCEPT),
        rule(match(DPORT, {"set": [25, 465]}), {"redirect": {"port": 2525}}),
    )
    (redirect,) = read_ruleset(text, None).redirects
    assert (redirect.ports, redirect.when) == (((25, 25),), "not (skuid 100)")


def test_loops_and_lost_chains_are_problems() -> None:
    """A jump in a circle ends, and a chain that isn't there is said."""
    jumps = [rule({"jump": {"target": t}}, chain=c) for c, t in (("in", "a"), ("a", "b"), ("b", "a"), ("in", "gone"))]
    reading = read_ruleset(dump(base(), plain("a"), plain("b"), *jumps, rule(TCP25, DROP)), None)
    assert reading.problems == (
        "inet t b: jumps round to a",
        "inet t in: jumps to gone, which isn't there",
    )
    assert [g.verdict for g in reading.gates] == ["drop", "accept"]


def test_too_many_paths_end_with_a_problem() -> None:
    """Chains that double the paths at each step (2^29 of them here) are followed so far, and that is said."""
    chains = [plain(f"c{i}") for i in range(30)]
    jumps = [rule({"jump": {"target": f"c{i + 1}"}}, chain=f"c{i}") for i in range(29) for _ in range(2)]
    text = dump(base(), *chains, rule({"jump": {"target": "c0"}}), *jumps)
    assert read_ruleset(text, None).problems == ("inet t: too much to follow; the rest is unread",)


def test_the_policy_ends_the_run_of_its_chain() -> None:
    """The gates of a base chain stand together in order, its policy last."""
    text = dump(base(policy="drop"), base("two"), rule(TCP25, ACCEPT), rule(TCP25, DROP, chain="two"))
    assert [(g.verdict, g.is_policy, g.place, g.text) for g in read_ruleset(text, None).gates] == [
        ("accept", False, "inet t in handle 9", "tcp dport 25 accept"),
        ("drop", True, "inet t in policy", "policy drop"),
        ("drop", False, "inet t two handle 9", "tcp dport 25 drop"),
        ("accept", True, "inet t two policy", "policy accept"),
    ]


@pytest.mark.parametrize("flags", ["dormant", ["dormant"], ["owner", "dormant"]])
def test_a_dormant_table_decides_nothing(flags: Any) -> None:
    """A table whose chains are unhooked isn't read."""
    objects = [{"table": {"family": "ip", "name": "t", "flags": flags}}, base(family="ip", policy="drop")]
    assert read_ruleset(json.dumps({"nftables": objects}), None) == ((), (), (), False, ())


def test_a_table_that_may_be_dormant_is_read_with_that_condition() -> None:
    """Nft 1.0.6 prints the table's name in place of a flag, so that dormant can't be told from owner."""
    objects = [{"table": {"family": "ip", "name": "t", "flags": "t"}}, base(family="ip", policy="drop")]
    reading = read_ruleset(json.dumps({"nftables": objects}), None)
    assert [(g.verdict, g.when) for g in reading.gates] == [("drop", "its table isn't dormant")]
    assert reading.problems == ("ip t: nft hides whether it is dormant",)


def test_tables_of_other_families_and_hooks_are_left_alone() -> None:
    """bridge, netdev and postrouting concern no listener."""
    objects = [
        {"table": {"family": "bridge", "name": "t"}},
        base(family="bridge", policy="drop"),
        base("post", "postrouting", "nat"),
        rule(TCP25, {"snat": {"addr": "1.2.3.4"}}, chain="post"),
    ]
    assert read_ruleset(dump(*objects), None) == ((), (), (), False, ())


def test_an_unknown_expression_makes_a_condition_and_a_problem() -> None:
    """What the reader doesn't know never widens a rule."""
    reading = read_ruleset(dump(base(), rule(TCP25, {"wibble": {"key": "wobble"}}, DROP)), None)
    assert reading.gates[0].when == "wibble wobble"
    assert reading.problems == ("inet t in handle 9: unknown expression wibble",)


def test_a_queue_is_a_problem_since_a_program_decides() -> None:
    """`queue` gives no gate, and isn't silence either."""
    reading = read_ruleset(dump(base(), rule(TCP25, {"queue": {"num": 1}})), None)
    assert reading.problems == ("inet t in handle 9: a program decides over these packets (queue)",)
    assert [g.is_policy for g in reading.gates] == [True]


def test_a_table_of_iptables_whose_details_are_hidden_is_left_to_the_save_tools() -> None:
    """Rules with `xt` show no details: the table is named and none of it is counted."""
    objects = [
        base("OUTPUT", "output", "nat", family="ip", table="nat"),
        base("mine", "output", "nat", family="ip", table="nat"),
        rule(TCP25, {"xt": {"type": "target", "name": "REDIRECT"}}, chain="OUTPUT", family="ip", table="nat"),
        rule(TCP25, {"redirect": {"port": 2525}}, chain="mine", family="ip", table="nat"),
    ]
    reading = read_ruleset(dump(*objects, family="ip", table="nat"), None)
    assert (reading.needs_iptables_save, reading.left_out) == (True, ("ip nat",))
    # iptables doesn't know this base chain and wouldn't print it.
    assert [r.place for r in reading.redirects] == ["ip nat mine handle 9"]


def test_a_table_that_no_tool_shows_is_read_with_what_is_hidden_in_when() -> None:
    """Where no save tool helps, `when` and the problems say what nft hides."""
    expressions = [{"xt": {"type": "match", "name": "multiport"}}, {"xt": {"type": "target", "name": "REDIRECT"}}]
    objects = [
        base("OUTPUT", "output", "nat", family="ip", table="nat"),
        rule(*expressions, chain="OUTPUT", family="ip", table="nat"),
        rule({"xt": None}, DROP, chain="OUTPUT", family="ip", table="nat"),
    ]
    reading = read_ruleset(dump(*objects, family="ip", table="nat"), None, ["ip nat"])
    assert reading.left_out == ()
    assert reading.redirects[0].when == (
        "xt match multiport (details hidden by nft), REDIRECT made by iptables; nft hides where it leads"
    )
    assert reading.gates[0].when == "xt match ? (details hidden by nft)"
    assert reading.problems == ("ip nat OUTPUT handle 9: nft hides where REDIRECT leads",)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"nftables": 1}', b"\xff\xfe", "[" * 200_000, '{"nftables":' + "9" * 100_000]
)
def test_what_isn_t_a_ruleset_is_a_problem(text: Any) -> None:
    """Malformed output gives no values and one problem."""
    reading = read_ruleset(text, None)
    assert reading[:2] == ((), ())
    assert len(reading.problems) == 1


def test_one_broken_object_leaves_the_others() -> None:
    """A broken rule or object costs only itself."""
    broken = [7, {"rule": 3}, {"chain": {"family": "inet", "table": "t"}}, {}]
    reading = read_ruleset(dump(base(), *broken, rule(TCP25, DROP)), None)
    assert [g.verdict for g in reading.gates] == ["drop", "accept"]
    assert reading.problems


def test_text_of_the_machine_can_t_move_a_cursor() -> None:
    """Names and comments are made printable and cut."""
    name = "\x1b[2J" + "x" * 5000
    text = dump(base(name), rule(meta("iifname", name), DROP, chain=name))
    gate = read_ruleset(text, None).gates[0]
    assert all(len(t) < 1100 and t.isprintable() for t in (gate.when or "", gate.place, gate.text))


WORDS = st.sampled_from(
    [
        "match",
        "op",
        "left",
        "right",
        "payload",
        "protocol",
        "field",
        "tcp",
        "udp",
        "th",
        "ip",
        "ip6",
        "dport",
        "daddr",
        "meta",
        "key",
        "l4proto",
        "iifname",
        "fib",
        "flags",
        "result",
        "type",
        "local",
        "set",
        "range",
        "prefix",
        "addr",
        "len",
        "concat",
        "vmap",
        "data",
        "map",
        "jump",
        "goto",
        "target",
        "in",
        "a",
        "b",
        "accept",
        "drop",
        "reject",
        "return",
        "dnat",
        "redirect",
        "tproxy",
        "port",
        "family",
        "mangle",
        "value",
        "xt",
        "name",
        "elem",
        "val",
        "limit",
        "ct",
        "&",
        "==",
        "!=",
        "<",
        "@s",
        "*",
        "10.0.0.1",
        "::1",
        "25",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers(-10, 70000) | st.floats(allow_nan=False) | WORDS | st.text(max_size=5)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=20,
)
KEYS = (
    st.sampled_from([DPORT, DADDR, TH_DPORT, L4PROTO, {"concat": [DADDR, DPORT]}, {"meta": {"key": "iifname"}}]) | JSON
)
EXPRESSIONS = (
    st.builds(match, KEYS, JSON, st.sampled_from(["==", "!=", "<", ">", "in"]))
    | st.builds(lambda k, d: {"vmap": {"key": k, "data": d}}, KEYS, JSON)
    | st.builds(lambda n, b: {n: b}, WORDS, JSON)
    | st.builds(
        lambda k, m, d: {k: {"addr": m, "port": d}}, st.sampled_from(["dnat", "redirect", "tproxy"]), JSON, JSON
    )
)


@given(st.binary() | st.text())
def test_any_bytes_give_values_and_problems(text: Any) -> None:
    """Reading never fails: any bytes give a Reading."""
    assert isinstance(read_ruleset(text, None), Reading)


@given(st.lists(EXPRESSIONS, max_size=5), JSON)
@settings(max_examples=300)
def test_any_expressions_give_values_and_problems(expressions: Any, elements: Any) -> None:
    """Whatever a rule and a set hold, reading gives printable text and ports within bounds."""
    named = {"set": {"family": "inet", "name": "s", "table": "t", "elem": elements}}
    chains = [base("in"), base("pre", "prerouting", "nat"), plain("a"), plain("b")]
    rules = [rule(*expressions, chain=chain) for chain in ("in", "pre", "a", "b")]
    reading = read_ruleset(dump(named, *chains, *rules), None)
    facts: list[Redirect | Gate] = [*reading.redirects, *reading.gates]
    for fact in facts:
        assert fact.text.isprintable()
        assert all(0 <= low <= high <= 65535 for low, high in fact.ports)


@given(JSON)
def test_any_objects_give_values_and_problems(objects: Any) -> None:
    """Whatever objects a dump holds, reading gives a Reading."""
    assert isinstance(
        read_ruleset(json.dumps({"nftables": [objects, {"rule": objects}, {"set": objects}]}), None), tuple
    )
