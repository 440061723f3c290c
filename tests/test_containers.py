"""Containers and their published ports, from what engines and their helpers say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from machine_tree import Tree
from mailports.model.facts import Container, Endpoint, Holder, Look, Publish
from mailports.observe.cgroups import Groups
from mailports.observe.containers import (
    Known,
    decode_api,
    decode_conmon,
    decode_docker_proxy,
    decode_podman,
    join_addresses,
    pasta_port,
    read_engines,
    read_helper,
    read_podman,
)

bounded = settings(max_examples=100, deadline=None)
ID, OTHER = "4f2a" * 16, "77ab" * 16


def at(address: str, port: int, protocol: str = "tcp") -> Endpoint:
    return Endpoint(protocol, address, port, netns="here")


# Docker's API.

API = [
    {
        "Id": ID,
        "Names": ["/mailcow-postfix-1"],
        "Image": "ghcr.io/mailcow/postfix:1.80",
        "ImageID": "sha256:00",
        "Command": "/docker-entrypoint.sh",
        "Created": 1735689600,
        "Ports": [
            {"IP": "0.0.0.0", "PrivatePort": 25, "PublicPort": 25, "Type": "tcp"},
            {"IP": "::", "PrivatePort": 25, "PublicPort": 25, "Type": "tcp"},
            {"PrivatePort": 588, "Type": "tcp"},
            {"IP": "127.0.0.1", "PrivatePort": 10025, "PublicPort": 11025, "Type": "tcp"},
        ],
        "Labels": {},
        "State": "running",
        "Status": "Up 3 days",
        "HostConfig": {"NetworkMode": "mailcow"},
        "NetworkSettings": {
            "Networks": {"mailcow": {"IPAddress": "172.22.1.253", "GlobalIPv6Address": "fd4d:6169:6c63:6f77::d"}}
        },
        "Mounts": [],
    },
    {
        "Id": OTHER,
        "Names": ["/lonely"],
        "Image": "debian",
        "Ports": [],
        "State": "created",
        "HostConfig": {"NetworkMode": "none"},
        "NetworkSettings": {"Networks": {"none": {"IPAddress": "", "GlobalIPv6Address": ""}}},
    },
]


def test_dockers_answer() -> None:
    """Name, state, network, addresses, and those ports that are published."""
    (mailcow, lonely), problems = decode_api(json.dumps(API).encode(), "docker")
    assert problems == []
    to = "172.22.1.253"
    assert mailcow == Container(
        "docker", ID, "mailcow-postfix-1", "ghcr.io/mailcow/postfix:1.80", "running", "mailcow",
        addresses=(to, "fd4d:6169:6c63:6f77::d"),
        publishes=(
            Publish(at("0.0.0.0", 25), to, 25, "engine API"),
            Publish(at("::", 25), to, 25, "engine API"),
            Publish(at("127.0.0.1", 11025), to, 10025, "engine API"),
        ),
    )  # fmt: skip
    assert (lonely.name, lonely.state, lonely.addresses, lonely.publishes) == ("lonely", "created", (), ())


@pytest.mark.parametrize(
    "row",
    [
        {},
        None,
        5,
        {"Id": ID, "Ports": 5},
        {"Id": ID, "Ports": [{"PublicPort": "x", "PrivatePort": 1}]},
        {"Id": ID, "Ports": [{"PublicPort": 25}]},
        {"Id": ID, "NetworkSettings": {"Networks": [1]}},
        {"Id": ID, "NetworkSettings": "x"},
    ],
)
def test_a_malformed_row_is_a_problem(row: Any) -> None:
    """The containers beside it are read."""
    containers, problems = decode_api(json.dumps([row, API[1]]).encode(), "docker")
    assert [c.name for c in containers] == ["lonely"]
    assert len(problems) == 1
    assert problems[0].startswith("container 1: ")


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b"\xff", b"[" * 100_000, b'"x"', b"null"])
def test_what_is_no_answer_is_a_problem(body: bytes) -> None:
    """It is said, and gives no container."""
    containers, problems = decode_api(body, "docker")
    assert (containers, len(problems)) == ([], 1)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "1e5", "-25", "99999", "2.5", "true"])
def test_a_port_that_is_none(number: str) -> None:
    """Infinity, fractions and what has more than 16 bits aren't ports: the row is a problem."""
    body = f'[{{"Id": "{ID}", "Ports": [{{"PublicPort": {number}, "PrivatePort": 25}}]}}]'
    containers, problems = decode_api(body.encode(), "docker")
    assert (containers, len(problems)) == ([], 1)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
