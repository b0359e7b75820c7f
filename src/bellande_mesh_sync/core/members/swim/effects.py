"""What the failure detector asks its shell to do."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from bellande_mesh_sync.core.effects import Log, MemberChanged, PeerForgotten, PeerRecorded, Stop
from bellande_mesh_sync.core.effects import SendDatagram as SendDatagram
from bellande_mesh_sync.core.members.swim.messages import StreamMessage
from bellande_mesh_sync.core.members.swim.timers import SwimTimer
from bellande_mesh_sync.ids import NodeId


class SendStream(Struct, frozen=True, gc=False):
    """Send over the link to this node, or over one opened for it; dropped without a word if none can be."""

    target: NodeId | str
    """A node, or an address where any member may answer (a seed)."""
    message: StreamMessage


class SetTimer(Struct, frozen=True, gc=False):
    """Bring `timer` back at its `due_ns` or a little later. Timers are never cancelled."""

    timer: SwimTimer


class GoodbyeSaid(Struct, frozen=True, gc=False):
    """The word that this node leaves or sleeps is out: it may stop now."""


SwimEffect: TypeAlias = (
    SendDatagram
    | SendStream
    | SetTimer
    | PeerRecorded
    | PeerForgotten
    | MemberChanged
    | GoodbyeSaid
    | Log
    | Stop
)
