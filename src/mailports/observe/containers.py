"""Which containers there are, and which of their ports an engine publishes on the host.

A published port's socket belongs to a helper of the engine, in the engine's own control group, so the
container comes from elsewhere: from the helper's arguments, which anyone may read, and from the engine:
Docker's API on its local socket (which Podman speaks as well), or `podman ps`.

Source: docker-proxy, conmon(8), pasta(1) and rootlessport as run by Docker 20.10 and 26.1, Podman 4.3
and 5.4; Docker Engine API, GET /containers/json.

Limits: rootlessport is given its ports on standard input; only Podman itself knows them. An engine that
runs for another user is asked only where its helpers were seen, and only by root.
"""

from __future__ import annotations

from mailports.faults import HostError
from mailports.model.facts import (
    ALL,
    ANY4,
    NONE,
    SOME,
    Container,
    Endpoint,
    Look,
    Publish,
    natural,
    port_number,
    printable,
)
from mailports.observe.processes import read_arguments, read_cgroup, read_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from mailports.door import Host
    from mailports.model.facts import Holder
    from mailports.observe.cgroups import Groups

DOCKER_SOCKETS = ("/run/docker.sock", "/var/run/docker.sock")
PODMAN_SOCKET = "/run/podman/podman.sock"
ROOTLESS = ("pasta", "pasta.avx2", "passt", "rootlessport", "slirp4netns")
_REQUEST = b"GET /containers/json?all=1 HTTP/1.0\r\nHost: localhost\r\n\r\n"
_CONTAINERS = 5000
_MALFORMED = (TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError)


class Known:
    """The containers while they are gathered, by id where there is one."""

    def __init__(self) -> None:
        self.containers: dict[str, Container] = {}
        self.looks: list[Look] = []

    def add(self, container: Container) -> None:
        """Add what one source knows to what the others said: the first says who, each says more."""
        key = container.id[:12] or f"{container.engine}:{container.addresses}"
        known = self.containers.get(key)
        if known is None:
            self.containers[key] = container
            return
        publishes = known.publishes + tuple(
            p for p in container.publishes if not any(_same_publish(p, q) for q in known.publishes)
        )
        values = {
            field: value
            for field, value in container._asdict().items()
            if value and not getattr(known, field) and field != "publishes"
        }
        self.containers[key] = known._replace(publishes=publishes, **values)

    def name_of(self, container: str | None) -> str | None:
        """Return a container's name where its id is known, or the id, shortened."""
        if not container:
            return None
        known = self.containers.get(container[:12])
        return (known.name if known else None) or container[:12]


def read_engines(host: Host, known: Known) -> None:
    """Add what Docker's API says, if Docker is here."""
    for path in DOCKER_SOCKETS:
        try:
            host.inode(path)
        except HostError as error:
            if error.is_permission:
                known.looks.append(Look("containers", None, NONE, "docker API", str(error), "run as root"))
                return
            continue
        _read_api(host, known, "docker", path)
        return
    known.looks.append(Look("containers", None, ALL, "docker", "no Docker socket: no Docker engine here"))


def _read_api(host: Host, known: Known, engine: str, path: str) -> None:
    try:
        answer = host.exchange(path, _REQUEST)
    except HostError as error:
        hint = "run as root" if error.is_permission else None
        known.looks.append(Look("containers", None, NONE, f"{engine} API", str(error), hint))
        return
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n", 1)[0] + b" ":
        status = printable(head.split(b"\r\n", 1)[0][:100])
        known.looks.append(Look("containers", None, NONE, f"{engine} API", f"{path} answered {status}"))
        return
    containers, problems = decode_api(body, engine)
    for container in containers:
        known.add(container)
    extent, why = (SOME, "; ".join(problems[:3])) if problems else (ALL, None)
    known.looks.append(Look("containers", None, extent, f"{engine} API", why))


def decode_api(body: bytes, engine: str) -> tuple[list[Container], list[str]]:
    """Return the containers of GET /containers/json, and what couldn't be read. Never raises."""
    import json

    try:
        rows = json.loads(body)
    except (ValueError, RecursionError) as error:
        return [], [f"the answer isn't JSON: {error}"]
    if not isinstance(rows, list):
        return [], ["the answer isn't a list"]
    containers: list[Container] = []
    problems: list[str] = []
    for row in rows[:_CONTAINERS]:
        try:
            containers.append(_api_container(row, engine))
        except _MALFORMED as error:
            problems.append(f"container {len(containers) + len(problems) + 1}: {type(error).__name__} {error}")
    return containers, problems


