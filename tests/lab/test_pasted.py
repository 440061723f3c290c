"""Tables of the real Docker, Compose and systemctl are read as the engine and systemd answer themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from mailports.model.facts import Container, Unit
from mailports.pasted import engines, systemd
from mailports.pasted.found import Found, Line

from .machine import Machine, machine
from .test_docker import serve
from .test_socket_units import dovecot_by_its_socket_unit, postfix_after_a_socket_unit_on_25

COMPOSE = """\
services:
  imap:
    image: lab:busybox
    command: httpd -f -p 143
    ports: ["143:143", "127.0.0.1:1993-1994:993-994"]
"""
DOCKER = ("docker ps", "docker ps -a", "docker ps -a --no-trunc")
PUBLISHED = {"mx", "lab-imap-1", "lab_imap_1"}


def read(said: dict[str, str], command: str, readers: Any) -> list[Found]:
    """Read what a command printed, with the command before it."""
    lines = [Line(1, command, is_command=True)]
    lines += [Line(i, row) for i, row in enumerate(said[command].splitlines(), start=2)]
    at, found = 1, []
    while at < len(lines):
        one = next(filter(None, (reader(lines, at, "here") for reader in readers)), None)
        if one is not None:
            found.append(one)
        at += one.taken if one is not None else 1
    assert [p for each in found for p in each.problems] == []
    return found


@pytest.fixture(scope="module")
def docker() -> Iterator[dict[str, str]]:
    """Containers that run, stopped, were only created; one of a Compose project."""
    with machine("docker", daemon={}) as mx:
        mx.run("systemctl", "stop", "postfix")
        serve(mx, "mx", "25", "-p", "25:25", "-p", "465-467:465-467", "-p", "53:53/udp", "--expose", "110")
        serve(mx, "bare", "587", "--network", "host")
        mx.run("docker", "create", "--name", "made", "-p", "993:993", "lab:busybox", "true")
        mx.run("docker", "run", "--name", "gone", "-p", "995:995", "lab:busybox", "true")
        mx.write("/root/lab/docker-compose.yml", COMPOSE)
        compose = "docker compose" if mx.attempt("docker", "compose", "version").status == 0 else "docker-compose"
        mx.sh(f"cd /root/lab && {compose} up -d 2>&1")
        mx.until_listening(25, 143, 587)
        said = {command: mx.run(*command.split()) for command in (*DOCKER, "docker port mx")}
        said["compose ps"] = mx.sh(f"cd /root/lab && {compose} ps")
        said["inspect"] = mx.sh("docker inspect $(docker ps -aq --no-trunc)")
        yield said


def engine(docker: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return what the engine says of its containers, by name."""
    return {each["Name"].lstrip("/"): each for each in json.loads(docker["inspect"])}


def published(container: Container) -> set[tuple[str, str, int, int]]:
    """Return what a container publishes, as read."""
    return {(p.endpoint.protocol, p.endpoint.address, p.endpoint.port, p.to_port) for p in container.publishes}


def engine_published(each: dict[str, Any]) -> set[tuple[str, str, int, int]]:
    """Return the same as the engine has it."""
    return {
        (inner.partition("/")[2], bound["HostIp"], int(bound["HostPort"]), int(inner.partition("/")[0]))
        for inner, bindings in each["NetworkSettings"]["Ports"].items()
        for bound in bindings or []
    }


@pytest.mark.parametrize("command", DOCKER)
def test_docker_ps_says_what_the_engine_says(docker: dict[str, str], command: str) -> None:
    """Ids, names, images, states and every published port."""
    (found,) = read(docker, command, engines.READERS)
    said = engine(docker)
    names = {name for name, each in said.items() if "-a" in command or each["State"]["Status"] == "running"}
    assert {c.name for c in found.containers} == names
    assert [look.extent for look in found.looks] == ["all"]
    for container in found.containers:
        each = said[container.name or ""]
        assert each["Id"].startswith(container.id)
        assert (container.image, container.state) == (each["Config"]["Image"], each["State"]["Status"])
        assert published(container) == engine_published(each)


def test_docker_port_says_what_the_engine_says(docker: dict[str, str]) -> None:
    """The ports of one container."""
    (found,) = read(docker, "docker port mx", engines.READERS)
    (container,) = found.containers
    assert container.name == "mx"
    assert published(container) == engine_published(engine(docker)["mx"])


