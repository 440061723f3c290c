"""What bind(2) would say: the rules as an administrator meets them."""

from __future__ import annotations

from typing import Any

import pytest

from mailports.bind import covers, overlaps, receiver, would_bind, would_listen
from mailports.model.facts import Address, Endpoint, Setting, Socket
from mailports.model.verdicts import BindRequest

PRIVILEGED = Setting("net.ipv4.ip_unprivileged_port_start", "1024", "here")


def at(address: str, port: int = 25, protocol: str = "tcp", **more: Any) -> Endpoint:
    return Endpoint(protocol, address, port, netns=more.pop("netns", "here"), **more)


def want(address: str, **more: Any) -> BindRequest:
    where = {key: more.pop(key) for key in ("v6only", "device", "protocol", "port", "netns") if key in more}
    return BindRequest(at(address, **where), 6 if ":" in address else 4, **more)


def a_socket(state: str, address: str, **more: Any) -> Socket:
    """A socket as sock_diag shows it, unless told: root's, and its options hidden."""
    where = {key: more.pop(key) for key in ("v6only", "device", "protocol", "port", "netns") if key in more}
    more.setdefault("family", 6 if ":" in address else 4)
    more.setdefault("uid", 0)
    return Socket(at(address, **where), state=state, **more)


def listener(address: str, **more: Any) -> Socket:
    return a_socket("listen", address, **more)


# Listeners.


def test_a_free_port_binds_and_listens() -> None:
    """Where nothing is, both calls succeed."""
    assert would_bind(want("0.0.0.0"), []) == ("yes", "yes", None, ())


def test_a_listener_keeps_the_endpoint_whatever_its_hidden_options_are() -> None:
    """SO_REUSEADDR doesn't matter beside a listener, so hiding it doesn't make the answer unsure."""
    there = listener("0.0.0.0")
    verdict = would_bind(want("0.0.0.0", reuseaddr=True), [there])
    assert (verdict.bind, verdict.listen, verdict.errno) == ("no", None, "EADDRINUSE")
    (obstacle,) = verdict.obstacles
    assert (obstacle.socket, obstacle.step, obstacle.certain, obstacle.unknown) == (there, "bind", True, None)


@pytest.mark.parametrize(
    ("held", "wanted", "rule"),
    [
        ("0.0.0.0", "0.0.0.0", "a listener has 0.0.0.0 already"),
        ("0.0.0.0", "127.0.0.1", "a listener on the wildcard 0.0.0.0 also occupies 127.0.0.1"),
        ("127.0.0.1", "0.0.0.0", "the wildcard 0.0.0.0 needs every address free, and a listener has 127.0.0.1"),
        (
            "::",
            "127.0.0.1",
            "a listener on the wildcard [::] also occupies 127.0.0.1, as [::] without v6only takes IPv4's too",
        ),
        (
            "127.0.0.1",
            "::",
            "the wildcard [::] needs every address free, IPv4's too without v6only, and a listener has 127.0.0.1",
        ),
        ("::", "::1", "a listener on the wildcard [::] also occupies [::1]"),
        ("::ffff:127.0.0.1", "127.0.0.1", "a listener has [::ffff:127.0.0.1] already"),
    ],
)
def test_the_rule_is_said_in_a_sentence(held: str, wanted: str, rule: str) -> None:
    """Each way in which two addresses meet has its own sentence."""
    verdict = would_bind(want(wanted, v6only=False), [listener(held, v6only=False if held == "::" else None)])
    assert verdict.bind == "no"
    assert verdict.obstacles[0].rule == rule


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        (listener("127.0.0.1"), want("127.0.0.2")),
        (listener("127.0.0.1"), want("::1")),
        (listener("::1", v6only=True), want("0.0.0.0")),
        (listener("::", v6only=True), want("0.0.0.0")),
        (listener("0.0.0.0"), want("::", v6only=True)),
        (listener("0.0.0.0", port=587), want("0.0.0.0")),
        (listener("0.0.0.0", netns="container:mail"), want("0.0.0.0")),
        (a_socket("unconnected", "0.0.0.0", protocol="udp"), want("0.0.0.0")),
        (listener("0.0.0.0", device="eth0"), want("0.0.0.0", device="eth1")),
    ],
)
def test_what_does_not_meet(held: Socket, wanted: BindRequest) -> None:
    """Other addresses, v6only, ports, namespaces, protocols and devices are not in the way."""
    assert would_bind(wanted, [held]) == ("yes", "yes", None, ())