API_ROW = st.fixed_dictionaries(
    {},
    optional={
        "Id": JUNK,
        "Names": JUNK,
        "State": JUNK,
        "HostConfig": JUNK,
        "Ports": JUNK | st.lists(st.dictionaries(st.sampled_from(("IP", "PublicPort", "PrivatePort", "Type")), JUNK)),
        "NetworkSettings": JUNK | st.fixed_dictionaries({"Networks": JUNK | st.fixed_dictionaries({"a": JUNK})}),
    },
)
PODMAN_PORT = st.dictionaries(st.sampled_from(("host_ip", "host_port", "container_port", "protocol", "range")), JUNK)
PODMAN_ROW = st.fixed_dictionaries(
    {},
    optional={"Id": JUNK, "Names": JUNK, "Pid": JUNK, "Networks": JUNK, "Ports": JUNK | st.lists(PODMAN_PORT)},
)


def is_well_formed(container: Container) -> bool:
    """Whether every field has its type, ports are ports, and all text is printable."""
    texts: list[Any] = [container.id, container.name or "", container.state or "", *container.addresses]
    for publish in container.publishes:
        e = publish.endpoint
        texts += [e.protocol, e.address, publish.to_address or ""]
        ports: list[Any] = [e.port, publish.to_port]
        if not all(type(port) is int and 0 < port < 65536 for port in ports):
            return False
    return all(isinstance(text, str) and text.isprintable() for text in texts)


@given(st.lists(API_ROW, max_size=2) | JUNK)
@bounded
def test_any_json_from_docker_gives_containers_and_problems(value: Any) -> None:
    """No answer raises, and what comes of it is well formed."""
    containers, _ = decode_api(json.dumps(value).encode(), "docker")
    assert all(is_well_formed(container) for container in containers)


@given(st.lists(PODMAN_ROW, max_size=2) | JUNK)
@bounded
def test_any_json_from_podman_gives_containers(value: Any) -> None:
    """The same of `podman ps`."""
    assert all(is_well_formed(container) for container in decode_podman(json.dumps(value).encode()))


@given(st.binary(max_size=50))
@bounded
def test_any_bytes_give_containers(raw: bytes) -> None:
    """What isn't JSON at all doesn't raise either."""
    decode_podman(raw)
    decode_api(raw, "docker")


def test_hostile_text_is_made_printable() -> None:
    """An address is text that came from elsewhere, as a name is."""
    row = {"Id": ID, "Names": ["/a\x1b[2J"], "Ports": [{"IP": "\x1b[2J", "PublicPort": 25, "PrivatePort": 25}]}
    networks = {"NetworkSettings": {"Networks": {"x": {"IPAddress": "\x1b[2J"}}}}
    (container,), _ = decode_api(json.dumps([{**row, **networks}]).encode(), "docker")
    assert is_well_formed(container)


# Podman.

PODMAN = [
    {
        "AutoRemove": False,
        "Command": ["/usr/sbin/exim"],
        "Exited": False,
        "Id": ID,
        "Image": "docker.io/library/mx:latest",
        "Names": ["mx"],
        "Networks": ["podman"],
        "Pid": 4711,
        "Ports": [
            {"host_ip": "", "container_port": 25, "host_port": 2525, "range": 1, "protocol": "tcp"},
            {"host_ip": "127.0.0.1", "container_port": 143, "host_port": 1143, "range": 2, "protocol": "tcp,udp"},
        ],
        "State": "running",
    }
]


def test_podmans_answer() -> None:
    """An empty host_ip is the wildcard; ranges and several protocols are spread out."""
    (container,) = decode_podman(json.dumps(PODMAN).encode())
    assert (container.engine, container.id, container.name, container.pid) == ("podman", ID, "mx", 4711)
    assert [(p.endpoint, p.to_port) for p in container.publishes] == [
        (at("0.0.0.0", 2525), 25),
        (at("127.0.0.1", 1143), 143),
        (at("127.0.0.1", 1143, "udp"), 143),
        (at("127.0.0.1", 1144), 144),
        (at("127.0.0.1", 1144, "udp"), 144),
    ]


def test_podman_without_containers() -> None:
    """It prints nothing, or an empty list, or `null`."""
    assert [decode_podman(text) for text in (b"", b"[]\n", b"null")] == [[], [], []]


# Helpers.


def proxy(*words: str) -> Holder:
    return Holder(5, "docker-proxy", argv=("/usr/bin/docker-proxy", *words))


