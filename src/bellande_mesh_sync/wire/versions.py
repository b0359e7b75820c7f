"""Which protocol two nodes speak: the newest that both know."""

from __future__ import annotations

from bellande_mesh_sync.core.messages import PROTOCOL_NEWEST, PROTOCOL_OLDEST, Hello
from bellande_mesh_sync.errors import VersionMismatchError


def choose_protocol(theirs: Hello, oldest: int = PROTOCOL_OLDEST, newest: int = PROTOCOL_NEWEST) -> int:
    """The protocol to speak with the sender of `theirs`.

    Raises:
        VersionMismatchError: the two ranges have no version in common.
    """
    best = min(newest, theirs.protocol_newest)
    if best < max(oldest, theirs.protocol_oldest):
        raise VersionMismatchError(
            theirs=_span(theirs.protocol_oldest, theirs.protocol_newest), ours=_span(oldest, newest)
        )
    return best


def _span(oldest: int, newest: int) -> str:
    return str(oldest) if oldest == newest else f"{oldest} to {newest}"
