"""Tables of container engines, as people paste them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailports.pasted.engines import READERS
from mailports.pasted.found import Found, Line

if TYPE_CHECKING:
    from mailports.model.facts import Container

DOCKER = """\
$ docker ps
CONTAINER ID   IMAGE                 COMMAND                  CREATED        STATUS                  PORTS                                                                                   NAMES
0123456789ab   mailserver/docker-mailserver:latest   "/usr/bin/dumb-init …"   2 weeks ago    Up 3 days (healthy)     0.0.0.0:25->25/tcp, :::25->25/tcp, 110/tcp, 0.0.0.0:465-467->465-467/tcp, [::]:587->587/tcp   mail
abcdef012345   nginx                 "/docker-entrypoint.…"   2 weeks ago    Exited (1) 2 hours ago                                                                                          web
aaaaaaaaaaaa   busybox               "true"                   2 weeks ago    Created                                                                                                         made
bbbbbbbbbbbb   x                     "y"                      2 weeks ago    Restarting (1) 5 seconds ago   127.0.0.1:8080->80/tcp, 0.0.0.0:53->53/udp                                       again
"""  # noqa: E501
PODMAN = """\
CONTAINER ID  IMAGE                             COMMAND     CREATED        STATUS            PORTS                 NAMES
0123456789ab  localhost/mail:latest             httpd -f    3 minutes ago  Up 3 minutes ago  0.0.0.0:2525->25/tcp  mx
"""
COMPOSE = """\
NAME         IMAGE     COMMAND   SERVICE   CREATED         STATUS         PORTS
mail-imap-1  imap:1    "imapd"   imap      2 minutes ago   Up 2 minutes   0.0.0.0:143->143/tcp, [::]:143->143/tcp
mail-pop-1   pop:1     "popd"    pop       2 minutes ago   Exited (0) 1 minute ago
"""
COMPOSE_1 = """\
     Name                   Command               State                    Ports
------------------------------------------------------------------------------------------------
mail_front_1   /bin/sh -c /start.py         Up      0.0.0.0:25->25/tcp,
                                                    127.0.0.1:465->465/tcp
mail_imap_1    /start.py                    Exit 1
"""


def lines_of(text: str) -> list[Line]:
    """Return undressed lines."""
    return [
        Line(i, row[2:] if row.startswith("$ ") else row, is_command=row.startswith("$ "))
        for i, row in enumerate(text.splitlines(), 1)
    ]


def read(text: str) -> Found:
    """Return what the first reader that knows the text makes of it."""
    lines = lines_of(text)
    at = 1 if lines[0].is_command else 0
    found = next(filter(None, (reader(lines, at, "here") for reader in READERS)))
    assert found.taken == len(lines) - at
    return found


def ports(container: Container) -> list[str]:
    """Return what a container publishes, as words."""
    return [f"{p.endpoint.protocol} {p.endpoint.address} {p.endpoint.port} {p.to_port}" for p in container.publishes]


def test_docker_ps() -> None:
    """States, names and every published port; a port that isn't published is none."""
    found = read(DOCKER)
    assert [(c.name, c.state) for c in found.containers] == [
        ("mail", "running"),
        ("web", "exited"),
        ("made", "created"),
        ("again", "restarting"),
    ]
    assert ports(found.containers[0]) == [
        "tcp 0.0.0.0 25 25",
        "tcp :: 25 25",
        "tcp 0.0.0.0 465 465",
        "tcp 0.0.0.0 466 466",
        "tcp 0.0.0.0 467 467",
        "tcp :: 587 587",
    ]
    assert ports(found.containers[3]) == ["tcp 127.0.0.1 8080 80", "udp 0.0.0.0 53 53"]
    assert found.containers[0].image == "mailserver/docker-mailserver:latest"
    assert {p.endpoint.netns for p in found.containers[0].publishes} == {"here"}
    assert [look.extent for look in found.looks] == ["all"]


