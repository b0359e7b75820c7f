"""Nodes that plan together: over the data of the mesh, with nobody in the middle."""

from __future__ import annotations

from bellande_mesh_sync.together.doors import ClientDoor, Door, MeshDoor
from bellande_mesh_sync.together.planning import plan_shared, plan_together

__all__ = ["ClientDoor", "Door", "MeshDoor", "plan_shared", "plan_together"]
