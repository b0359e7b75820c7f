"""What is measured beside us is driven as it is meant to be, where it is installed."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from bench import nats_peer
from bench.measure import Report
from bench.peers import is_there, poll
from bench.redis_peer import FullPrimary
from bench.rsync_peer import rsync
from bench.syncthing_peer import syncthings


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def test_a_peer_that_is_not_installed_is_skipped_with_its_reason() -> None:
    report = Report("peers", busy_cores=0)
    assert not is_there(report, "no-such-program")
    assert report.skipped == ["no-such-program: not installed"]
    assert is_there(report, "python3")


def test_waiting_for_a_peer_ends() -> None:
    with pytest.raises(TimeoutError):
        poll(lambda: False, 0.05)


@needs("redis-server")
def test_an_empty_replica_of_redis_has_everything_when_the_clock_stops() -> None:
    primary = FullPrimary(2_500, 100)
    with primary.running():
        assert primary.resync() > 0


@needs("rsync")
def test_rsync_brings_what_changed() -> None:
    with rsync() as pair:
        (pair.source / "a").write_text("1")
        pair.bring()
        (pair.source / "a").write_text("22")
        pair.bring()
        assert (pair.target / "a").read_text() == "22"


@needs("nats-server")
def test_jetstream_puts_are_answered_one_and_many_at_a_time(tmp_path: Path) -> None:
    async def puts() -> None:
        async with nats_peer.bucket(tmp_path) as jet:
            await jet.put("one", b"1")
            await asyncio.gather(*(jet.put(f"many{number}", b"2") for number in range(200)))
            info = await jet.ask(b"$JS.API.STREAM.INFO.KV_bench", b"")
            assert b'"messages":201' in info
            with pytest.raises(RuntimeError, match="not found"):
                await jet.ask(b"$JS.API.STREAM.INFO.no_such", b"")

    asyncio.run(puts())


@needs("syncthing")
def test_two_syncthings_bring_a_file_from_one_to_the_other() -> None:
    with syncthings() as both:
        (both.source / "a").write_text("1")
        both.bring()
        assert (both.target / "a").read_text() == "1"
