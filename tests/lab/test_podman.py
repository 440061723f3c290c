"""Published ports of Podman containers: root's and a user's, and each of the programs that may hold them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from .machine import Machine, machine
from .scene import Seen, holders, look

USER = "setpriv --reuid u --regid u --init-groups env -C /home/u HOME=/home/u XDG_RUNTIME_DIR=/run/user/1000"
HELD_BY = {143: "conmon", 25: "pasta.avx2", 465: "slirp4netns", 587: "rootlessport", 993: "rootlessport"}
NAMES = {143: "rootful", 25: "pasta", 465: "slirp", 587: "slirp-port", 993: "named-network"}
SETUP = r"""
    systemctl stop postfix
    mkdir -p /etc/containers /run/image/bin
    printf '[containers]\npids_limit = 0\n' >/etc/containers/containers.conf  # the lab has no pids controller
    cp /bin/busybox /run/image/bin/
    chroot /run/image /bin/busybox --install -s /bin
    tar -C /run/image -cf /run/image.tar .
    podman import -q /run/image.tar lab:busybox
    useradd -m -u 1000 u
    loginctl enable-linger u
    sysctl -q net.ipv4.ip_unprivileged_port_start=25
"""


class Podman(NamedTuple):
    """What was seen of the machine, and what `podman ps` says, of root's containers and the user's."""

    seen: Seen
    containers: dict[str, int]


def serve(mx: Machine, name: str, port: int, *options: str, by: str = "") -> None:
    """Publish a container's port, run by root or by the command that makes a user of it."""
    run = f"podman run -d --name {name} -p {port}:{port} {' '.join(options)} lab:busybox httpd -f -p {port}"
    mx.sh(f"{by} {run}")


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    """One container of root's, and a user's four, each published in another way."""
    with machine("podman", tmpfs="/var/lib/containers /home") as mx:
        mx.sh(SETUP)
        mx.until("[ -S /run/user/1000/bus ]")
        mx.sh(f"{USER} podman import -q /run/image.tar lab:busybox; {USER} podman network create lab")
        serve(mx, "rootful", 143)
        serve(mx, "pasta", 25, by=USER)
        serve(mx, "slirp", 465, "--network slirp4netns:port_handler=slirp4netns", by=USER)
        serve(mx, "slirp-port", 587, "--network slirp4netns", by=USER)
        serve(mx, "named-network", 993, "--network lab", by=USER)
        mx.until_listening(*HELD_BY)
        listed = [json.loads(mx.sh(f"{by} podman ps --format json")) for by in ("", USER)]
        containers = {each["Names"][0]: each["Ports"][0]["host_port"] for part in listed for each in part}
        yield Podman(look(mx, "snapshot"), containers)


def test_the_stage_is_five_ways_to_publish(podman: Podman) -> None:
    """The holder of each port is the program that this way uses, and podman lists all five."""
    held = {each.port: each.names for each in podman.seen.listeners if each.port in HELD_BY}
    assert held == {port: {name} for port, name in HELD_BY.items()}
    assert podman.containers == {name: port for port, name in NAMES.items()}


@pytest.mark.parametrize("port", HELD_BY, ids=NAMES.get)
def test_a_published_port_is_named_by_its_container(podman: Podman, port: int) -> None:
    """Root's mailports names it, the user's containers included."""
    listeners = podman.seen.status_of(port)
    assert listeners
    for listener in listeners:
        assert holders(listener, "name") == {HELD_BY[port]}
        assert holders(listener, "container") == {NAMES[port]}


def test_published_ports_are_those_of_podman(podman: Podman) -> None:
    """Each container, with the port that it is reached by."""
    containers = podman.seen.said("snapshot")["containers"]
    ours = {each["name"]: p["endpoint"]["port"] for each in containers for p in each["publishes"]}
    assert ours == podman.containers


def test_published_ports_are_no_finding(podman: Podman) -> None:
    """Podman's helpers are neither unknown programs nor in anybody's way."""
    assert [f["summary"] for f in podman.seen.findings() if f["is_conflict"]] == []
