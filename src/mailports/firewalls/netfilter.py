"""All of a namespace's netfilter in one Reading, from what `nft` and iptables' save tools printed.

It decides which tool is believed about which table; it runs none of them and reads no syntax.

Each base chain is read once. nft's JSON shows every table of nf_tables; those in which iptables hides
details (`Reading.left_out`) are taken from the nf_tables variant of the save tools. Where that isn't there
or calls a table incompatible, the JSON is read after all and says in `when` what it hides. The legacy
tables are other tables in the kernel and come from the legacy save tools alone.

Limits: the tools run one after the other, so a change between them may be seen half.
"""

from __future__ import annotations

from mailports.firewalls.chains import Reading
from mailports.firewalls.iptables import read_save
from mailports.firewalls.nft import read_ruleset
from mailports.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Printed(Record):
    """What the tools printed in one namespace; None where a tool wasn't run, isn't there, or failed.

    Attributes:
        ruleset: ``nft -j list ruleset``.
        nft_save: ``iptables-nft-save``.
        nft_save6: ``ip6tables-nft-save``.
        legacy_save: ``iptables-legacy-save``.
        legacy_save6: ``ip6tables-legacy-save``.
    """

    ruleset: bytes | str | None = None
    nft_save: bytes | str | None = None
    nft_save6: bytes | str | None = None
    legacy_save: bytes | str | None = None
    legacy_save6: bytes | str | None = None


def read_netfilter(printed: Printed, netns: str | None) -> Reading:
    """Return the redirects and gates of a namespace.

    `left_out` of the result names the tables of which only a part could be shown.
    """
    readings = [*_nf_tables(printed, netns)]
    for text, family in ((printed.legacy_save, 4), (printed.legacy_save6, 6)):
        if text is not None:
            readings.append(read_save(text, netns, family, "iptables-legacy"))
    return Reading(
        tuple(r for reading in readings for r in reading.redirects),
        tuple(g for reading in readings for g in reading.gates),
        tuple(dict.fromkeys(p for reading in readings for p in reading.problems)),
        left_out=tuple(dict.fromkeys(t for reading in readings for t in reading.left_out)),
    )


def _nf_tables(printed: Printed, netns: str | None) -> Iterator[Reading]:
    saves = [(text, family) for text, family in ((printed.nft_save, 4), (printed.nft_save6, 6)) if text is not None]
    if printed.ruleset is None:
        yield from (read_save(text, netns, family, "nft") for text, family in saves)
        return
    dump = read_ruleset(printed.ruleset, netns)
    if not dump.left_out:
        yield dump
        return
    readings = [read_save(text, netns, family, "nft", dump.left_out) for text, family in saves]
    shown = {"ip6" if family == 6 else "ip" for _, family in saves}
    hidden = {table for reading in readings for table in reading.left_out}
    hidden.update(table for table in dump.left_out if table.split()[0] not in shown)
    if hidden:
        dump = read_ruleset(printed.ruleset, netns, hidden)
    yield dump._replace(needs_iptables_save=False, left_out=tuple(sorted(hidden)))
    yield from (reading._replace(left_out=()) for reading in readings)
