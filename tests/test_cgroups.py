"""From the id of a control group, which the kernel tells with each socket, to its path and processes."""

from __future__ import annotations

from machine_tree import Tree
from mailports.observe.cgroups import Groups

ROOT = "/sys/fs/cgroup"


def host(root: str = ROOT, **inodes: int) -> Tree:
    """A host with systemd's groups; those with an inode of interest are given by name."""
    paths = {
        "exim": f"{root}/system.slice/exim4.service",
        "postfix": f"{root}/system.slice/system-postfix.slice/postfix@-.service",
        "deep": f"{root}/system.slice/docker-x.scope/a/b/c",
        "top": root,
    }
    files = {
        f"{root}/cgroup.procs": "",
        f"{paths['exim']}/cgroup.procs": "812\n90\n0\n",
        f"{paths['postfix']}/cgroup.procs": "",
        f"{paths['deep']}/cgroup.procs": "",
        "/proc/self/mounts": f"tmpfs /run tmpfs rw 0 0\ncgroup2 {root} cgroup2 rw 0 0\n",
    }
    return Tree(files, inodes={paths[name]: inode for name, inode in inodes.items()})


def test_ids_lead_to_paths() -> None:
    """An id is the inode of the group's directory."""
    groups = Groups(host(exim=41, postfix=42))
    assert groups.resolve({41, 42}) == {
        41: "/system.slice/exim4.service",
        42: "/system.slice/system-postfix.slice/postfix@-.service",
    }


def test_the_roots_own_id() -> None:
    """A socket that was made outside every group is in `/`, and no directory is read for that."""
    tree = host(top=1)
    assert Groups(tree).resolve({1}) == {1: "/"}
    assert tree.asked == []


def test_an_id_that_is_gone_is_left_out() -> None:
    """A group that was removed has no path; the others are found."""
    assert Groups(host(exim=41)).resolve({41, 999}) == {41: "/system.slice/exim4.service"}


def test_the_search_is_breadth_first_and_ends_early() -> None:
    """Units are near the top: what lies below them isn't read for their sake."""
    tree = host(exim=41, deep=43)
    Groups(tree).resolve({41})
    assert tree.asked == [ROOT, f"{ROOT}/system.slice"]


def test_the_search_goes_on_where_it_ended() -> None:
    """A second question reads no directory twice, and a known one none at all."""
    tree = host(exim=41, deep=43)
    groups = Groups(tree)
    groups.resolve({41})
    assert groups.resolve({43, 41})[43] == "/system.slice/docker-x.scope/a/b/c"
    assert len(tree.asked) == len(set(tree.asked))
    before = list(tree.asked)
    groups.resolve({43})
    assert tree.asked == before


def test_any_iterable_of_ids() -> None:
    """Ids that can be gone through only once are resolved as well."""
    assert Groups(host(exim=41)).resolve(number for number in (41,)) == {41: "/system.slice/exim4.service"}


def test_the_search_for_what_is_not_there_ends() -> None:
    """An id that nothing has costs one reading of each group."""
    files = {f"{ROOT}/cgroup.procs": ""} | {f"{ROOT}/{n}/cgroup.procs": "" for n in range(50)}
    tree = Tree(files)
    assert Groups(tree).resolve({-1}) == {}
    assert len(tree.asked) == 51


def test_a_group_that_may_not_be_read_is_passed_over() -> None:
    """The rest is still searched."""
    tree = Tree(
        {f"{ROOT}/cgroup.procs": "", f"{ROOT}/a/x/cgroup.procs": "", f"{ROOT}/b/y/cgroup.procs": ""},
        inodes={f"{ROOT}/b/y": 7},
        refused=(f"{ROOT}/a",),
    )
    assert Groups(tree).resolve({7}) == {7: "/b/y"}


def test_the_hierarchy_may_be_elsewhere() -> None:
    """A hybrid host has it at `unified`, another wherever its mount table says."""
    assert Groups(host("/sys/fs/cgroup/unified", exim=41)).root() == "/sys/fs/cgroup/unified"
    assert Groups(host("/mnt/cgroup", exim=41)).resolve({41}) == {41: "/system.slice/exim4.service"}


def test_a_host_without_the_unified_hierarchy() -> None:
    """Nothing is resolved, and nothing raises."""
    groups = Groups(Tree({"/proc/self/mounts": "tmpfs /run tmpfs rw 0 0\n"}))
    assert (groups.root(), groups.resolve({1}), groups.pids("/x")) == (None, {}, [])
    assert Groups(Tree()).root() is None


def test_the_processes_of_a_group() -> None:
    """Lowest first; 0 stands for one that our pid namespace doesn't show."""
    groups = Groups(host(exim=41))
    assert groups.pids("/system.slice/exim4.service") == [90, 812]
    assert groups.pids("/gone") == []
    assert groups.pids("/") == []


def test_names_are_made_printable() -> None:
    """A group's name is whatever its maker liked."""
    tree = Tree({f"{ROOT}/cgroup.procs": "", f"{ROOT}/a\x1b[2J/cgroup.procs": ""}, inodes={f"{ROOT}/a\x1b[2J": 7})
    assert Groups(tree).resolve({7}) == {7: "/a\\x1b[2J"}
