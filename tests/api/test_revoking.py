"""`/v1/revocations`: who may revoke, and what is told."""

from __future__ import annotations

import pytest

from bellande_mesh_sync.client import Client
from bellande_mesh_sync.errors import ForbiddenError, UsageError

from .conftest import Served


def test_a_node_is_revoked_and_listed(served: Served, client: Client) -> None:
    found = client.revoke("crane-2", reason="stolen")
    assert served.mesh.calls == [("revoke", "crane-2", "stolen")]
    assert (found.name, found.reason) == ("crane-2", "stolen")
    assert client.revocations() == (found,)


def test_what_the_mesh_refuses_is_told(served: Served, client: Client) -> None:
    served.mesh.faults["revoke"] = ForbiddenError("only an admin can", needed="admin", role="writer")
    with pytest.raises(ForbiddenError, match="only an admin can"):
        client.revoke("crane-2")


def test_only_admins_may_and_observers_may_look(served: Served) -> None:
    with served.client("writer") as client, pytest.raises(ForbiddenError):
        client.revoke("crane-2")
    with served.client("observer") as client:
        assert client.revocations() == ()


def test_a_wish_that_names_nobody_is_refused(served: Served, client: Client) -> None:
    with pytest.raises(UsageError):
        client.revoke("")


def test_keys_are_rotated_by_admins(served: Served, client: Client) -> None:
    assert client.rotate_keys().old_until_s == 600
    assert served.mesh.calls == [("rotate_keys", "udp")]
    with pytest.raises(UsageError):
        client.rotate_keys("all")
    with served.client("writer") as writer, pytest.raises(ForbiddenError):
        writer.rotate_keys()
