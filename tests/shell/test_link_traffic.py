"""What passes over links that are up, and how they end."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
from pathlib import Path

import pytest

from bellande_mesh_sync.core.data.record import CHUNK_BYTES_MAX
from bellande_mesh_sync.core.events import LinkClosed, LinkOpened, Received
from bellande_mesh_sync.core.messages import ChunkPart, Goodbye, Note, Ping
from bellande_mesh_sync.errors import LimitExceededError
from bellande_mesh_sync.security.identity import save_identity
from bellande_mesh_sync.wire.frames import encode_frames
from bellande_mesh_sync.wire.limits import FRAME_BYTES_MAX
from tests.shell.link_nodes import ALICE, BOB, LOOPS, closed, hello_of, linked, node, polled, raw_peer, run

MIB = 1 << 20


@pytest.fixture(params=LOOPS)
def loop_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("encrypted", [True, False])
def test_ten_thousand_messages_arrive_in_order_in_few_batches(loop_name: str, encrypted: bool) -> None:
    async def test() -> None:
        async with node(ALICE, encrypted=encrypted) as alice, node(BOB, encrypted=encrypted) as bob:
            link, _ = await linked(alice, bob)
            sent = [Ping(number) for number in range(10_000)]
            for message in sent:
                alice.links.send(link, message)
            await bob.sink.until(lambda: len(bob.sink.messages) == len(sent))
            assert bob.sink.messages == sent
            batches = [event for event in bob.sink.events if isinstance(event, Received)]
            assert len(batches) < 20
            assert sum(batch.size_bytes for batch in batches) < 6 * len(sent)

    run(loop_name, test)


def test_messages_of_one_loop_turn_travel_in_one_frame(loop_name: str) -> None:
    async def test() -> None:
        async with node(ALICE) as alice, node(BOB) as bob:
            link, _ = await linked(alice, bob)
            notes = [Note(b"", "t", b"x") for _ in range(50)]
            for note in notes:
                alice.links.send(link, note)
            assert alice.links.buffered_bytes(link) > 0  # Not written yet: the turn is not over.
            batch = await bob.sink.next(Received)
            assert list(batch.messages) == notes
            assert batch.size_bytes == len(encode_frames(notes)[0])

    run(loop_name, test)


def test_one_message_object_reaches_many_peers(loop_name: str) -> None:
    async def test() -> None:
        async with node(ALICE) as alice, node(BOB) as bob:
            first, _ = await linked(alice, bob)
            alice.links.dial(2, bob.address, None, 0)
            second = (await alice.sink.next(LinkOpened, 1)).link
            note = Note(b"1", "t", b"x" * 100)
            for message in (note, Ping(1), note):
                for link in (first, second):
                    alice.links.send(link, message)
            await bob.sink.until(lambda: len(bob.sink.messages) == 6)
            assert bob.sink.messages.count(note) == 4

    run(loop_name, test)


def test_a_message_too_large_for_a_frame_is_refused_and_the_link_goes_on(loop_name: str) -> None:
    async def test() -> None:
        async with node(ALICE) as alice, node(BOB) as bob:
            link, _ = await linked(alice, bob)
            with pytest.raises(LimitExceededError):
                alice.links.send(link, Note(b"", "", bytes(FRAME_BYTES_MAX)))
            large = Note(b"", "", os.urandom(FRAME_BYTES_MAX - 100))
            alice.links.send(link, large)
            alice.links.send(link, Ping(1))
            await bob.sink.until(lambda: len(bob.sink.messages) == 2)
            assert bob.sink.messages == [large, Ping(1)]

    run(loop_name, test)


def test_a_slow_sender_of_single_bytes_is_understood(loop_name: str) -> None:
    async def test() -> None:
        async with node(ALICE) as alice, raw_peer(alice, BOB) as peer:
            for byte in encode_frames([Ping(5), Note(b"", "topic", b"body")])[0]:
                peer.send(bytes((byte,)))
                await asyncio.sleep(0)
            await alice.sink.until(lambda: len(alice.sink.messages) == 2)

    run(loop_name, test)


# -- chunks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("encrypted", [True, False])
def test_64_mib_of_chunks_pass_with_a_bounded_write_buffer(loop_name: str, encrypted: bool) -> None:
    async def test() -> None:
        async with node(ALICE, encrypted=encrypted) as alice, node(BOB, encrypted=encrypted) as bob:
            link, _ = await linked(alice, bob, lane=1)
            chunks = [os.urandom(CHUNK_BYTES_MAX - 1000 * number) for number in range(16)]
            largest = 0
            is_done = False

            async def watch() -> None:
                nonlocal largest
                while not is_done:
                    largest = max(largest, alice.links.buffered_bytes(link))
                    await asyncio.sleep(0)

            watching = asyncio.create_task(watch())
            for chunk in chunks:
                assert await alice.links.send_chunk(link, hashlib.sha256(chunk).digest(), chunk)
            await bob.sink.until(lambda: len(bob.sink.chunks) == len(chunks))
            is_done = True
            await watching
            assert largest <= 3 * MIB
            for (_, name, data), chunk in zip(bob.sink.chunks, chunks, strict=True):
                assert name == hashlib.sha256(chunk).digest()
                assert data == chunk

    run(loop_name, test)


def test_messages_pass_between_the_pieces_of_a_chunk(loop_name: str) -> None:
    async def test() -> None:
        async with node(ALICE) as alice, node(BOB) as bob:
            link, back = await linked(alice, bob)
            sending = [
                asyncio.create_task(alice.links.send_chunk(link, bytes([number]) * 32, os.urandom(2 * MIB)))
                for number in range(4)
            ]
            for number in range(20):
                alice.links.send(link, Ping(number))
                bob.links.send(back, Ping(number))
                await asyncio.sleep(0)
            assert all(await asyncio.gather(*sending))
            await bob.sink.until(lambda: len(bob.sink.chunks) == 4 and len(bob.sink.messages) == 20)
            await alice.sink.until(lambda: len(alice.sink.messages) == 20)

    run(loop_name, test)


def test_a_link_is_not_read_while_its_chunks_wait(loop_name: str) -> None:
    async def test() -> None:
        async with node(ALICE) as alice, node(BOB, chunks_waiting_bytes_max=2 * MIB) as bob:
            bob.sink.takes_chunks = False
            link, accepted = await linked(alice, bob, lane=1)
            body = bytes(MIB)

            async def send_all() -> None:
                for number in range(40):
                    await alice.links.send_chunk(link, bytes([number]) * 32, body)

            sending = asyncio.create_task(send_all())
            await bob.sink.until(lambda: len(bob.sink.chunks) >= 3)
            held = -1
            while held != len(bob.sink.chunks):  # Until nothing more comes.
                held = len(bob.sink.chunks)
                await asyncio.sleep(0.1)
            assert held <= 4
            assert not sending.done()
            bob.sink.takes_chunks = True
            for data in bob.sink.held:
                bob.links.chunk_done(accepted, data)
            await bob.sink.until(lambda: len(bob.sink.chunks) == 40)
            await sending

    run(loop_name, test)


def test_an_interrupted_chunk_may_begin_again(loop_name: str) -> None:
    async def test() -> None:
        async with node(ALICE) as alice, raw_peer(alice, BOB) as peer:
            name = bytes(32)
            peer.say(ChunkPart(name, 0, 8, b"abcd"))
            peer.say(ChunkPart(name, 0, 8, b"efgh"))
            peer.say(ChunkPart(name, 4, 8, b"ijkl"), Ping(1))  # Also beside other messages.
            await alice.sink.until(lambda: alice.sink.chunks and alice.sink.messages)
            assert [bytes(data) for _, _, data in alice.sink.chunks] == [b"efghijkl"]

    run(loop_name, test)


PIECES = {
    "without a beginning": ([ChunkPart(bytes(32), 4, 8, b"abcd")], "bad_frame"),
    "with a gap": ([ChunkPart(bytes(32), 0, 9, b"abcd"), ChunkPart(bytes(32), 5, 9, b"abcd")], "bad_frame"),
    "of a size that changes": (
        [ChunkPart(bytes(32), 0, 9, b"abcd"), ChunkPart(bytes(32), 4, 8, b"abcd")],
        "bad_frame",
    ),
    "of too many chunks": (
        [ChunkPart(bytes([number]) * 32, 0, 9, b"abcd") for number in range(5)],
        "frame_too_large",
    ),
}


@pytest.mark.parametrize("name", PIECES)
@pytest.mark.parametrize("together", [True, False])
def test_pieces_that_do_not_fit_end_the_link(loop_name: str, name: str, together: bool) -> None:
    parts, code = PIECES[name]

    async def test() -> None:
        async with node(ALICE) as alice, raw_peer(alice, BOB) as peer:
            if together:
                peer.say(*parts)
            else:
                for part in parts:
                    peer.say(part)
            assert (await closed(alice.sink)).code == code
            assert not alice.sink.chunks

    run(loop_name, test)


# -- ends --------------------------------------------------------------------------------------

VIOLATIONS = {
    "a lying length": ((2**32 - 1).to_bytes(4, "big"), "frame_too_large"),
    "a length one too large": ((FRAME_BYTES_MAX + 1).to_bytes(4, "big"), "frame_too_large"),
    "an empty frame": (bytes(4), "bad_frame"),
    "garbage": (b"\x00\x00\x00\x03\xff\xff\xff", "bad_frame"),
    "a second hello": (encode_frames([hello_of(BOB, 0)])[0], "bad_frame"),
    "a message that breaks a rule": (encode_frames([Ping(-1)])[0], "bad_frame"),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_broken_protocol_ends_the_link_with_a_goodbye_that_says_so(loop_name: str, name: str) -> None:
    data, code = VIOLATIONS[name]

    async def test() -> None:
        async with node(ALICE) as alice, raw_peer(alice, BOB) as peer:
            peer.send(encode_frames([Ping(1)])[0] + data)
            heard = await peer.hear_until_end()
            assert isinstance(heard[-1], Goodbye)
            assert heard[-1].code == code
            assert (await closed(alice.sink)).code == code
            assert alice.sink.messages == [Ping(1)]  # What came before was good.

    run(loop_name, test)


def test_a_goodbye_carries_its_code_and_reason_to_the_other_side(loop_name: str) -> None:
    async def test() -> None:
        async with node(ALICE) as alice, node(BOB) as bob:
            link, _ = await linked(alice, bob)
            alice.links.send(link, Ping(1))
            alice.links.hangup(link, "identity_conflict", "two nodes\nwith one key")
            assert not [event for event in alice.sink.events if isinstance(event, LinkClosed)]  # Not within.
            mine, theirs = await closed(alice.sink), await closed(bob.sink)
            assert mine == LinkClosed(link, "identity_conflict", "two nodes\nwith one key")
            assert (theirs.code, theirs.reason) == ("identity_conflict", "two nodes?with one key")
            assert bob.sink.messages == [Ping(1)]  # Queued before, so it comes before.
            alice.links.send(link, Ping(2))
            alice.links.hangup(link, "closing", "")
            assert not await alice.links.send_chunk(link, bytes(32), b"x")
            assert alice.links.buffered_bytes(link) == 0
            assert alice.links.info() == []

    run(loop_name, test)


def test_a_peer_that_does_not_read_loses_the_link_when_its_queue_is_full(loop_name: str) -> None:
    async def test() -> None:
        async with node(ALICE, queue_bytes_max=2 * MIB) as alice, raw_peer(alice, BOB) as peer:
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # not in typeshed for writers
            link = (await alice.sink.next(LinkOpened)).link
            note = Note(b"", "", bytes(500_000))
            largest = 0
            for _ in range(200):
                alice.links.send(link, note)
                largest = max(largest, alice.links.buffered_bytes(link))
                await asyncio.sleep(0)
            assert (await closed(alice.sink)).code == "queue_overflow"
            assert largest < 4 * MIB
            await polled(lambda: not alice.links.connection_count)  # By force, after close_flush_s.

    run(loop_name, test)


def test_a_chunk_under_way_when_the_link_ends_is_given_up(loop_name: str) -> None:
    async def test() -> None:
        async with node(ALICE) as alice, raw_peer(alice, BOB) as peer:
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # as above
            link = (await alice.sink.next(LinkOpened)).link

            async def send_all() -> bool:
                for number in range(20):
                    if not await alice.links.send_chunk(link, bytes([number]) * 32, bytes(4 * MIB)):
                        return False
                return True

            sending = asyncio.create_task(send_all())
            await polled(lambda: alice.links.buffered_bytes(link) >= 2 * MIB)
            alice.links.hangup(link, "closing", "")
            assert not await sending

    run(loop_name, test)


CHILD = """
import asyncio, sys
from pathlib import Path
from bellande_mesh_sync.core.events import LinkOpened
from bellande_mesh_sync.security.identity import load_identity
from tests.shell.link_nodes import Node, node

