"""Nodes that plan together: over the data of the mesh, with nobody in the middle."""

from __future__ import annotations

from bellande_mesh_sync.together.doors import ClientDoor, Door, MeshDoor
from bellande_mesh_sync.together.planning import plan_shared, plan_together
from bellande_mesh_sync.together.reservations import Reservation, Reservations
from bellande_mesh_sync.together.tubes import Corner, Tube, meet, tube_of

__all__ = [
    "ClientDoor",
    "Corner",
    "Door",
    "MeshDoor",
    "Reservation",
    "Reservations",
    "Tube",
    "meet",
    "plan_shared",
    "plan_together",
    "tube_of",
]
