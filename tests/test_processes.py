"""What a process is: its unit and container by control group, its name and age by /proc."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from machine_tree import Text, Tree
from mailports.model.facts import Holder
from mailports.observe.processes import (
    container_of,
    read_arguments,
    read_cgroup,
    read_holder,
    read_name,
    unit_of,
)

bounded = settings(max_examples=100, deadline=None)
ID = "4f2a" * 16
USER = "/user.slice/user-1000.slice/user@1000.service"


def process(pid: int = 812, **files: Text) -> dict[str, Text]:
    """A process's files below /proc."""
    return {f"/proc/{pid}/{name}": text for name, text in files.items()}


def stat(name: str, group: int, ticks: int) -> str:
    """A line of /proc/PID/stat: pid, name, state, ppid, group, 16 more, start time, the rest."""
    return f"812 ({name}) S 1 {group} 800 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 {ticks} 43008000 1500 18446744073\n"


# Control groups.


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("/system.slice/exim4.service", "exim4.service"),
        ("/system.slice/system-postfix.slice/postfix@-.service", "postfix@-.service"),
        ("/system.slice/dovecot.service/worker", "dovecot.service"),
        ("/system.slice/dovecot.socket", "dovecot.socket"),
        ("/init.scope", "init.scope"),
        ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope"),
        (f"{USER}/init.scope", "init.scope"),
        (f"{USER}/app.slice/foo.service", "foo.service"),
        ("/system.slice/_cgroup.service", "cgroup.service"),
        ("/system.slice/__x.service", "_x.service"),  # only the first `_` is systemd's, cg_escape()
        ("/machine.slice", None),
        ("/", None),
        ("", None),
        (None, None),
    ],
)
def test_the_unit_is_the_innermost_one(cgroup: str | None, unit: str | None) -> None:
    """A control group's path names its unit; groups below it are the unit's own."""
    assert unit_of(cgroup) == unit


@pytest.mark.parametrize(
    "cgroup",
    [
        f"/system.slice/docker-{ID}.scope",
        f"/system.slice/docker-{ID}.scope/system.slice/postfix.service",
        f"/docker/{ID}",
        f"/docker/{ID}/init.scope",
        f"/machine.slice/libpod-{ID}.scope",
        f"/machine.slice/libpod-{ID}.scope/container",
        f"/machine.slice/libpod-conmon-{ID}.scope",
        f"{USER}/user.slice/libpod-{ID}.scope/container",
        f"/kubepods.slice/kubepods-burstable.slice/cri-containerd-{ID}.scope",
        f"/kubepods.slice/kubepods-pod1.slice/crio-{ID}.scope",
        f"/kubepods/burstable/pod8c1d/{ID}",
    ],
)  # fmt: skip
def test_the_container_is_the_engines_id(cgroup: str) -> None:
    """Each engine's own spelling gives the 64 digits."""
    assert container_of(cgroup) == ID


@pytest.mark.parametrize(
    "cgroup",
    [f"/system.slice/mail.service/libpod-payload-{ID}", f"{USER}/app.slice/mail.service/libpod-payload-{ID}"],
)
def test_a_quadlets_payload_is_a_container(cgroup: str) -> None:
    """Quadlet runs Podman with --cgroups=split, which puts the container below its own unit."""
    assert (unit_of(cgroup), container_of(cgroup)) == ("mail.service", ID)


def test_podman_without_systemd() -> None:
    """Its cgroupfs manager puts the container below `libpod_parent`."""
    assert container_of(f"/libpod_parent/libpod-{ID}") == ID


@pytest.mark.parametrize(
    ("cgroup", "container"),
    [
        ("/lxc.payload.mx1", "mx1"),
        ("/lxc.payload.mx1/system.slice/postfix.service", "mx1"),
        ("/lxc/101/ns/system.slice/postfix.service", "101"),  # Proxmox VE
        ("/lxc/mx1", "mx1"),
    ],
)
def test_lxc_containers_have_names(cgroup: str, container: str) -> None:
    """LXC's groups are called by the container's name, on Proxmox its number."""
    assert container_of(cgroup) == container


@pytest.mark.parametrize(
    "cgroup",
    [
        "/system.slice/docker.service",
        "/system.slice/docker-cleanup.scope",
        "/system.slice/containerd.service",
        f"/system.slice/{ID}.service",
        f"{USER}/app.slice/docker-registry.scope",
        "/docker",
        "/docker/buildkit",
        "/lxc.monitor.mx1",
        "/",
        "",
        None,
    ],
)
def test_what_is_no_container(cgroup: str | None) -> None:
    """An engine's own unit is none, nor is a scope that only begins like one."""
    assert container_of(cgroup) is None