async def main():
    async with node(load_identity(Path(sys.argv[1]))) as bob:
        bob.links.dial(1, sys.argv[2], None, 0)
        await bob.sink.next(LinkOpened)
        print("linked", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def test_a_killed_peer_is_lost(loop_name: str, tmp_path: Path) -> None:
    save_identity(BOB, tmp_path / "bob")

    async def test() -> None:
        async with node(ALICE) as alice:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-c", CHILD, str(tmp_path / "bob"), alice.address,
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            try:
                assert child.stdout is not None
                assert await child.stdout.readline() == b"linked\n"
                await alice.sink.next(LinkOpened)
            finally:
                child.send_signal(signal.SIGKILL)
                await child.wait()
            ended = await closed(alice.sink)
            assert ended.code == "lost"
            assert ended.reason

    run(loop_name, test)


@pytest.mark.parametrize("encrypted", [True, False])
def test_close_says_goodbye_and_leaves_nothing_behind(loop_name: str, encrypted: bool) -> None:
    async def test() -> None:
        async with node(ALICE, encrypted=encrypted) as alice, node(BOB, encrypted=encrypted) as bob:
            link, _ = await linked(alice, bob)
            alice.links.dial(9, "127.0.0.1:1", None, 0)
            alice.links.send(link, Ping(1))
            before = asyncio.get_running_loop().time()
            await alice.links.close()
            assert asyncio.get_running_loop().time() - before < 0.3  # The peer answers; no need to wait.
            assert (await closed(alice.sink)).code == "closing"
            assert (await closed(bob.sink)).code == "closing"
            assert bob.sink.messages == [Ping(1)]
            assert alice.links.connection_count == 0
            assert alice.links.info() == []
            await alice.links.close()  # Once more does no harm.

    run(loop_name, test)


def test_close_in_the_middle_of_handshakes_releases_them(loop_name: str) -> None:
    async def test() -> None:
        async with node(ALICE) as alice, node(BOB) as bob, raw_peer(alice, None):
            await polled(lambda: alice.links.unfinished_handshakes)
            for number in range(5):
                alice.links.dial(number, bob.address, None, 0)
                await asyncio.sleep(0)
            await alice.links.close()
            assert alice.links.connection_count == 0
            assert alice.links.unfinished_handshakes == 0

    run(loop_name, test)
