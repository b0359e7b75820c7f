"""Who the simulated nodes are: keys that cost nothing and protect nothing, but fit the real checks."""

from __future__ import annotations

from dataclasses import dataclass

from blake3 import blake3

from bellande_mesh_sync.core.members.member import Sign
from bellande_mesh_sync.ids import NodeId, node_id_of


@dataclass(frozen=True, slots=True)
class SimIdentity:
    index: int
    name: str
    node: NodeId
    public_key: bytes
    sign: Sign


def make_identity(seed: int, index: int) -> SimIdentity:
    public_key = blake3(f"{seed}/identity/{index}".encode()).digest()

    def sign(message: bytes) -> bytes:
        return _signature(public_key, message)

    return SimIdentity(index, f"n{index}", node_id_of(public_key), public_key, sign)


def verify(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """The other half of `SimIdentity.sign`. Never raises."""
    return len(public_key) == 32 and signature == _signature(public_key, message)


def _signature(public_key: bytes, message: bytes) -> bytes:
    # 64 bytes, as Ed25519 has them.
    return blake3(message, key=public_key).digest(length=64)
