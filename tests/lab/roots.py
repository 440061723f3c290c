"""Which Debian systems the lab boots, and how each is made once and shared by everything that boots it."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent / "scripts"
MAKING_S = 900
"""How long a root may take, with a slow mirror and another one being made beside it."""

_INIT = ("systemd-sysv", "dbus", "python3")
ROOTS = {
    "mail": (
        "bookworm",
        *_INIT,
        *("postfix", "dovecot-imapd", "dovecot-pop3d", "dovecot-lmtpd", "nftables", "iptables"),
    ),
    "exim": ("bookworm", *_INIT, "exim4-daemon-light"),
    "rpc": ("bookworm", *_INIT, "nfs-common", "rpcbind"),
    "docker": (
        "trixie",
        *_INIT,
        *("docker.io", "docker-cli", "docker-compose", "iptables", "busybox-static", "postfix", "curl"),
    ),
    "podman": (
        "trixie",
        *_INIT,
        *("podman", "passt", "slirp4netns", "uidmap", "netavark", "aardvark-dns", "crun", "catatonit"),
        *("nftables", "iptables", "busybox-static", "dbus-user-session", "libpam-systemd", "postfix", "curl"),
    ),
}
"""Suite and packages of each root. One a set of products, never one a test: making one takes 10 to 40 s."""


def cache() -> Path:
    """Return the directory that keeps the roots from run to run."""
    own = os.environ.get("MAILPORTS_LAB")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mailports" / "lab"


def why_not() -> str | None:
    """Say why this machine can't run a lab; None where it can."""
    if os.geteuid() != 0:
        return "the lab needs root"
    if not any(line.split()[2] == "cgroup2" for line in Path("/proc/mounts").read_text().splitlines()):
        return "the lab needs a cgroup2 mount"
    if "\toverlay\n" not in Path("/proc/filesystems").read_text():
        return "the lab needs overlayfs"
    for tool in ("unshare", "setpriv", "nsenter", "ip", "flock"):
        if shutil.which(tool) is None:
            return f"the lab needs {tool}: scripts/install-test-tools"
    namespaces = ["unshare", "--mount", "--pid", "--net", "--cgroup", "--fork", "true"]
    if subprocess.run(namespaces, stderr=subprocess.DEVNULL, timeout=30, check=False).returncode != 0:
        return "the lab needs to make namespaces (CAP_SYS_ADMIN)"
    return None


def is_made(name: str) -> bool:
    """Tell whether the root is there and made of the packages that it should have."""
    mark = cache() / "roots" / name / ".lab"
    return mark.is_file() and mark.read_text() == " ".join(ROOTS[name]) + "\n"


@contextmanager
def using(name: str) -> Iterator[Path]:
    """Give the directory of a root, made now if need be; nobody replaces it meanwhile."""
    (cache() / "roots").mkdir(parents=True, exist_ok=True)
    with (cache() / f"{name}.lock").open("w") as lock:
        _take(lock.fileno(), fcntl.LOCK_SH)
        while not is_made(name):
            _take(lock.fileno(), fcntl.LOCK_UN)
            _take(lock.fileno(), fcntl.LOCK_EX)
            if not is_made(name):
                _make(name)
            _take(lock.fileno(), fcntl.LOCK_SH)
        yield cache() / "roots" / name


def _make(name: str) -> None:
    suite, *packages = ROOTS[name]
    environment = {"PATH": os.environ["PATH"], "LAB": str(cache() / "cache")}
    argv = [str(SCRIPTS / "mkroot.sh"), suite, str(cache() / "roots" / name), *packages]
    with subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE, text=True) as maker:
        try:
            _, said = maker.communicate(timeout=MAKING_S)
        except BaseException:
            maker.terminate()  # its trap removes what is half made
            raise
    if maker.returncode != 0:
        raise RuntimeError(f"mkroot.sh {name}: {said.strip()}")


def _take(descriptor: int, kind: int) -> None:
    """Take a file lock, but don't wait for ever."""
    deadline = time.monotonic() + MAKING_S
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return
