"""Network namespaces: which there are, and what to call them."""

from __future__ import annotations

from machine_tree import Text, Tree
from mailports.observe.namespaces import Census, take_census

ID = "4f2a" * 16
OWN = 4026531840


def host(
    processes: dict[int, tuple[int, str]],
    mounts: dict[int, str] | None = None,
    hidden: tuple[int, ...] = (),
) -> Tree:
    """A host of processes: by pid the namespace's inode, and the control group."""
    files: dict[str, Text] = {"/proc/self/net/tcp": ""}
    inodes = {"/proc/self/ns/net": OWN, "/proc/self/net/tcp": 1}
    entries = {OWN: 1}
    for pid, (inode, cgroup) in processes.items():
        files[f"/proc/{pid}/cgroup"] = f"0::{cgroup}\n"
        inodes[f"/proc/{pid}/ns/net"] = inode
        inodes[f"/proc/{pid}/net/tcp"] = entries.setdefault(inode, len(entries) + 1)
    lines = [f"9 8 0:4 net:[{inode}] {path} rw shared:1 - nsfs nsfs rw\n" for inode, path in (mounts or {}).items()]
    files["/proc/self/mountinfo"] = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" + "".join(lines)
    return Tree(files, inodes=inodes, refused=[f"/proc/{pid}/ns" for pid in hidden])


def labels(census: Census) -> list[str]:
    return [namespace.label for namespace in census.namespaces]


def test_ours_is_here() -> None:
    """It is first, has no path to enter, and knows some of its processes."""
    census = take_census(host({1: (OWN, "/init.scope"), 812: (OWN, "/system.slice/x.service")}), everyone=True)
    (here,) = census.namespaces
    assert (here.label, here.inode, here.pids) == ("here", OWN, (1, 812))
    assert (census.paths, census.labels) == ({"here": None}, {1: "here", 812: "here"})


def test_a_container_names_its_namespace() -> None:
    """By the id in its control group, for each of its processes."""
    census = take_census(host({70: (7, f"/system.slice/docker-{ID}.scope"), 71: (7, "/x")}), everyone=True)
    assert labels(census) == ["here", f"container:{ID[:12]}"]
    assert census.paths[f"container:{ID[:12]}"] == "/proc/70/ns/net"
    assert census.labels == {70: f"container:{ID[:12]}", 71: f"container:{ID[:12]}"}


def test_a_unit_names_its_namespace() -> None:
    """A service with PrivateNetwork= has one of its own."""
    assert labels(take_census(host({70: (7, "/system.slice/rspamd.service")}), everyone=True)) == [
        "here",
        "unit:rspamd.service",
    ]


def test_a_login_names_none() -> None:
    """What someone unshared in a session is only a number."""
    groups = ("/user.slice/user-0.slice/session-3.scope", "/user.slice/user-0.slice/user@0.service/x", "/init.scope")
    for group in groups:
        assert labels(take_census(host({70: (7, group)}), everyone=True)) == ["here", "inode:7"]


def test_a_mount_names_its_namespace() -> None:
    """The name that an administrator gave with `ip netns` is better than a unit's."""
    census = take_census(host({70: (7, "/system.slice/x.service")}, mounts={7: "/run/netns/mail"}), everyone=True)
    assert labels(census) == ["here", "name:mail"]
    assert census.namespaces[1].mount == census.paths["name:mail"] == "/run/netns/mail"


def test_an_engines_mount_is_no_name() -> None:
    """Podman's and CNI's are ids: the container names it, or nothing does."""
    mounts = {7: "/run/netns/netns-1f2e", 8: "/run/netns/cni-77", 9: "/run/docker/netns/abc"}
    census = take_census(host({70: (7, f"/machine.slice/libpod-{ID}.scope")}, mounts), everyone=True)
    assert labels(census) == ["here", f"container:{ID[:12]}", "inode:8", "inode:9"]


def test_labels_are_unique() -> None:
    """A unit's second namespace is called by its number."""
    unit = "/system.slice/rspamd.service"
    assert labels(take_census(host({70: (7, unit), 71: (8, unit)}), everyone=True)) == [
        "here",
        "unit:rspamd.service",
        "inode:8",
    ]


def test_a_quick_look_is_at_mounts_alone() -> None:
    """No process is looked at."""
    tree = host({70: (7, "/system.slice/x.service")}, mounts={8: "/run/netns/mail"})
    assert labels(take_census(tree, everyone=False)) == ["here", "name:mail"]


def test_processes_that_may_not_be_traced() -> None:
    """The inode of /proc/PID/net/tcp tells them apart: those of a known namespace belong to it."""
    processes = {1: (OWN, "/init.scope"), 70: (7, "/system.slice/a.service"), 71: (7, "/system.slice/a.service")}
    census = take_census(host(processes, hidden=(1, 71)), everyone=True)
    assert labels(census) == ["here", "unit:a.service"]
    assert census.labels == {1: "here", 70: "unit:a.service", 71: "unit:a.service"}


def test_a_namespace_of_which_nothing_may_be_traced() -> None:
    """It is found all the same."""
    census = take_census(host({70: (7, "/system.slice/a.service")}, hidden=(70,)), everyone=True)
    assert labels(census) == ["here", "unit:a.service"]


def test_at_most_eight_processes_are_kept() -> None:
    """A namespace's noun names some of its processes, its labels all."""
    census = take_census(host(dict.fromkeys(range(70, 90), (7, "/x"))), everyone=True)
    assert census.namespaces[1].pids == tuple(range(70, 78))
    assert len(census.labels) == 20


def test_blanks_and_hostile_names_in_mounts() -> None:
    """The kernel escapes blanks in mountinfo; what is shown is printable, what is entered is the path."""
    tree = host({}, mounts={7: "/run/netns/a\\040b", 8: "/run/netns/c\x1b[2J"})
    census = take_census(tree, everyone=False)
    assert census.paths["name:a b"] == "/run/netns/a b"
    assert all(n.label.isprintable() and (n.mount or "").isprintable() for n in census.namespaces)


def test_a_machine_that_shows_nothing() -> None:
    """There is still a here."""
    assert labels(take_census(Tree(), everyone=True)) == ["here"]
