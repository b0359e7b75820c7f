"""What a node says of itself on the local network, and how to read what others say there.

Anyone on the network can say anything: what is read here is a place to try, and the handshake there
proves who answers.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Final

from blake3 import blake3

from bellande_mesh_sync.core.events import Found
from bellande_mesh_sync.ids import NODE_ID_BYTES, NodeId

SERVICE_TYPE: Final = "_bms._tcp.local."
ADDRESSES_MAX: Final = 8
"""Of one announcement. A node has one or two; the rest is not looked at."""

_TAG_CONTEXT: Final = "bellande-mesh-sync 1 mesh tag on the local network"
_TAG_DIGITS: Final = 16
_NODE_ID: Final = re.compile(rb"[0-9a-f]{%d}" % (2 * NODE_ID_BYTES))


def mesh_tag(mesh: bytes) -> str:
    """16 hex digits by which members know each other's announcements; the mesh id itself stays unsaid."""
    return blake3(mesh, derive_key_context=_TAG_CONTEXT).hexdigest()[:_TAG_DIGITS]


def instance_label(tag: str, node: NodeId) -> str:
    """The first part of a service's name: of which mesh, so that others need not ask, and of which node."""
    return f"{tag}-{node.hex()[:16]}"


def is_of_mesh(name: str, tag: str) -> bool:
    """Whether a service of this full name says that it is of our mesh."""
    return re.fullmatch(rf"{tag}-[0-9a-f]{{16}}\.{re.escape(SERVICE_TYPE)}", name) is not None


def announced_text(tag: str, node: NodeId) -> dict[str, str]:
    """The TXT record."""
    return {"mesh": tag, "node": node.hex()}


def read_announcement(
    tag: str,
    text: Mapping[bytes, bytes | None],
    port: int | None,
    hosts: Iterable[str],
    *,
    is_loopback: bool,
) -> Found | None:
    """Where a member may be, or None if this says nothing of one of our mesh.

    Args:
        hosts: IP addresses as text; those nobody can be dialled at are left out.
        is_loopback: whether we are reached on this machine only. Then only loopback addresses count,
            and otherwise none of them: a stranger must not point us at a program beside us.
    """
    node = text.get(b"node")
    if text.get(b"mesh") != tag.encode() or node is None or not _NODE_ID.fullmatch(node):
        return None
    if port is None or not 0 < port < 65_536:
        return None
    found: dict[str, None] = {}
    for host in hosts:
        if len(found) == ADDRESSES_MAX:
            break
        if _is_dialable(host, is_loopback):
            found[f"[{host}]:{port}" if ":" in host else f"{host}:{port}"] = None
    return Found(NodeId(bytes.fromhex(node.decode())), tuple(found)) if found else None


def _is_dialable(host: str, is_loopback: bool) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if address.is_multicast or address.is_unspecified:
        return False
    if address.version == 4 and address.is_reserved:  # 240.0.0.0/4, with the broadcast address.
        return False
    if address.version == 6 and (address.is_link_local or address.ipv4_mapped is not None):
        # The first means nothing without an interface; the second would hide a loopback address.
        return False
    return address.is_loopback == is_loopback
