"""`/v1/placement` and `/v1/sync`: who is to hold what, and whether they have it."""

from __future__ import annotations

import pytest

from bellande_mesh_sync.client import Client
from bellande_mesh_sync.errors import AckTimeoutError, ForbiddenError, NotFoundError
from bellande_mesh_sync.values import KeyPlacement

from .conftest import Served
from .test_data import code_of


def test_it_is_told_how_much_each_member_holds(served: Served, client: Client) -> None:
    (space,) = client.placement()
    assert (space.space, space.replicas, space.shards) == ("maps", 1, 64)
    assert {share.name: share.shards for share in space.nodes} == {"alpha": 40, "beta": 24}
    with served.client("reader") as reader:
        assert reader.placement() == [space]


def test_it_is_told_who_holds_a_key(served: Served, client: Client) -> None:
    key = "maps/über alles/7"
    assert client.placement_of(key) == KeyPlacement(key, "maps/64.7", True, ("aa" * 32,), ("alpha",))
    assert served.mesh.calls == [("placement_of", key)]


def test_replicas_are_waited_for(served: Served, client: Client) -> None:
    assert client.replicate("maps/7", timeout=3) == ["aa" * 32]
    assert served.mesh.calls == [("replicate_data", "maps/7", 3.0)]
    served.mesh.faults["replicate_data"] = NotFoundError(what="key", name="maps/7")
    with pytest.raises(NotFoundError):
        client.replicate("maps/7")
    error = AckTimeoutError(level="all", timeout_s=3.0, have=1, need=2, nodes=[], versions=[])
    served.mesh.faults["replicate_data"] = error
    with pytest.raises(AckTimeoutError):
        client.replicate("maps/7")


def test_peers_are_compared_with_on_demand(client: Client) -> None:
    assert client.sync_with_peers() == 3


@pytest.mark.parametrize("query", ["?timeout=0", "?timeout=soon", "?ack=all"])
def test_a_query_that_makes_no_sense_is_refused(served: Served, query: str) -> None:
    with served.http() as http:
        answer = http.post(f"/v1/placement/maps/7{query}")
    assert (answer.status_code, code_of(answer)) == (400, "usage")


def test_a_key_that_is_none_is_refused(served: Served) -> None:
    with served.http() as http:
        answer = http.get("/v1/placement/maps//7")
    assert (answer.status_code, code_of(answer)) == (400, "invalid_key")


def test_readers_may_look_and_not_ask_for_more(served: Served) -> None:
    with served.client("reader") as client:
        with pytest.raises(ForbiddenError):
            client.replicate("maps/7")
        with pytest.raises(ForbiddenError):
            client.sync_with_peers()
