"""Published ports of Docker containers, with a proxy process and without; host networks; DNAT by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from .machine import Machine, machine
from .scene import Json, Seen, holders, look, parties


class Docker(NamedTuple):
    """What was seen of a machine with containers, and what the engine says of them."""

    seen: Seen
    containers: dict[str, Json]
    answering: set[int]


def serve(mx: Machine, name: str, at: str, *options: str) -> None:
    """Run a container with a web server (which is as good as any) at an address or port of its own."""
    mx.run("docker", "run", "-d", "--name", name, *options, "lab:busybox", "httpd", "-f", "-p", at)


def look_at_docker(mx: Machine) -> Docker:
    """Look, and ask the engine as well."""
    inspected = json.loads(mx.sh("docker inspect $(docker ps -q --no-trunc)"))
    seen = look(mx, "snapshot")
    ports = {each.port for each in seen.listeners}
    return Docker(seen, {each["Name"].lstrip("/"): each for each in inspected}, set(filter(answers(mx), ports)))


def answers(mx: Machine) -> Callable[[int], bool]:
    """Make a function that tells whether a web server answers on a port of the machine."""
    return lambda port: mx.attempt("curl", "-s", "-m", "3", "-o", "/dev/null", f"http://127.0.0.1:{port}/").status == 0


@pytest.fixture(scope="module")
def proxied() -> Iterator[Docker]:
    """A container that is published well, two that can't be reached, an inner one, one on the host's network."""
    with machine("docker", daemon={}) as mx:
        mx.run("systemctl", "stop", "postfix")
        serve(mx, "mx", "25", "-p", "25:25")
        serve(mx, "shy", "127.0.0.1:465", "-p", "465:465")
        serve(mx, "crossed", "143", "-p", "143:1143")
        serve(mx, "controller", "11334")
        serve(mx, "bare", "587", "--network", "host")
        mx.until_listening(25, 143, 465, 587)
        yield look_at_docker(mx)


@pytest.fixture(scope="module")
def unproxied() -> Iterator[Docker]:
    """The engine holds the published port itself, so that it isn't given away; DNAT does the work."""
    with machine("docker", daemon={"userland-proxy": False}) as mx:
        mx.run("systemctl", "stop", "postfix")
        serve(mx, "mx", "25", "-p", "25:25")
        mx.until_listening(25)
        yield look_at_docker(mx)


@pytest.fixture(scope="module")
def diverted() -> Iterator[Docker]:
    """The host's Postfix listens on 25, but a rule sends what comes from outside to a container."""
    with machine("docker", daemon={}) as mx:
        serve(mx, "other", "25")
        address = mx.run("docker", "inspect", "-f", "{{.NetworkSettings.IPAddress}}", "other").strip()
        rule = f"PREROUTING -i eth0 -p tcp --dport 25 -j DNAT --to-destination {address}:25"
        mx.run("iptables", "-t", "nat", "-A", *rule.split())
        serve(mx, "published", "143", "-p", "143:143")
        mx.until_listening(25, 143)
        yield look_at_docker(mx)


def publishes(docker: Docker, name: str) -> set[tuple[str, int, int]]:
    """Return (address, port, container port) of a container, as the Snapshot has them."""
    found: list[dict[str, Any]] = [c for c in docker.seen.said("snapshot")["containers"] if c["name"] == name]
    assert len(found) == 1, [c["name"] for c in docker.seen.said("snapshot")["containers"]]
    return {(p["endpoint"]["address"], p["endpoint"]["port"], p["to_port"]) for p in found[0]["publishes"]}


def engine_says(docker: Docker, name: str) -> set[tuple[str, int, int]]:
    """Return the same as `docker inspect` has it."""
    ports = docker.containers[name]["NetworkSettings"]["Ports"]
    return {
        (bound["HostIp"], int(bound["HostPort"]), int(inner.partition("/")[0]))
        for inner, bindings in ports.items()
        for bound in bindings or []
    }


def test_the_stage_is_proxies_and_one_program_on_the_host(proxied: Docker) -> None:
    """Two proxies hold each published port, for IPv4 and IPv6; the host network's program holds its own."""
    for port in (25, 143, 465):
        here = [each for each in proxied.seen.listeners if each.port == port]
        assert {(each.address, *each.names) for each in here} == {("0.0.0.0", "docker-proxy"), ("::", "docker-proxy")}
    assert [each.names for each in proxied.seen.listeners if each.port == 587] == [{"httpd"}]
    assert not [each for each in proxied.seen.listeners if each.port == 11334]


