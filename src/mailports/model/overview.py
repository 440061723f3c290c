"""The short answer: which listeners matter, and the one line that stands above them."""

from __future__ import annotations

from mailports.model.facts import Endpoint, Holder, Publish
from mailports.record import Record


class Listener(Record):
    """A row of `status`.

    Attributes:
        endpoint: where it listens.
        service: the port's name in the catalogue; null for others.
        holders: who has it; always a list.
        holders_extent: whether all, some or none of the holders were looked for.
        publish: the container port behind it, where an engine publishes it.
        redirects: where netfilter takes its traffic, as text.
        findings: names of the findings on it.
    """

    endpoint: Endpoint
    service: str | None
    holders: tuple[Holder, ...]
    holders_extent: str
    publish: Publish | None
    redirects: tuple[str, ...]
    findings: tuple[str, ...]


class Overview(Record):
    """What `status` shows.

    Attributes:
        summary: the first line: how many mail ports are listened on, and what is wrong.
        listeners: the rows, by namespace and port.
        absent: standard mail ports that nothing listens on.
    """

    summary: str
    listeners: tuple[Listener, ...]
    absent: tuple[int, ...]