def test_grepped_rows_are_some() -> None:
    """Rows alone are known by their shape, and aren't all."""
    found = read(DOCKER.splitlines()[2])
    assert (found.containers[0].name, found.looks[0].extent) == ("mail", "some")
    grepped = read(DOCKER.replace("docker ps", "docker ps | grep mail"))
    assert grepped.looks[0].extent == "some"


def test_cut_ports_are_a_problem() -> None:
    """What is whole is read, and the rest is said."""
    found = read(PODMAN.replace("25/tcp  mx", "25/tcp, 0.0.0.0:4…  mx"))
    assert ports(found.containers[0]) == ["tcp 0.0.0.0 2525 25"]
    assert len(found.problems) == 1
    assert found.looks[0].extent == "some"


def test_a_row_that_the_terminal_broke_is_joined() -> None:
    """Eighty columns are too few for Docker."""
    head, row = DOCKER.splitlines()[1:3]
    broken = "\n".join([head, row[:80], row[80:160], row[160:]])
    found = read(broken)
    assert [(c.name, len(c.publishes)) for c in found.containers] == [("mail", 6)]


def test_podman_ps() -> None:
    """The same columns, nearer together."""
    found = read(PODMAN)
    (container,) = found.containers
    assert (container.engine, container.name, container.state) == ("podman", "mx", "running")
    assert ports(container) == ["tcp 0.0.0.0 2525 25"]


def test_compose_ps() -> None:
    """Containers by name, with states and ports."""
    found = read(COMPOSE)
    assert [(c.name, c.state, len(c.publishes)) for c in found.containers] == [
        ("mail-imap-1", "running", 2),
        ("mail-pop-1", "exited", 0),
    ]


def test_compose_1_ps() -> None:
    """A cell that runs over two lines is one."""
    found = read(COMPOSE_1)
    assert [(c.name, c.state, ports(c)) for c in found.containers] == [
        ("mail_front_1", "running", ["tcp 0.0.0.0 25 25", "tcp 127.0.0.1 465 465"]),
        ("mail_imap_1", "exited", []),
    ]


def test_a_chosen_format() -> None:
    """Columns in an order of one's own are known by their headings."""
    found = read("NAMES   STATUS       PORTS\nmx      Up 2 hours   0.0.0.0:25->25/tcp, :::25->25/tcp\n")
    assert [(c.name, c.state, len(c.publishes)) for c in found.containers] == [("mx", "running", 2)]


def test_docker_port() -> None:
    """Its command names the container."""
    found = read("$ docker port mx\n25/tcp -> 0.0.0.0:25\n25/tcp -> [::]:25\n143/tcp -> :::143\n")
    assert [(c.name, ports(c)) for c in found.containers] == [
        ("mx", ["tcp 0.0.0.0 25 25", "tcp :: 25 25", "tcp :: 143 143"])
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Name: mail",
        "PORTS and NAMES are columns",
        "0123456789ab is an id",
        "NAME READY STATUS RESTARTS AGE",
        "a -> b",
        "CONTAINER ID",
    ],
)
def test_look_alikes_are_none(text: str) -> None:
    """Prose and other tools' tables aren't taken."""
    assert [reader([Line(1, text)], 0, "here") for reader in READERS] == [None] * len(READERS)


PIECES = st.sampled_from([*DOCKER.splitlines(), *PODMAN.splitlines(), *COMPOSE.splitlines(), *COMPOSE_1.splitlines()])
CUT = st.builds(lambda row, a, b: row[a:b], PIECES, st.integers(0, 60), st.integers(0, 300))


@given(st.lists(st.one_of(PIECES, CUT, st.text(max_size=80)), min_size=1, max_size=12))
def test_any_lines_give_found_or_none(rows: list[str]) -> None:
    """No text raises, and what is taken is there."""
    lines = [Line(i, row) for i, row in enumerate(rows, 1)]
    for reader in READERS:
        for at in range(len(lines)):
            found = reader(lines, at, "here")
            assert found is None or 1 <= found.taken <= len(lines) - at
