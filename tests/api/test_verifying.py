"""`POST /v1/verify`: progress and a report, line by line; who may; and who leaves ends it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from bellande_mesh_sync.client import Client
from bellande_mesh_sync.errors import BusyError, ForbiddenError, StorageError
from bellande_mesh_sync.values import DamagedValue, VerifyProgress

from .conftest import Served
from .test_data import code_of


def test_the_client_gets_the_report_and_how_it_goes_on(served: Served, client: Client) -> None:
    stall = served.call(asyncio.Event)
    served.mesh.stall = stall
    told: list[VerifyProgress] = []
    came = threading.Event()

    def tell(progress: VerifyProgress) -> None:
        told.append(progress)
        served.loop.call_soon_threadsafe(stall.set)
        came.set()

    report = client.verify(deep=True, bytes_per_s=1e6, repair_timeout=3, on_progress=tell)
    assert came.is_set()
    assert told[0] == VerifyProgress(0.1, 5, 1, 0, 0)
    assert (report.ok, report.deep, report.found) == (False, True, {"record": 1})
    assert report.damaged == (DamagedValue("fleet/x", "record", repaired=False),)
    assert served.mesh.calls == [("verify", True, 1e6, 3.0)]


def test_what_is_refused_at_once_has_its_status(served: Served, client: Client) -> None:
    served.mesh.faults["verify"] = BusyError(what="the verification of this node", limit="1 at a time")
    with pytest.raises(BusyError):
        client.verify()
    with served.http() as http:
        assert http.post("/v1/verify").status_code == 503


def test_what_fails_later_is_told_in_the_last_line(served: Served, client: Client) -> None:
    served.mesh.faults["verify"] = StorageError(reason="the verification was stopped")
    with pytest.raises(StorageError, match="was stopped"):
        client.verify()


@pytest.mark.parametrize("query", ["?deep=perhaps", "?bytes_per_s=0", "?repair_timeout=-1", "?fast=true"])
def test_a_query_that_makes_no_sense_is_refused(served: Served, query: str) -> None:
    with served.http() as http:
        answer = http.post(f"/v1/verify{query}")
    assert (answer.status_code, code_of(answer)) == (400, "usage")
    assert served.mesh.calls == []


def test_readers_may_not(served: Served) -> None:
    with served.client("reader") as client, pytest.raises(ForbiddenError):
        client.verify()