@pytest.mark.parametrize("more", [(), ("-use-listen-fd",)])
def test_docker_proxys_arguments(more: tuple[str, ...]) -> None:
    """They tell the endpoint, and the container by its address; Docker 28 adds a flag without a value."""
    words = ("-proto", "tcp", "-host-ip", "::", "-host-port", "25", "-container-ip", "172.17.0.2", "-container-port")
    found = decode_docker_proxy(proxy(*words, "1025", *more))
    publish = Publish(at("::", 25), "172.17.0.2", 1025, "docker-proxy arguments", 5)
    assert found == Container("docker", "", addresses=("172.17.0.2",), publishes=(publish,))


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("-host-port",),
        ("-host-port", "x", "-container-port", "25"),
        ("-host-port", "²", "-container-port", "25"),  # str.isdigit() takes it for a number
        ("-host-port", "25", "-container-port", "²"),
        ("-host-port", "99999", "-container-port", "25"),
        ("-host-port", "9" * 1000, "-container-port", "25"),
    ],
)
def test_a_program_that_only_calls_itself_docker_proxy(words: tuple[str, ...]) -> None:
    """Anyone may run one, with any arguments: it publishes nothing, and nothing raises."""
    assert decode_docker_proxy(proxy(*words)) is None


@pytest.mark.parametrize(
    ("argv", "found"),
    [
        (("conmon", "--api-version", "1", "-c", ID, "-u", ID, "-n", "mx", "--exit-command-arg", "-n"), (ID, "mx")),
        (("conmon", "-c", ID), (ID, None)),
        (("conmon", "-c"), None),
        (("conmon", "-n", "mx"), None),
        ((), None),
    ],
)
def test_conmons_arguments(argv: tuple[str, ...], found: tuple[str, str | None] | None) -> None:
    """They tell the container's id and name; the first of each counts."""
    container = decode_conmon(argv)
    assert (None if container is None else (container.id, container.name)) == found


@pytest.mark.parametrize(
    ("specs", "port", "inside"),
    [
        (("-t", "25"), 25, 25),
        (("-t", "587-587:25-25"), 587, 25),
        (("-t", "127.0.0.1/25:1025"), 25, 1025),
        (("-t", "::1/25-25:1025-1025"), 25, 1025),
        (("-t", "2000-2010:3000-3010"), 2007, 3007),
        (("-t", "25,587:1587,993"), 587, 1587),
        (("-u", "53:5353"), 53, 5353),
        (("--tcp-ports", "143"), 143, 143),
        (("-t", "none", "-u", "none", "-T", "25"), 25, None),
        (("-t", "auto"), 25, None),
        (("-t", "²:25"), 25, None),
        (("-t", "25:²"), 25, None),
        (("-t", "25-²:25"), 25, None),
        (("-t",), 25, None),
        ((), 25, None),
    ],
)
def test_pastas_forwarded_ports(specs: tuple[str, ...], port: int, inside: int | None) -> None:
    """`-t` in each of its forms: one port, a range, another port inside, an address, a list."""
    assert pasta_port(("pasta", "--config-net", *specs), port) == inside


@given(st.lists(st.text(alphabet="0123456789²-:/,t", max_size=8), max_size=5), st.integers(1, 65535))
@bounded
def test_any_arguments_of_a_helper_have_an_answer(words: list[str], port: int) -> None:
    """A helper's arguments are whatever its starter liked."""
    argv = ("-t", *words)
    pasta_port(argv, port)
    decode_conmon(argv)
    decode_docker_proxy(proxy("-host-port", *words))


def test_pastas_container_is_its_neighbours() -> None:
    """Podman puts a rootless container's helpers into one group: its conmon says who the container is."""
    scope = "/user.slice/podman-1.scope"
    files = {
        "/sys/fs/cgroup/cgroup.procs": "",
        f"/sys/fs/cgroup{scope}/cgroup.procs": "70\n71\n",
        "/proc/71/cgroup": f"0::{scope}\n",
        "/proc/70/comm": "conmon\n",
        "/proc/70/cmdline": f"conmon\0-c\0{ID}\0-n\0mx\0",
        "/proc/71/comm": "pasta.avx2\n",
    }
    tree = Tree(files)
    holder = Holder(71, "pasta.avx2", argv=("pasta", "-t", "2525-2525:25-25"))
    found = read_helper(tree, Groups(tree), holder, at("0.0.0.0", 2525))
    assert found is not None
    assert (found.name, [p.to_port for p in found.publishes]) == ("mx", [25])