def test_a_device_bound_listener_meets_one_that_is_not() -> None:
    """Null means "not bound to a device", and meets every device."""
    assert would_bind(want("0.0.0.0"), [listener("0.0.0.0", device="eth0")]).bind == "no"


def test_bindv6only_decides_for_a_wildcard_that_does_not_say() -> None:
    """With net.ipv6.bindv6only a `[::]` leaves IPv4 alone, without it it doesn't; other namespaces' don't count."""
    there = [listener("0.0.0.0")]
    assert would_bind(want("::"), there).bind == "no"
    assert would_bind(want("::"), there, [Setting("net.ipv6.bindv6only", "1", "here")]).bind == "yes"
    assert would_bind(want("::"), there, [Setting("net.ipv6.bindv6only", "1", "container:x")]).bind == "no"


def test_a_wildcard_listener_of_unknown_v6only_may_be_in_the_way() -> None:
    """Netstat doesn't tell v6only: for IPv4 the answer is unknown, for IPv6 it isn't."""
    there = [listener("::")]
    assert would_bind(want("::1"), there).bind == "no"
    verdict = would_bind(want("0.0.0.0"), there)
    assert (verdict.bind, verdict.listen, verdict.errno) == ("unknown", "unknown", None)
    assert verdict.obstacles[0].unknown == "v6only of that socket"


# SO_REUSEPORT.


def test_reuseport_of_the_other_is_hidden() -> None:
    """A newcomer with SO_REUSEPORT gets in only if the listener has it too, which sock_diag doesn't tell."""
    verdict = would_bind(want("0.0.0.0", reuseport=True), [listener("0.0.0.0")])
    assert verdict.bind == "unknown"
    assert verdict.obstacles[0].unknown == "SO_REUSEPORT of that socket"


def test_two_listeners_on_one_endpoint_prove_reuseport() -> None:
    """Two sockets can listen there only if both have SO_REUSEPORT: so a third one with it gets in."""
    there = [listener("0.0.0.0", inode=1), listener("0.0.0.0", inode=2)]
    assert would_bind(want("0.0.0.0", reuseport=True), there).bind == "yes"
    assert would_bind(want("0.0.0.0"), there).bind == "no"


def test_one_socket_seen_twice_proves_nothing() -> None:
    """An MPTCP listener may be dumped twice, with one inode and two cookies."""
    there = [listener("0.0.0.0", inode=1, cookie=5), listener("0.0.0.0", inode=1, cookie=6)]
    assert would_bind(want("0.0.0.0", reuseport=True), there).bind == "unknown"


def test_reuseport_wants_one_uid() -> None:
    """What root bound, another user's SO_REUSEPORT doesn't share."""
    there = [listener("0.0.0.0", reuseport=True)]
    assert would_bind(want("0.0.0.0", reuseport=True, uid=0), there).bind == "yes"
    assert would_bind(want("0.0.0.0", reuseport=True, uid=8), there).bind == "no"
    hidden = would_bind(want("0.0.0.0", reuseport=True, uid=8), [there[0]._replace(uid=None)])
    assert hidden.obstacles[0].unknown == "whether both have one uid"


