"""Network devices and addresses of one namespace, by rtnetlink(7). Requests and decoding are pure.

Source: rtnetlink(7); include/uapi/linux/if_link.h, if_addr.h (IFA_F_TENTATIVE 0x40).
"""

from __future__ import annotations

import struct

from mailports.faults import HostError
from mailports.model.facts import Address, printable
from mailports.observe.inet_diag import AF_INET, AF_INET6, address_text
from mailports.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailports.door import Kernel

_RTM_NEWLINK, _RTM_GETLINK = 16, 18
_RTM_NEWADDR, _RTM_GETADDR = 20, 22
_NLM_F_REQUEST, _NLM_F_DUMP = 1, 0x300
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_INFO_KIND = 3, 18, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_TENTATIVE = 0x40


class Link(Record):
    """A network device: its name, and its kind where it isn't a plain one (`bridge`, `veth`, …)."""

    name: str
    kind: str | None


def request(kind: int) -> bytes:
    """Return the request for a dump of links or addresses, of every family."""
    return struct.pack("=IHHII", 32, kind, _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0) + bytes(16)


def read_links(kernel: Kernel) -> dict[int, Link]:
    """Return the devices by index. Raises HostError."""
    links = {}
    for body in _messages(kernel.route(request(_RTM_GETLINK)), _RTM_NEWLINK):
        (index,) = struct.unpack_from("=i", body, 4)
        attributes = _attributes(body, 16)
        name = attributes.get(_IFLA_IFNAME, b"").rstrip(b"\0")
        kind = _attributes(attributes.get(_IFLA_LINKINFO, b""), 0).get(_IFLA_INFO_KIND, b"").rstrip(b"\0")
        links[index] = Link(printable(name), printable(kind) if kind else None)
    return links


def read_addresses(kernel: Kernel, netns: str, links: dict[int, Link]) -> list[Address]:
    """Return the addresses of a namespace. Raises HostError."""
    addresses = []
    for body in _messages(kernel.route(request(_RTM_GETADDR)), _RTM_NEWADDR):
        family, prefix, flags, _, index = struct.unpack_from("=BBBBI", body, 0)
        attributes = _attributes(body, 8)
        raw = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS) or b""
        if (family, len(raw)) not in ((AF_INET, 4), (AF_INET6, 16)):
            continue
        wide = attributes.get(_IFA_FLAGS)
        if wide is not None and len(wide) == 4:
            (flags,) = struct.unpack("=I", wide)
        link = links.get(index, Link(f"index {index}", None))
        text = address_text(raw)
        addresses.append(Address(text, prefix, link.name, netns, bool(flags & _TENTATIVE), link.kind))
    return addresses


def _messages(answer: bytes, wanted: int) -> list[bytes]:
    bodies = []
    at = 0
    while at + 16 <= len(answer):
        length, kind = struct.unpack_from("=IH", answer, at)
        if length < 16 or at + length > len(answer):
            raise HostError("read rtnetlink", "EBADMSG", f"message of {length} bytes doesn't fit")
        if kind == wanted and length >= 32 - 8:
            bodies.append(answer[at + 16 : at + length])
        at += (length + 3) & ~3
    return bodies


def _attributes(body: bytes, at: int) -> dict[int, bytes]:
    found = {}
    while at + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, at)
        if length < 4 or at + length > len(body):
            break
        found[kind & 0x3FFF] = body[at + 4 : at + length]  # the top bits are NLA_F_NESTED and byte order
        at += (length + 3) & ~3
    return found