@given(st.lists(st.sampled_from([*"/_-@.", "docker", "libpod-", "lxc", ".scope", ".service", ID]), max_size=12))
@bounded
def test_any_path_has_an_answer(parts: list[str]) -> None:
    """What is found is a part of the path."""
    path = "".join(parts)
    for found in (unit_of(path), container_of(path)):
        assert found is None or found in path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("0::/system.slice/exim4.service\n", "/system.slice/exim4.service"),
        ("3:cpu,cpuacct:/x\n1:name=systemd:/system.slice/exim4.service\n", "/system.slice/exim4.service"),
        ("0::/a:b\n", "/a:b"),
        (b"0::/\xff\x1b\n", "/\\xff\\x1b"),
        ("", None),
    ],
)
def test_the_path_of_a_process(text: Text, path: str | None) -> None:
    """The unified hierarchy's, or systemd's own on a version 1 host."""
    assert read_cgroup(Tree(process(cgroup=text)), 812) == path


def test_a_hybrid_host_has_its_units_in_systemds_hierarchy() -> None:
    """Where the unified hierarchy says only `/`, systemd's own names the unit, in either order of lines."""
    lines = ["1:name=systemd:/system.slice/exim4.service\n", "0::/\n"]
    for text in ("".join(lines), "".join(reversed(lines))):
        assert read_cgroup(Tree(process(cgroup=text)), 812) == "/system.slice/exim4.service"


# /proc.


def test_a_process_that_can_be_read() -> None:
    """Everything is there: name, executable, unit, owner, arguments, age and group."""
    files = process(
        comm="master\n",
        cgroup="0::/system.slice/system-postfix.slice/postfix@-.service\n",
        status="Name:\tmaster\nState:\tS\nUid:\t107\t0\t0\t0\nGid:\t0\t0\t0\t0\n",
        cmdline="/usr/lib/postfix/sbin/master\0-w\0",
        stat=stat("master", 812, 12345),
    )
    tree = Tree(files, links={"/proc/812/exe": "/usr/lib/postfix/sbin/master"})
    assert read_holder(tree, tree, 812) == Holder(
        812, "master", "/usr/lib/postfix/sbin/master", "postfix@-.service", None, 107,
        ("/usr/lib/postfix/sbin/master", "-w"), f"{tree.now() - 3600 + 123.45:.0f}", 812,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["a b", "a) S 1 2 3", "(x", ")) ((", ") S 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9"])
def test_a_name_with_blanks_and_brackets(name: str) -> None:
    """/proc/PID/stat is counted from the last bracket, so a name can't pose as fields."""
    tree = Tree(process(comm=name, stat=stat(name, 77, 100)))
    holder = read_holder(tree, tree, 812)
    assert holder is not None
    assert (holder.name, holder.group, holder.started_at) == (name, 77, f"{tree.now() - 3599:.0f}")


def test_a_process_that_is_gone() -> None:
    """It is None, not a holder without a name."""
    tree = Tree()
    assert read_holder(tree, tree, 812) is None
    assert (read_name(tree, 812), read_cgroup(tree, 812), read_arguments(tree, 812)) == (None, None, ())


def test_a_process_that_may_not_be_traced() -> None:
    """Only its executable is hidden from others; the rest is still there."""
    tree = Tree(process(comm="master\n", cmdline="master\0"), refused=("/proc/812/exe",), uid=1000)
    holder = read_holder(tree, tree, 812)
    assert holder is not None
    assert (holder.name, holder.exe, holder.argv, holder.uid) == ("master", None, ("master",), None)


def test_a_kernel_thread() -> None:
    """It has neither arguments nor an executable."""
    tree = Tree(process(comm="nfsd\n", cmdline=""))
    holder = read_holder(tree, tree, 812)
    assert holder is not None
    assert (holder.argv, holder.exe) == ((), None)


def test_hostile_names_are_made_printable() -> None:
    """Escapes, newlines and bytes that aren't UTF-8 can't reach a terminal."""
    raw = b"\x1b]0;pwned\x07\xff\n\xe2\x80\xaex"
    tree = Tree(process(comm=raw + b"\n", cmdline=b"a\0" + raw + b"\0"))
    holder = read_holder(tree, tree, 812)
    assert holder is not None
    assert holder.name == "\\x1b]0;pwned\\x07\\xff\\x0a\\xe2\\x80\\xaex"
    assert holder.argv == ("a", holder.name)


def test_long_arguments_are_cut() -> None:
    """4 KiB are kept."""
    tree = Tree(process(comm="x", cmdline=b"x\0" + b"y" * 100_000))
    assert sum(map(len, read_arguments(tree, 812))) < 4096


@given(st.dictionaries(st.sampled_from(("comm", "cgroup", "status", "cmdline", "stat")), st.binary(max_size=200)))
@bounded
def test_any_bytes_give_a_holder(files: dict[str, bytes]) -> None:
    """No file of a process raises, and all text is printable."""
    tree = Tree(process(812, **files))
    holder = read_holder(tree, tree, 812)
    assert (holder is None) == ("comm" not in files)
    assert holder is None or all(text.isprintable() for text in (holder.name or "", holder.unit or "", *holder.argv))


@given(st.lists(st.text(alphabet="0123456789-²x", max_size=4), max_size=25))
@bounded
def test_any_fields_of_stat_give_a_holder(fields: list[str]) -> None:
    """What looks like a number and isn't one is unknown."""
    tree = Tree(process(comm="x", stat=f"812 (x) {' '.join(fields)}"))
    holder = read_holder(tree, tree, 812)
    assert holder is not None