def test_with_several_reuseport_sockets_nothing_is_certain() -> None:
    """The kernel may compare with the other SO_REUSEPORT socket only, and let the newcomer past this one."""
    exim = listener("127.0.0.1", reuseport=False)
    assert would_bind(want("0.0.0.0", reuseport=True), [exim]).bind == "no"
    verdict = would_bind(want("0.0.0.0", reuseport=True), [exim, listener("127.0.0.2", reuseport=True)])
    assert verdict.bind == "unknown"
    assert "several" in str(verdict.obstacles[0].unknown)


# Sockets that don't listen.


def test_both_reuseaddr_bind_beside_a_socket_that_only_is_bound() -> None:
    """SO_REUSEADDR on both shares what nobody listens on; on one alone, or hidden, it doesn't settle it."""
    there = a_socket("bound", "0.0.0.0", reuseaddr=True)
    assert would_bind(want("0.0.0.0"), [there]) == ("yes", "yes", None, ())
    assert would_bind(want("0.0.0.0", reuseaddr=False), [there]).bind == "no"
    assert would_bind(want("0.0.0.0"), [there._replace(reuseaddr=None)]).obstacles[0].unknown == (
        "SO_REUSEADDR of that socket"
    )


def test_the_first_listen_wins() -> None:
    """Of two sockets bound to one endpoint, the second to listen is refused while the first does."""
    second = a_socket("bound", "0.0.0.0", reuseaddr=True, reuseport=False, inode=2)
    first = listener("0.0.0.0", reuseaddr=True, reuseport=False, inode=1)
    verdict = would_listen(second, [first, second])
    assert (verdict.bind, verdict.listen, verdict.errno) == ("yes", "no", "EADDRINUSE")
    assert (verdict.obstacles[0].step, verdict.obstacles[0].socket) == ("listen", first)
    assert would_listen(second, [first._replace(state="bound"), second]).listen == "yes"


def test_the_second_listen_of_sockets_whose_options_are_hidden() -> None:
    """As sock_diag shows them, the bound one may share by SO_REUSEPORT: both sides' options are named."""
    verdict = would_listen(a_socket("bound", "0.0.0.0", inode=2), [listener("0.0.0.0", inode=1)])
    assert verdict.listen == "unknown"
    assert verdict.obstacles[0].unknown == "SO_REUSEPORT of that socket, SO_REUSEPORT of the one that asks"


def test_time_wait_holds_the_port_from_a_program_without_reuseaddr() -> None:
    """What is left of a connection blocks for a minute, unless both had SO_REUSEADDR."""
    there = a_socket("time-wait", "192.0.2.1", uid=None, reuseaddr=True, reuseport=False)
    verdict = would_bind(want("0.0.0.0", reuseaddr=False), [there])
    assert (verdict.bind, verdict.obstacles[0].rule) == (
        "no",
        "the wildcard 0.0.0.0 needs every address free, and a connection in TIME_WAIT has 192.0.2.1",
    )
    assert would_bind(want("0.0.0.0"), [there]).bind == "yes"
    assert would_bind(want("0.0.0.0"), [there._replace(reuseaddr=None)]).bind == "unknown"


def test_time_wait_shares_by_reuseport_with_any_uid() -> None:
    """The uid of TIME_WAIT is unknown, and the kernel doesn't ask for it."""
    there = a_socket("time-wait", "192.0.2.1", uid=None, reuseaddr=False, reuseport=True)
    assert would_bind(want("0.0.0.0", reuseport=True, uid=1000), [there]).bind == "yes"


def test_a_connection_leaves_other_addresses_free() -> None:
    """It occupies its own local address, even if it was bound to the wildcard."""
    there = [a_socket("established", "192.0.2.1", reuseaddr=False)]
    assert would_bind(want("127.0.0.1"), there).bind == "yes"
    assert would_bind(want("192.0.2.1"), there).bind == "no"


