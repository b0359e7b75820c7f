"""`POST /v1/sweep`: a report in the end, however long it takes; and who may."""

from __future__ import annotations

import asyncio

import pytest

from bellande_mesh_sync.client import Client
from bellande_mesh_sync.errors import DiskFullError, ForbiddenError
from bellande_mesh_sync.values import SweepReport

from .conftest import Served
from .test_data import code_of


def test_the_client_gets_the_report(served: Served, client: Client) -> None:
    assert client.sweep(grace=0) == SweepReport(0.1, 5, 50, 2, 20, 1, 10, 30)
    client.sweep()
    assert served.mesh.calls == [("cleanup_data", 0.0), ("cleanup_data", None)]


def test_a_long_one_says_that_it_is_alive(served: Served) -> None:
    stall = served.call(asyncio.Event)
    served.mesh.stall = stall
    with served.http() as http, http.stream("POST", "/v1/sweep") as answer:
        lines = answer.iter_lines()
        assert next(lines) == '{"event":"alive"}'
        served.call(stall.set)
        assert '"done"' in list(lines)[-1]


def test_what_goes_wrong_is_told(served: Served, client: Client) -> None:
    served.mesh.faults["cleanup_data"] = DiskFullError(path="chunks")
    with pytest.raises(DiskFullError):
        client.sweep()


@pytest.mark.parametrize("query", ["?grace=-1", "?grace=soon", "?fast=true"])
def test_a_query_that_makes_no_sense_is_refused(served: Served, query: str) -> None:
    with served.http() as http:
        answer = http.post(f"/v1/sweep{query}")
    assert (answer.status_code, code_of(answer)) == (400, "usage")
    assert served.mesh.calls == []


def test_readers_may_not(served: Served) -> None:
    with served.client("reader") as client, pytest.raises(ForbiddenError):
        client.sweep()