def _api_container(row: dict[str, Any], engine: str) -> Container:
    networks = (row.get("NetworkSettings") or {}).get("Networks") or {}
    addresses = []
    for network in networks.values():
        addresses += [network[key] for key in ("IPAddress", "GlobalIPv6Address") if network.get(key)]
    addresses = [printable(str(address)) for address in addresses]
    publishes = [
        Publish(
            Endpoint(_text(p.get("Type"), "tcp"), _text(p.get("IP"), ANY4), _port(p["PublicPort"]), netns="here"),
            addresses[0] if addresses else None,
            _port(p["PrivatePort"]),
            "engine API",
        )
        for p in row.get("Ports") or ()
        if p.get("PublicPort")
    ]
    names = row.get("Names") or ()
    return Container(
        engine,
        printable(str(row["Id"])),
        printable(str(names[0]).lstrip("/")) if names else None,
        printable(str(row.get("Image") or "")) or None,
        printable(str(row.get("State") or "")) or None,
        printable(str((row.get("HostConfig") or {}).get("NetworkMode") or "")) or None,
        addresses=tuple(addresses),
        publishes=tuple(publishes),
    )


def read_podman(host: Host, known: Known, users: Iterable[int]) -> None:
    """Add what `podman ps` says, for root and for the given users (which takes root)."""
    for uid in users:
        argv: tuple[str, ...] = ("podman", "ps", "--all", "--format", "json")
        if uid != host.uid:
            home = _home(host, uid)
            if host.uid != 0 or home is None:
                why = f"user {uid} runs Podman, and only root or that user may ask it"
                known.looks.append(Look("containers", None, NONE, "podman ps", why, "run as root"))
                continue
            argv = (
                *("setpriv", f"--reuid={uid}", f"--regid={home[1]}", "--clear-groups", "env"),
                *(f"HOME={home[0]}", f"XDG_RUNTIME_DIR=/run/user/{uid}"),
                *argv,
            )
        try:
            ran = host.run(argv)
        except HostError as error:
            known.looks.append(Look("containers", None, NONE, "podman ps", str(error)))
            continue
        if ran.status != 0:
            why = printable(ran.stderr.strip()[-200:]) or f"it ended with {ran.status}"
            known.looks.append(Look("containers", None, NONE, "podman ps", why))
            continue
        for container in decode_podman(ran.stdout):
            known.add(container)
        cut = "podman printed more than is read" if ran.is_cut else None
        known.looks.append(Look("containers", None, SOME if cut else ALL, f"podman ps (user {uid})", cut))


def decode_podman(text: bytes) -> list[Container]:
    """Return the containers of `podman ps --format json`. What isn't understood is left out. Never raises."""
    import json

    try:
        rows = json.loads(text or b"[]")
    except (ValueError, RecursionError):
        return []
    containers = []
    for row in rows[:_CONTAINERS] if isinstance(rows, list) else ():
        try:
            containers.append(_podman_container(row))
        except _MALFORMED:
            continue
    return containers


def _podman_container(row: dict[str, Any]) -> Container:
    publishes = []
    for p in row.get("Ports") or ():
        for at in range(min(int(p.get("range") or 1), 1000)):
            for protocol in _text(p.get("protocol"), "tcp").split(","):
                outside, inside = _port(p["host_port"] + at), _port(p["container_port"] + at)
                endpoint = Endpoint(protocol, _text(p.get("host_ip"), ANY4), outside, netns="here")
                publishes.append(Publish(endpoint, None, inside, "podman ps"))
    networks = row.get("Networks") or ()
    names = row.get("Names") or ()
    return Container(
        "podman",
        printable(str(row["Id"])),
        printable(str(names[0])) if names else None,
        printable(str(row.get("Image") or "")) or None,
        printable(str(row.get("State") or "")) or None,
        printable(str(networks[0])) if networks else None,
        pid=int(row.get("Pid") or 0) or None,
        publishes=tuple(publishes),
    )