def test_an_ipv6_connection_is_a_ghost_in_ipv4() -> None:
    """A stopped dual-stack daemon's IPv6 session keeps 0.0.0.0 taken, but no specific IPv4 address."""
    there = a_socket("established", "2001:db8::1", v6only=False, reuseaddr=False, reuseport=False)
    verdict = would_bind(want("0.0.0.0"), [there])
    assert (verdict.bind, verdict.obstacles[0].rule) == (
        "no",
        "a connection on [2001:db8::1] keeps IPv4 off 0.0.0.0, as its socket isn't v6only",
    )
    assert would_bind(want("127.0.0.1"), [there]).bind == "yes"
    assert would_bind(want("::", v6only=True, reuseaddr=False), [there]).bind == "no"


def test_a_ghost_is_unknown_where_v6only_is_hidden() -> None:
    """sock_diag doesn't tell v6only of a connection."""
    verdict = would_bind(want("0.0.0.0", reuseaddr=False), [a_socket("established", "2001:db8::1")])
    assert (verdict.bind, verdict.obstacles[0].unknown) == ("unknown", "v6only of that socket")


def test_a_specific_ipv6_listener_is_no_ghost() -> None:
    """Binding `[::1]` sets v6only, whoever doesn't show it."""
    assert would_bind(want("0.0.0.0"), [listener("::1")]).bind == "yes"


def test_udp_shares_by_reuseaddr_alone() -> None:
    """For UDP both SO_REUSEADDR is enough, and listen doesn't follow."""
    there = a_socket("unconnected", "0.0.0.0", protocol="udp", reuseaddr=True)
    assert would_bind(want("0.0.0.0", protocol="udp"), [there]) == ("yes", None, None, ())
    assert would_bind(want("0.0.0.0", protocol="udp", reuseaddr=False), [there]).bind == "no"


def test_a_udp_ghost_also_keeps_127_0_0_6() -> None:
    """For UDP, a connected IPv6 socket that isn't v6only poses as that very address."""
    there = a_socket("established", "::1", protocol="udp", v6only=False, reuseaddr=False, reuseport=False)
    blocked = [
        one
        for one in ("0.0.0.0", "127.0.0.1", "127.0.0.6")
        if would_bind(want(one, protocol="udp"), [there]).bind == "no"
    ]
    assert blocked == ["0.0.0.0", "127.0.0.6"]


def test_listen_is_not_asked_of_a_program_that_only_binds() -> None:
    """`listens` false: a client that binds its port."""
    assert would_bind(want("0.0.0.0", listens=False), []).listen is None


def test_port_zero_is_always_free() -> None:
    """The kernel chooses."""
    assert would_bind(want("0.0.0.0", port=0, may_bind_privileged=False), [listener("0.0.0.0", port=0)]).bind == "yes"


# Address, arguments, privilege.

HOST = (
    Address("192.0.2.1", 24, "eth0", "here"),
    Address("10.5.0.1", 16, "lo", "here"),
    Address("2001:db8::1", 64, "eth0", "here"),
    Address("2001:db8::2", 64, "eth0", "here", tentative=True),
    Address("fe80::1", 64, "eth0", "here"),
    Address("198.51.100.1", 24, "eth0", "container:mail"),
)


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "127.3.2.1", "192.0.2.1", "192.0.2.255", "10.5.9.9", "224.0.0.1", "255.255.255.255"),
        *("::", "2001:db8::1", "2001:DB8:0::1", "::ffff:192.0.2.1", "::ffff:c000:201"),
    ],
)
def test_addresses_that_are_there(address: str) -> None:
    """The host's own, 127/8, wildcards, broadcast and multicast, and a whole network on loopback."""
    assert would_bind(want(address), (), (), HOST).bind == "yes"


@pytest.mark.parametrize("address", ["192.0.2.2", "198.51.100.1", "2001:db8::3", "::1", "::ffff:192.0.2.2"])
def test_addresses_that_are_not(address: str) -> None:
    """Another namespace's address isn't here either, and `::1` is there only while `lo` is up."""
    verdict = would_bind(want(address), (), (), HOST)
    assert (verdict.bind, verdict.errno) == ("no", "EADDRNOTAVAIL")
    assert verdict.obstacles[0].rule.endswith("isn't an address of this host")
    assert would_bind(want(address), (), (), None).bind == "yes"
    assert would_bind(want(address, nonlocal_ok=True), (), (), HOST).bind == "yes"


