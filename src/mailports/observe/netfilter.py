"""The netfilter rules of one namespace: runs the tools that print them; `firewalls` reads what they print.

First the kernel is asked whether it has any table at all, which spares most hosts the start of a program.
`nft` shows every table of nf_tables, those of iptables-nft too, but not always whole: then iptables' own
save tools are asked as well. The legacy tables are only asked for where the kernel has some, since the
legacy tools load their module just by being run.

Source: nft(8), iptables-save(8); include/uapi/linux/netfilter/nf_tables.h (NFT_MSG_GETTABLE);
/proc/net/ip_tables_names.
"""

from __future__ import annotations

import struct

from mailports.faults import HostError
from mailports.model.facts import ALL, NONE, SOME, Look, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailports.door import Host
    from mailports.firewalls.chains import Reading
    from mailports.firewalls.netfilter import Printed

_NFT_MSG_GETTABLE = 10 << 8 | 1
_NLM_F_REQUEST, _NLM_F_DUMP = 1, 0x300
_GET_TABLES = struct.pack("=IHHIIBBH", 20, _NFT_MSG_GETTABLE, _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0, 0, 0, 0)
_NO_SUBSYSTEM = ("EINVAL", "EPROTONOSUPPORT", "EOPNOTSUPP")  # a kernel without nf_tables, or without nfnetlink
_NLMSG_DONE = 3
_LISTED = 1000


def look_at_netfilter(host: Host, netns: str) -> tuple[Reading | None, Look]:
    """Return a namespace's redirects and gates (None where it has no rules at all), and how far they were seen."""
    try:
        has_tables = _has_tables(host)
    except HostError as error:
        if error.is_permission and host.uid != 0:
            why = "only root may read netfilter rules"
            return None, Look("netfilter", netns, NONE, "nfnetlink", why, "run as root")
        has_tables = True  # let the tools say what is wrong
    if not has_tables and not legacy_tables(host):
        return None, Look("netfilter", netns, ALL, "nfnetlink")
    return _read_rules(host, netns)


def _has_tables(host: Host) -> bool:
    """Whether nf_tables has a table in this namespace. Raises HostError where the kernel won't say."""
    try:
        answer = host.netfilter(_GET_TABLES)
    except HostError as error:
        if error.errno in _NO_SUBSYSTEM:
            return False
        raise
    _, kind = struct.unpack_from("=IH", answer, 0) if len(answer) >= 16 else (0, _NLMSG_DONE)
    return bool(kind != _NLMSG_DONE)


def legacy_tables(host: Host) -> bool:
    """Whether the kernel has tables of iptables-legacy; true where that can't be read."""
    for name in ("ip_tables_names", "ip6_tables_names"):
        try:
            if host.read(f"/proc/thread-self/net/{name}", 4096).strip():
                return True
        except HostError as error:
            if error.errno != "ENOENT":
                return True
    return False


def _read_rules(host: Host, netns: str) -> tuple[Reading, Look]:
    from mailports.firewalls.netfilter import read_netfilter

    printed, refusals = _print(host)
    reading = read_netfilter(printed, netns)
    problems = [*refusals, *(f"{table} is only shown in part" for table in reading.left_out)]
    problems += reading.problems[: 3 - min(3, len(problems))]
    if not any(printed):
        hint = "run as root" if host.uid != 0 else "install nftables or iptables"
        why = "; ".join(refusals) or "neither nft nor iptables is installed"
        return reading, Look("netfilter", netns, NONE, "nft", why, hint)
    if problems:
        return reading, Look("netfilter", netns, SOME, "nft, iptables-save", "; ".join(problems)[:_LISTED])
    return reading, Look("netfilter", netns, ALL, "nft, iptables-save")


def _print(host: Host) -> tuple[Printed, list[str]]:
    """What the tools print, and why those that ran failed; a tool that isn't installed is no failure."""
    from mailports.firewalls.netfilter import Printed
    from mailports.firewalls.nft import read_ruleset

    refusals: list[str] = []
    ruleset = _run(host, ("nft", "-j", "list", "ruleset"), refusals)
    nft_save: list[bytes | None] = [None, None]
    if ruleset is None or read_ruleset(ruleset, None).needs_iptables_save:
        nft_save = [_run(host, (tool,), refusals) for tool in ("iptables-nft-save", "ip6tables-nft-save")]
    legacy: list[bytes | None] = [None, None]
    if legacy_tables(host):
        legacy = [_run(host, (tool,), refusals) for tool in ("iptables-legacy-save", "ip6tables-legacy-save")]
        if not any(legacy) and not any(nft_save) and not refusals:
            refusals.append("the kernel has legacy iptables tables, and no tool here prints them")
    return Printed(ruleset, *nft_save, *legacy), refusals


def _run(host: Host, argv: tuple[str, ...], refusals: list[str]) -> bytes | None:
    try:
        ran = host.run(argv)
    except HostError as error:
        if error.errno != "ENOENT":
            refusals.append(str(error))
        return None
    if ran.status != 0:
        first = ran.stderr.strip().split(b"\n")[0][:200]
        refusals.append(f"{argv[0]}: {printable(first) or f'ended with {ran.status}'}")
        return None
    if ran.is_cut:
        refusals.append(f"{argv[0]} printed more than can be read")
    return ran.stdout