def test_the_stage_has_two_published_ports_that_nobody_serves(proxied: Docker) -> None:
    """A client is connected to the proxy on all four, but gets an answer on two."""
    assert proxied.answering & {25, 143, 465, 587} == {25, 587}


def test_the_stage_without_proxies_is_the_engine_itself(unproxied: Docker) -> None:
    """Whoever reads only the process's name sees dockerd and no container."""
    assert {name for each in unproxied.seen.listeners if each.port == 25 for name in each.names} == {"dockerd"}


def test_the_stage_of_the_diversion_is_postfix_on_25(diverted: Docker) -> None:
    """All looks right to ss."""
    assert {name for each in diverted.seen.listeners if each.port == 25 for name in each.names} == {"master"}


def test_a_proxy_is_named_by_its_container(proxied: Docker) -> None:
    """On both addresses, with the unit that the proxy is really in."""
    listeners = proxied.seen.status_of(25)
    assert {each["endpoint"]["address"] for each in listeners} == {"0.0.0.0", "::"}
    for listener in listeners:
        assert holders(listener, "container") == {"mx"}
        assert holders(listener, "name") == {"docker-proxy"}
        assert holders(listener, "unit") == {"docker.service"}


def test_the_engine_that_holds_a_port_itself_is_named_by_its_container(unproxied: Docker) -> None:
    """The engine is asked whose port it is."""
    for listener in unproxied.seen.status_of(25):
        assert holders(listener, "container") == {"mx"}
        assert holders(listener, "name") == {"dockerd"}


@pytest.mark.parametrize("name", ["mx", "shy", "crossed", "controller"])
def test_published_ports_are_those_of_the_engine(proxied: Docker, name: str) -> None:
    """Address, port, and the container's own port, for IPv4 and IPv6."""
    assert publishes(proxied, name) == engine_says(proxied, name)


def test_published_ports_without_proxies_are_those_of_the_engine(unproxied: Docker) -> None:
    """The same where no process tells."""
    assert publishes(unproxied, "mx") == engine_says(unproxied, "mx")


def test_a_container_on_the_hosts_network_is_named_by_its_control_group(proxied: Docker) -> None:
    """The listener is the program's own, and its unit is the container's scope."""
    (listener,) = proxied.seen.status_of(587)
    assert holders(listener, "container") == {"bare"}
    assert holders(listener, "name") == {"httpd"}
    assert holders(listener, "unit") == {f"docker-{proxied.containers['bare']['Id']}.scope"}


def test_a_published_port_is_no_finding(proxied: Docker) -> None:
    """The two proxies of one container share nothing, and Docker's own DNAT diverts nothing."""
    assert proxied.seen.names_on(25) == set()


def test_the_engines_own_listener_is_no_finding(unproxied: Docker) -> None:
    """Holding the port without serving it is how Docker keeps it."""
    assert unproxied.seen.names_on(25) == set()


def test_a_container_that_listens_on_its_own_loopback_is_unreachable(proxied: Docker) -> None:
    """The port is published, yet every connection is refused."""
    finding = proxied.seen.the_finding("unreachable-listener", 465)
    assert "shy" in parties(finding, "container") | parties(finding, "name")
    assert not finding["is_conflict"]


def test_a_container_published_on_the_wrong_inner_port_is_unreachable(proxied: Docker) -> None:
    """It listens on 143 and is published as 1143."""
    finding = proxied.seen.the_finding("unreachable-listener", 143)
    assert "crossed" in parties(finding, "container") | parties(finding, "name")


def test_unreachable_are_those_two_only(proxied: Docker) -> None:
    """Neither the well published one nor the one on the host's network."""
    assert proxied.seen.ports("unreachable-listener") == {143, 465}


def test_an_internal_port_inside_a_container_is_no_finding(proxied: Docker) -> None:
    """A controller on 0.0.0.0 of an unpublished container isn't open to the world."""
    assert proxied.seen.names_on(11334) == set()


def test_a_rule_that_takes_the_mail_away_is_found(diverted: Docker) -> None:
    """The host's Postfix gets nothing from outside, though it listens."""
    finding = diverted.seen.the_finding("redirected-port", 25)
    assert finding["is_conflict"]
    assert diverted.seen.ports("redirected-port") == {25}


def test_the_engines_own_rules_are_no_redirect(diverted: Docker) -> None:
    """A published port beside it is reached through DNAT as well, and that is as it should be."""
    assert diverted.seen.names_on(143) == set()