def test_a_tentative_address_is_not_there_yet() -> None:
    """The classic failure at boot."""
    verdict = would_bind(want("2001:db8::2"), (), (), HOST)
    assert (verdict.errno, "tentative" in verdict.obstacles[0].rule) == ("EADDRNOTAVAIL", True)


def test_nonlocal_bind_is_a_setting_of_each_family() -> None:
    """A mapped address asks IPv4's."""
    four, six = (Setting(f"net.ipv{n}.ip_nonlocal_bind", "1", "here") for n in (4, 6))
    for address, allows, other in (
        ("192.0.2.9", four, six),
        ("::ffff:192.0.2.9", four, six),
        ("2001:db8::9", six, four),
    ):
        assert would_bind(want(address), (), [allows], HOST).bind == "yes"
        assert would_bind(want(address), (), [other], HOST).bind == "no"


def test_link_local_needs_its_device() -> None:
    """Without one it is EINVAL, on another one EADDRNOTAVAIL; a zone in the address names it too."""
    assert would_bind(want("fe80::1"), (), (), HOST).errno == "EINVAL"
    assert would_bind(want("fe80::1", device="eth0"), (), (), HOST).bind == "yes"
    assert would_bind(want("fe80::1%eth0"), (), (), HOST).bind == "yes"
    assert would_bind(want("fe80::1", device="lo"), (), (), HOST).errno == "EADDRNOTAVAIL"
    assert would_bind(want("2001:db8::1", device="lo"), (), (), HOST).bind == "yes"


def test_a_mapped_address_and_v6only_contradict() -> None:
    """`::ffff:192.0.2.1` is IPv4."""
    assert would_bind(want("::ffff:192.0.2.1", v6only=True), []).errno == "EINVAL"


def test_privilege() -> None:
    """A port below ip_unprivileged_port_start wants the capability; what isn't known makes the answer unknown."""
    asks = want("0.0.0.0", may_bind_privileged=False)
    assert would_bind(asks, (), [PRIVILEGED]).errno == "EACCES"
    assert would_bind(asks, (), [PRIVILEGED._replace(value="25")]).bind == "yes"
    assert would_bind(asks, ()).obstacles[0].unknown == "net.ipv4.ip_unprivileged_port_start"
    assert would_bind(want("0.0.0.0", port=2525, may_bind_privileged=False), ()).bind == "yes"
    unsure = would_bind(want("0.0.0.0", may_bind_privileged=None), (), [PRIVILEGED])
    assert (unsure.bind, unsure.errno, unsure.obstacles[0].certain) == ("unknown", None, False)


def test_privilege_and_address_stand_in_the_order_of_the_family() -> None:
    """IPv4 looks at the address first, IPv6 at the privilege; a held port comes last."""
    four = would_bind(want("192.0.2.9", may_bind_privileged=False), [listener("0.0.0.0")], [PRIVILEGED], HOST)
    assert [obstacle.errno for obstacle in four.obstacles] == ["EADDRNOTAVAIL", "EACCES", "EADDRINUSE"]
    six = would_bind(want("2001:db8::9", may_bind_privileged=False), [listener("::")], [PRIVILEGED], HOST)
    assert [obstacle.errno for obstacle in six.obstacles] == ["EACCES", "EADDRNOTAVAIL", "EADDRINUSE"]


def test_the_errno_is_unsure_behind_an_unsure_check() -> None:
    """The bind fails for sure, but EACCES may come first."""
    verdict = would_bind(want("0.0.0.0", may_bind_privileged=None), [listener("0.0.0.0")], [PRIVILEGED])
    assert (verdict.bind, verdict.errno) == ("no", None)