def read_helper(host: Host, groups: Groups, holder: Holder, endpoint: Endpoint) -> Container | None:
    """Return the container that an engine's helper publishes `endpoint` for, from the helper's own arguments."""
    if holder.name == "docker-proxy":
        return decode_docker_proxy(holder)
    if holder.name == "conmon":
        return decode_conmon(holder.argv)
    if holder.name is None or not holder.name.startswith(ROOTLESS):
        return None
    # Podman puts the helpers of one rootless container into one scope, its conmon among them.
    cgroup = read_cgroup(host, holder.pid) if holder.pid is not None else None
    for pid in groups.pids(cgroup) if cgroup else ():
        if read_name(host, pid) == "conmon":
            found = decode_conmon(read_arguments(host, pid))
            if found is not None:
                to_port = pasta_port(holder.argv, endpoint.port)
                publishes = (
                    (Publish(endpoint, None, to_port, "pasta arguments", holder.pid),) if to_port is not None else ()
                )
                return found._replace(publishes=publishes)
    return None


def decode_docker_proxy(holder: Holder) -> Container | None:
    """Return the published port that a docker-proxy's arguments tell; its container has only an address yet."""
    arguments = dict(zip(holder.argv[1::2], holder.argv[2::2]))
    host_port, to_port = port_number(arguments.get("-host-port")), port_number(arguments.get("-container-port"))
    if host_port is None or to_port is None:
        return None
    endpoint = Endpoint(arguments.get("-proto", "tcp"), arguments.get("-host-ip", ANY4), host_port, netns="here")
    address = arguments.get("-container-ip")
    publish = Publish(endpoint, address, to_port, "docker-proxy arguments", holder.pid)
    return Container("docker", "", addresses=(address,) if address else (), publishes=(publish,))


def decode_conmon(argv: tuple[str, ...]) -> Container | None:
    """Return the container that a conmon watches: `-c ID … -n NAME`."""
    identity = name = None
    for flag, value in zip(argv, argv[1:]):
        if flag in ("-c", "--cid") and identity is None:
            identity = value
        elif flag in ("-n", "--name") and name is None:
            name = value
    return Container("podman", identity, name, state="running") if identity else None


def pasta_port(argv: tuple[str, ...], port: int) -> int | None:
    """Return the container's port that pasta forwards a host port to: `-t 587-587:25-25`, `-t 127.0.0.1/25:25`."""
    for flag, value in zip(argv, argv[1:]):
        if flag not in ("-t", "--tcp-ports", "-u", "--udp-ports"):
            continue
        for spec in value.split(","):
            outside, colon, inside = spec.rpartition("/")[2].partition(":")
            first_text, _, last_text = outside.partition("-")
            first, inner = natural(first_text), natural(inside.partition("-")[0] if colon else first_text)
            last = natural(last_text) if last_text else first
            if first is not None and inner is not None and last is not None and first <= port <= last:
                return port_number(inner + port - first)
    return None


def join_addresses(known: Known) -> None:
    """Give publishes that only know a container's address to the container that has that address."""
    owners = {address: key for key, c in known.containers.items() if c.id for address in c.addresses}
    for key, container in list(known.containers.items()):
        if container.id:
            continue
        owner = next((owners[a] for a in container.addresses if a in owners), None)
        if owner is not None:
            del known.containers[key]
            known.add(container._replace(id=known.containers[owner].id))


def _port(value: object) -> int:
    port = port_number(value)
    if port is None:
        raise ValueError(f"{value!r} is no port")
    return port


def _text(value: object, default: str) -> str:
    return printable(str(value or default))


def _same_publish(a: Publish, b: Publish) -> bool:
    return (a.endpoint.protocol, a.endpoint.address, a.endpoint.port) == (
        b.endpoint.protocol,
        b.endpoint.address,
        b.endpoint.port,
    )


def _home(host: Host, uid: int) -> tuple[str, int] | None:
    try:
        text = host.read("/etc/passwd").decode("utf-8", "replace")
    except HostError:
        return None
    for line in text.split("\n"):
        fields = line.split(":")
        if len(fields) >= 6 and fields[2] == str(uid) and natural(fields[3]) is not None:
            return fields[5], int(fields[3])
    return None
