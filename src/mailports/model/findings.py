"""What the facts mean: findings, their evidence, what they break, and the ways out."""

from __future__ import annotations

from mailports.model.facts import Endpoint
from mailports.record import Record

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITIES = (NOTE, WARNING, ERROR)


class Party(Record):
    """Someone who takes part in a finding; null where a field doesn't apply.

    Attributes:
        role: `holder`, `claimant`, `referrer`, `redirect`, `peer`, `publish`, …
        name: what to call it: `exim4`, `container mail`, `nft rule`.
        product: product of the catalogue.
        instance: which of that product's instances.
        endpoint: its own endpoint (`0.0.0.0` wants, `127.0.0.1` holds).
        pid: its process.
        unit: its systemd unit.
        container: its container.
        entry: the entry of its configuration, such as `smtp/inet`.
        path: file that says so.
        line: line in it, from 1.
        column: column in it, from 1.
    """

    role: str
    name: str | None
    product: str | None = None
    instance: str | None = None
    endpoint: Endpoint | None = None
    pid: int | None = None
    unit: str | None = None
    container: str | None = None
    entry: str | None = None
    path: str | None = None
    line: int | None = None
    column: int | None = None


class Evidence(Record):
    """A fact that a finding rests on, and where it was seen."""

    fact: str
    source: str


class Break(Record):
    """What a finding does to mail.

    Attributes:
        flow: `inbound relay`, `submission`, `filtering`, `outbound relay`, `delivery`, `access`, …
        effect: what happens, as a phrase.
        hop: the hop that fails, such as `remote MTA -> port 25`.
        peer_sees: what the other side sees.
        source: where that is known from.
    """

    flow: str
    effect: str
    hop: str | None = None
    peer_sees: str | None = None
    source: str | None = None


class Remedy(Record):
    """A way out.

    Attributes:
        id: such as `stop:exim4.service`; the same from run to run.
        kind: one of `remedies.KINDS`.
        summary: what to do, as a sentence in the imperative.
        rule: why this one, and why this party: the rule that chose it.
        moves: name of the party that moves or acts; null where nobody does, or where the deciding fact is unknown.
    """

    id: str
    kind: str
    summary: str
    rule: str
    moves: str | None = None


class Unknown(Record):
    """Something that couldn't be seen and could matter.

    Attributes:
        what: the fact.
        why: why it couldn't be seen.
        how_to_see: what would show it; null where nothing would.
        hides: names of the findings that it could hide.
        endpoint: the endpoint that it is about; null where it is about more.
    """

    what: str
    why: str
    how_to_see: str | None = None
    hides: tuple[str, ...] = ()
    endpoint: Endpoint | None = None


class Finding(Record):
    """Something that is wrong, by which facts, and the ways out.

    Attributes:
        name: its code, such as `shared-port`; `mailports rule NAME` explains it.
        severity: `error` mail is broken now, `warning` it will be or may be, `note` worth knowing.
        is_conflict: whether something else holds the endpoint or takes its traffic.
        summary: the first line; stands alone.
        endpoint: the endpoint that the summary names.
        endpoints: every endpoint that is concerned.
        parties: who takes part.
        evidence: the facts, each with its source.
        cause: equal for findings that one remedy ends.
        breaks: what it does to mail.
        remedies: the ways out, the preferred one first.
        unknown: what couldn't be seen of this finding.
        fingerprint: versioned hash that is the same from run to run.
    """

    name: str
    severity: str
    is_conflict: bool
    summary: str
    endpoint: Endpoint | None
    endpoints: tuple[Endpoint, ...] = ()
    parties: tuple[Party, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    cause: str = ""
    breaks: tuple[Break, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    unknown: tuple[Unknown, ...] = ()
    fingerprint: str = ""

    def concerns(self, endpoint: Endpoint) -> bool:
        """Whether it is about a listener: by its endpoint, or because that one is in another's way."""
        return endpoint in self.endpoints or any(p.role == "holder" and p.endpoint == endpoint for p in self.parties)


class Diagnosis(Record):
    """What the rules made of a Snapshot: findings, most severe first, and what they couldn't judge."""

    findings: tuple[Finding, ...]
    unknown: tuple[Unknown, ...]