# Claims, and who receives.


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (at("0.0.0.0"), at("127.0.0.1"), True),
        (at("127.0.0.1"), at("127.0.0.2"), False),
        (at("0.0.0.0"), at("::", v6only=False), True),
        (at("0.0.0.0"), at("::", v6only=True), False),
        (at("0.0.0.0"), at("::"), None),
        (at("::"), at("::1"), True),
        (at("0.0.0.0"), at("0.0.0.0", 587), False),
        (at("0.0.0.0"), at("0.0.0.0", netns="container:x"), False),
        (at("0.0.0.0", device="eth0"), at("0.0.0.0", device="eth1"), False),
    ],
)
def test_overlap_of_two_endpoints(a: Endpoint, b: Endpoint, expected: bool | None) -> None:
    """Whether two claims can both be bound, unknown where v6only decides."""
    families = [6 if ":" in one.address else 4 for one in (a, b)]
    assert overlaps(a, families[0], b, families[1]) is expected
    assert overlaps(b, families[1], a, families[0]) is expected


@pytest.mark.parametrize(
    ("address", "covered"),
    [
        ("0.0.0.0", ["192.0.2.1", "::ffff:192.0.2.1"]),
        ("192.0.2.1", ["192.0.2.1", "::ffff:192.0.2.1"]),
        ("::ffff:192.0.2.1", ["192.0.2.1", "::ffff:192.0.2.1"]),
        ("::", ["192.0.2.1", "::ffff:192.0.2.1", "::1"]),
        ("::1", ["::1"]),
    ],
)
def test_what_a_listener_covers(address: str, covered: list[str]) -> None:
    """Wildcards take in their family, the dual-stack one both, and mapped is IPv4."""
    found = [one for one in ("192.0.2.1", "::ffff:192.0.2.1", "::1") if covers(listener(address), one)]
    assert found == covered


def test_a_v6only_wildcard_does_not_cover_ipv4() -> None:
    """Only IPv6 arrives there."""
    assert not covers(listener("::", v6only=True), "192.0.2.1")


def test_the_nearest_listener_receives() -> None:
    """The exact address, then the family's wildcard, then the dual-stack one."""
    dual, four, exact = listener("::", v6only=False), listener("0.0.0.0"), listener("192.0.2.1")
    assert receiver([dual, four, exact], "tcp", "192.0.2.1", 25, "here") == (exact,)
    assert receiver([dual, four], "tcp", "192.0.2.1", 25, "here") == (four,)
    assert receiver([dual], "tcp", "192.0.2.1", 25, "here") == (dual,)
    assert receiver([dual, four, exact], "tcp", "2001:db8::1", 25, "here") == (dual,)
    assert receiver([four], "tcp", "2001:db8::1", 25, "here") == ()
    assert receiver([four], "udp", "192.0.2.1", 25, "here") == ()
    assert receiver([four], "tcp", "192.0.2.1", 25, "container:mail") == ()


def test_a_reuseport_group_receives_together() -> None:
    """Each gets some of the connections."""
    group = (listener("0.0.0.0", inode=1), listener("0.0.0.0", inode=2))
    assert receiver(group, "tcp", "192.0.2.1", 25, "here") == group


def test_a_device_bound_listener_receives_what_comes_through_it() -> None:
    """Where the device isn't known it is left out; a bound or connected socket receives nothing."""
    bound_to, other = listener("0.0.0.0", device="eth0"), listener("0.0.0.0")
    idle = [a_socket("bound", "192.0.2.1"), a_socket("established", "192.0.2.1")]
    assert receiver([bound_to, other, *idle], "tcp", "192.0.2.1", 25, "here") == (other,)
    assert receiver([bound_to, other, *idle], "tcp", "192.0.2.1", 25, "here", "eth0") == (bound_to,)
    assert receiver([bound_to, other, *idle], "tcp", "192.0.2.1", 25, "here", "eth1") == (other,)
