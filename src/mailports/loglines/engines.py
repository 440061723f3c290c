"""How container engines say that a published port failed them.

Source: captured lines of Docker Engine 26.1, Compose 2.26, podman 4.3 and 5.4 with pasta, slirp4netns and rootlessport;
[D] lines of newer Docker, Docker Desktop and Windows.

Limits: `Address already in use` after `Error response from daemon:` or `Cannot start service X:` and without a port is
about an address of a container's network: call `start`, errno empty, entry `address`; overlapping pools: entry `pool`.
Docker's `port is already allocated` has no errno in the text; it is EADDRINUSE all the same.
"""

from __future__ import annotations

from mailports.loglines.rows import NONE, Row, form

_NAMED = r"on endpoint (?P<container>[\w.-]{1,120}) \("

ENGINES: tuple[Row, ...] = (
    Row("docker", "pool overlaps", form(r"Pool overlaps with other one"), "start", NONE, "pool"),
    Row("docker", "subnet is already", form(r"subnet (?:\S{1,45} )?is already (?:used|in use)"), "start", NONE, "pool"),
    Row("podman", "is already used on the host", form(r"subnet \S{1,45} is already used on"), "start", NONE, "pool"),
    Row(
        "docker",
        "address already in use",
        form(
            r"(?:Error response from daemon: |Cannot start service \S{1,120}: |container networking: )"
            r"Address already in use"
        ),
        "start",
        NONE,
        "address",
    ),
    Row(
        "docker",
        "external connectivity",
        form(
            rf"{_NAMED}.{{1,120}}\): .{{0,200}}?(?:Bind for|listen (?P<protocol>tcp|udp)(?P<family>[46]?)"
            r"|failed to bind host port(?: for)?) \[?(?P<address>[0-9a-f.:]{0,45}?)\]?:(?P<port>\d{1,5})(?:[\s:/]|$)"
        ),
        "publish",
    ),
    Row("docker", "external connectivity", form(_NAMED), "publish"),
    Row(
        "docker",
        "bind for ",
        form(r"Bind for \[?(?P<address>[0-9a-f.:]{0,45}?)\]?:(?P<port>\d{1,5}) failed"),
        "publish",
    ),
    Row("docker", "ports are not available", form(r"Ports are not available"), "publish", finds=True),
    Row("docker", "error starting userland proxy", form(r"Error starting userland proxy"), "publish", finds=True),
    Row("docker", "failed to bind host port", form(r"failed to bind host port"), "publish", finds=True),
    Row(
        "podman",
        "failed to bind port",
        form(r"Failed to bind port (?P<port>\d{1,5}) \(.{1,60}\) for option '-(?P<option>[tu])"),
        "publish",
    ),
    Row("podman", "rootlessport", form(r"rootlessport"), "publish", finds=True),
    Row("podman", "slirp4netns", form(r"slirp4netns.{0,200}(?:bind|add_hostfwd)"), "publish", finds=True),
    Row("podman", "cannot listen on the", form(r"cannot listen on the (?:TCP|UDP|SCTP) port"), "publish", finds=True),
)
