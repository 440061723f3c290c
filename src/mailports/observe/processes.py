"""What one process is: name, executable, arguments, owner, age, unit and container.

Source: proc(5), cgroups(7); systemd's unit names in control groups (systemd.unit(5)); the names that
Docker, Podman, containerd, CRI-O and LXC give to a container's group.
"""

from __future__ import annotations

from mailports.faults import HostError
from mailports.model.facts import Holder, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailports.door import Clock, Files

ARGUMENTS_BYTES = 4096
"""How much of a process's arguments is kept: enough for every engine's proxy."""

_TICKS_PER_S = 100  # USER_HZ, the same on every Linux architecture that Debian supports
_PREFIXES = (
    ("docker-", "docker"),
    ("libpod-payload-", "podman"),
    ("libpod-conmon-", "podman"),
    ("libpod-", "podman"),
    ("cri-containerd-", "containerd"),
    ("crio-", "crio"),
)
_FOLDERS = ("docker", "kubepods", "libpod_parent")


def read_holder(files: Files, clock: Clock, pid: int) -> Holder | None:
    """Return a process as a holder, or None where it is gone. What can't be read stays None."""
    try:
        name = files.read(f"/proc/{pid}/comm", 64)
    except HostError:
        return None
    cgroup = read_cgroup(files, pid)
    started_at, group = _read_stat(files, clock, pid)
    return Holder(
        pid,
        printable(name.rstrip(b"\n")),
        _read_exe(files, pid),
        unit_of(cgroup),
        container_of(cgroup),
        _read_uid(files, pid),
        read_arguments(files, pid),
        started_at,
        group,
    )


def read_name(files: Files, pid: int) -> str | None:
    """Return a process's name, or None where it is gone."""
    try:
        return printable(files.read(f"/proc/{pid}/comm", 64).rstrip(b"\n"))
    except HostError:
        return None


def read_arguments(files: Files, pid: int) -> tuple[str, ...]:
    """Return a process's arguments; empty for kernel threads and what is gone."""
    try:
        raw = files.read(f"/proc/{pid}/cmdline", ARGUMENTS_BYTES)
    except HostError:
        return ()
    return tuple(printable(argument) for argument in raw.rstrip(b"\0").split(b"\0")) if raw else ()


def read_cgroup(files: Files, pid: int) -> str | None:
    """Return the path of a process's control group in the unified hierarchy, or None.

    A version 1 host has no such line; its systemd hierarchy says the same.
    """
    try:
        raw = files.read(f"/proc/{pid}/cgroup", 1 << 16)
    except HostError:
        return None
    named = None
    for line in raw.split(b"\n"):
        number, _, rest = line.partition(b":")
        controllers, _, path = rest.partition(b":")
        if number == b"0" and not controllers:
            if path != b"/":
                return printable(path)
            named = named or "/"
        elif controllers == b"name=systemd":
            named = printable(path)
    return named


def unit_of(cgroup: str | None) -> str | None:
    """Return the systemd unit that a control group belongs to: its innermost service, scope or socket."""
    if not cgroup:
        return None
    for part in reversed(cgroup.split("/")):
        if part.endswith((".service", ".scope", ".socket", ".mount", ".swap")):
            return (
                part[1:] if part.startswith("_") else part
            )  # systemd puts `_` before a name that the kernel uses itself
    return None


def container_of(cgroup: str | None) -> str | None:
    """Return the id of the container that a control group belongs to, as its engine spells it; LXC's have names."""
    parts = (cgroup or "").split("/")
    for at, part in enumerate(parts):
        if part.startswith("lxc.payload."):
            return part[len("lxc.payload.") :]
        if part == "lxc" and at == 1 and at + 1 < len(parts):  # Proxmox VE, and LXC before 4
            return parts[at + 1]
        found = _container_id(part)
        if found is not None:
            return found
        if part in _FOLDERS or part.startswith("kubepods"):
            for inner in parts[at + 1 :]:
                found = inner if is_container_id(inner) else _container_id(inner)
                if found is not None:
                    return found
    return None


def _container_id(part: str) -> str | None:
    name = part[: -len(".scope")] if part.endswith(".scope") else part
    for prefix, _ in _PREFIXES:
        if name.startswith(prefix) and is_container_id(name[len(prefix) :]):
            return name[len(prefix) :]
    return None


def is_container_id(text: str) -> bool:
    """Whether text is a full container id: 64 hexadecimal digits."""
    return len(text) == 64 and all(c in "0123456789abcdef" for c in text)


def _read_exe(files: Files, pid: int) -> str | None:
    try:
        return printable(files.link(f"/proc/{pid}/exe"))
    except HostError:
        return None  # a kernel thread, or not ours to see


def _read_uid(files: Files, pid: int) -> int | None:
    try:
        raw = files.read(f"/proc/{pid}/status", 4096)
    except HostError:
        return None
    at = raw.find(b"\nUid:\t")
    if at < 0:
        return None
    first = raw[at + 6 : at + 24].split(b"\t", 1)[0]
    return int(first) if first.isdigit() else None


def _read_stat(files: Files, clock: Clock, pid: int) -> tuple[str | None, int | None]:
    """When it started, and its process group: fields 22 (ticks since boot) and 5 of /proc/PID/stat.

    The name in field 2 may hold blanks and brackets, so fields are counted from its last bracket.
    """
    try:
        raw = files.read(f"/proc/{pid}/stat", 4096)
    except HostError:
        return None, None
    fields = raw[raw.rfind(b")") + 2 :].split()
    if len(fields) < 20 or not (fields[19].isdigit() and fields[2].isdigit()):
        return None, None
    boot = clock.boot()
    started_at = None if boot is None else clock.stamp(boot + int(fields[19]) / _TICKS_PER_S)
    return started_at, int(fields[2])
