"""What two nodes must agree on before a link is up. Pure: the link decides what to do with a refusal."""

from __future__ import annotations

from typing import NamedTuple

from bellande_mesh_sync.core.members.member import Verify, is_genuine
from bellande_mesh_sync.core.messages import Hello
from bellande_mesh_sync.errors import VersionMismatchError
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.wire.versions import choose_protocol


class Refusal(NamedTuple):
    """Why a link does not come up: a stable code, and a sentence for both ends' operators."""

    code: str
    reason: str


def judge_hello(
    theirs: Hello,
    ours: Hello,
    *,
    proven: NodeId | None,
    expected: NodeId | None,
    verify: Verify | None,
) -> Refusal | None:
    """None if the link may open.

    Args:
        proven: whose certificate TLS has seen; None on a plain link.
        expected: whom we dialled; None if any member will do.
        verify: checks the signature of the peer's member record; None takes it as it is.
    """
    try:
        choose_protocol(theirs, ours.protocol_oldest, ours.protocol_newest)
    except VersionMismatchError as error:
        return Refusal(error.code, str(error))
    if theirs.mesh != ours.mesh:
        return Refusal(
            "wrong_mesh", f"one node is of mesh {theirs.mesh.hex()}, the other of {ours.mesh.hex()}"
        )
    if proven is not None and theirs.node != proven:
        return Refusal("authentication_failed", "the Hello names another node than the certificate")
    refusal = judge_node(theirs.node, ours.node, expected)
    if refusal is not None:
        return refusal
    if theirs.lane != ours.lane:
        return Refusal("bad_frame", "the Hello is for another lane")
    if theirs.member.node != theirs.node:
        return Refusal("authentication_failed", "the member record in the Hello is another node's")
    if verify is not None and not is_genuine(theirs.member, verify):
        return Refusal("authentication_failed", "the member record in the Hello is not signed by its node")
    return None


def judge_node(found: NodeId, own: NodeId, expected: NodeId | None) -> Refusal | None:
    """Whether this is a node to have a link with, and the one that was dialled."""
    if found == own:
        return Refusal("self", "both ends are the same node")
    if expected is not None and found != expected:
        return Refusal("wrong_node", f"node {found.hex()} answers there, not {expected.hex()}")
    return None