def test_compose_ps_says_what_the_engine_says(docker: dict[str, str]) -> None:
    """The project's container, of whichever version this system has."""
    (found,) = read(docker, "compose ps", engines.READERS)
    (container,) = found.containers
    assert container.name in PUBLISHED
    assert container.state == "running"
    assert published(container) == engine_published(engine(docker)[container.name or ""])


NAMES = ("postfix@-.service", "dovecot.service", "smtp.socket", "dovecot.socket")
STATUS = "systemctl status --no-pager postfix@- dovecot smtp.socket dovecot.socket"
SHOW = "systemctl show --no-pager " + " ".join(NAMES)
TABLES = ("systemctl list-sockets --no-pager", "systemctl list-sockets --no-pager --show-types")


@pytest.fixture(scope="module")
def mail() -> Iterator[dict[str, str]]:
    """A socket unit in Postfix's way, one that serves Dovecot."""
    with machine("mail") as mx:
        postfix_after_a_socket_unit_on_25(mx)
        dovecot_by_its_socket_unit(mx)
        mx.until_listening(25, 110, 143, 993)
        said = {command: output(mx, command) for command in (STATUS, SHOW, *TABLES)}
        for verb in ("is-active", "is-enabled"):
            command = f"systemctl {verb} {' '.join(NAMES)}"
            said[command] = output(mx, command)
        yield said


def output(mx: Machine, command: str) -> str:
    """Return what a command printed, however it ended: status ends with 3 for a unit that isn't active."""
    return mx.attempt(*command.split()).stdout


def units(found: list[Found]) -> dict[str, Unit]:
    """Return the units that were read, by name."""
    return {unit.name: unit for each in found for unit in each.units}


def shown(mail: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return systemd's own properties by unit, read without our reader."""
    blocks: dict[str, dict[str, Any]] = {}
    for block in mail[SHOW].split("\n\n"):
        rows = [row.partition("=")[::2] for row in block.strip().splitlines()]
        values: dict[str, Any] = dict(rows)
        values["Listen"] = tuple(value for key, value in rows if key == "Listen")
        blocks[values["Id"]] = values
    return blocks


def test_status_says_what_systemd_says(mail: dict[str, str]) -> None:
    """Load, state, unit file's state, result, process, group, sockets and triggers."""
    found = units(read(mail, STATUS, systemd.READERS))
    said = shown(mail)
    assert set(found) == set(NAMES)
    for name, unit in found.items():
        each = said[name]
        states = (each["LoadState"], each["ActiveState"], each["SubState"], each["UnitFileState"])
        assert (unit.load, unit.active, unit.sub, unit.enabled) == states
        assert unit.result in (None, each["Result"])
        assert (unit.result is not None) == (each["ActiveState"] == "failed")
        assert unit.main_pid == int(each.get("MainPID", 0))
        assert unit.listens == each["Listen"]
        assert set(unit.triggered_by) == set(each.get("TriggeredBy", "").split())
        assert set(unit.triggers) == set(each.get("Triggers", "").split())
        assert (unit.cgroup or "") == each.get("ControlGroup", "")


def test_show_says_what_systemd_says(mail: dict[str, str]) -> None:
    """All of its properties, block by block."""
    found = units(read(mail, SHOW, systemd.READERS))
    assert set(found) == set(NAMES)
    for name, each in shown(mail).items():
        assert (found[name].active, found[name].sub, found[name].listens) == (
            each["ActiveState"],
            each["SubState"],
            each["Listen"],
        )


@pytest.mark.parametrize("command", TABLES)
def test_list_sockets_says_what_systemd_says(mail: dict[str, str], command: str) -> None:
    """Where the socket units listen, and what they start."""
    found = units(read(mail, command, systemd.READERS))
    said = shown(mail)
    for name in ("smtp.socket", "dovecot.socket"):
        assert set(found[name].listens) == set(said[name]["Listen"])
        assert found[name].triggers == tuple(said[name]["Triggers"].split())


@pytest.mark.parametrize("verb", ["is-active", "is-enabled"])
def test_answers_say_what_systemd_says(mail: dict[str, str], verb: str) -> None:
    """One word for each unit asked."""
    found = units(read(mail, f"systemctl {verb} {' '.join(NAMES)}", systemd.READERS))
    for name, each in shown(mail).items():
        if verb == "is-active":
            assert found[name].active == each["ActiveState"]
        else:
            assert found[name].enabled == each["UnitFileState"]