# Joining what several sources know.


def test_an_address_joins_a_publish_to_its_container() -> None:
    """docker-proxy knows the address, the engine the name: together they are one container."""
    known = Known()
    found = decode_docker_proxy(
        proxy("-host-port", "25", "-container-ip", "172.22.1.253", "-container-port", "25", "-host-ip", "0.0.0.0")
    )
    assert found is not None
    known.add(found)
    for container in decode_api(json.dumps(API).encode(), "docker")[0]:
        known.add(container)
    join_addresses(known)
    assert sorted(c.name or "" for c in known.containers.values()) == ["lonely", "mailcow-postfix-1"]
    publishes = known.containers[ID[:12]].publishes
    assert [(p.endpoint.address, p.endpoint.port) for p in publishes].count(("0.0.0.0", 25)) == 1


def test_a_publish_without_its_container_is_kept() -> None:
    """Without the engine's word only the address is known."""
    known = Known()
    found = decode_docker_proxy(proxy("-host-port", "25", "-container-ip", "172.17.0.2", "-container-port", "25"))
    assert found is not None
    known.add(found)
    join_addresses(known)
    assert list(known.containers.values()) == [found]


def test_the_first_source_says_who_each_says_more() -> None:
    """A later source fills in what isn't known yet, and changes nothing that is."""
    known = Known()
    known.add(Container("podman", ID, "mx", state="running"))
    known.add(Container("podman", ID, "other", image="debian", pid=7))
    assert known.containers[ID[:12]] == Container("podman", ID, "mx", "debian", "running", pid=7)


def test_a_containers_name_by_its_id() -> None:
    """Any length of id will do; an unknown one is shortened."""
    known = Known()
    known.add(Container("docker", ID, "mx"))
    assert (known.name_of(ID), known.name_of(ID[:12]), known.name_of(OTHER)) == ("mx", "mx", OTHER[:12])
    assert (known.name_of(None), known.name_of("")) == (None, None)


# Asking engines.


def looked(**tree: Any) -> tuple[Known, Look]:
    known = Known()
    read_engines(Tree(**tree), known)
    (look,) = known.looks
    return known, look


def test_an_engine_that_answers() -> None:
    """All containers were seen."""
    answer = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + json.dumps(API).encode()
    known, look = looked(answers={"/run/docker.sock": answer})
    assert (len(known.containers), look.extent, look.source) == (2, "all", "docker API")


@pytest.mark.parametrize(
    ("answer", "extent"),
    [
        (b"HTTP/1.0 500 Internal Server Error\r\n\r\n", "none"),
        (b"HTTP/1.0 404 Not Found\r\n\r\n[]", "none"),
        (b"", "none"),
        (b"HTTP/1.0 200 OK\r\n\r\n[{}]", "some"),
        (b"HTTP/1.0 200 OK\r\n\r\n", "some"),
    ],
)
def test_an_engine_that_answers_badly(answer: bytes, extent: str) -> None:
    """Then not all were seen, and why is printable."""
    _, look = looked(answers={"/run/docker.sock": answer})
    assert look.extent == extent
    assert look.why
    assert look.why.isprintable()


def test_no_engine() -> None:
    """No socket means no engine: that is known."""
    assert looked()[1].extent == "all"


def test_an_engine_that_may_not_be_asked() -> None:
    """Without the right to its socket the containers are unknown, and root would see them."""
    _, look = looked(deaf=("/run/docker.sock",), uid=1000)
    assert (look.extent, look.how_to_see) == ("none", "run as root")
    assert look.why == "can't speak with /run/docker.sock: Permission denied"


def test_an_engine_that_may_not_be_looked_for() -> None:
    """Where even the socket's path is hidden, its absence isn't known."""
    _, look = looked(answers={"/run/docker.sock": b""}, refused=("/run/docker.sock",), uid=1000)
    assert (look.extent, look.how_to_see) == ("none", "run as root")


def test_another_users_podman() -> None:
    """Only root or that user may ask it."""
    known = Known()
    read_podman(Tree(uid=1000), known, [1001])
    assert [(look.extent, look.how_to_see) for look in known.looks] == [("none", "run as root")]


def test_ones_own_podman() -> None:
    """It is run as it is."""
    argv = ("podman", "ps", "--all", "--format", "json")
    known = Known()
    read_podman(Tree(programs={argv: json.dumps(PODMAN)}, uid=1000), known, [1000])
    assert ([c.name for c in known.containers.values()], known.looks[0].extent) == (["mx"], "all")
