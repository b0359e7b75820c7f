"""Meshes of whole nodes, as the tests of the mesh have them."""

from __future__ import annotations

from tests.mesh.conftest import play

__all__ = ["play"]
