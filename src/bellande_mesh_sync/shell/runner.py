"""The runner: one core, its links, its disk and its timers, on one event loop.

All of it runs on the loop's thread; what may block runs in worker threads and comes back as an
event. No await happens between an event and the effects it causes.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bellande_mesh_sync.core import effects as do
from bellande_mesh_sync.core import events as on
from bellande_mesh_sync.core.config import CoreConfig, LocalNode
from bellande_mesh_sync.core.data.examination import Examination
from bellande_mesh_sync.core.data.functions import BoundedMerge
from bellande_mesh_sync.core.data.knowledge import Delta
from bellande_mesh_sync.core.data.record import ChunkRef
from bellande_mesh_sync.core.messages import Note, RelayedNote
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.core.reader import StoredState
from bellande_mesh_sync.errors import BellandeMeshError, LimitExceededError, StorageError, error_of
from bellande_mesh_sync.ids import Now
from bellande_mesh_sync.security.statements import StatementJudge
from bellande_mesh_sync.shell.chunk_traffic import ChunkReceiver, ChunkSender
from bellande_mesh_sync.shell.commits import CommitWriter
from bellande_mesh_sync.shell.datagrams import Datagrams
from bellande_mesh_sync.shell.links import Links
from bellande_mesh_sync.store.interface import ChangesView, Page, Store

log = logging.getLogger("bellande_mesh_sync")

NOTES_BUFFER_BYTES_MAX = 8 * 1024 * 1024
"""Best-effort messages are dropped, and counted, for a peer whose outgoing queue is longer than this."""

HEARTBEAT_NS = 250_000_000
LAG_NS = 100_000_000
"""A loop that is later than this is told of to the core."""


def now() -> Now:
    return Now(time.monotonic_ns(), time.time_ns() // 1_000_000)


class Runner:
    """Performs what a core decides.

    Args:
        on_changed, on_message, on_member: news for programs, called in order; they must not block.
        on_stop: the node must not go on (the disk is broken, or another node has our identity).
    """

    def __init__(
        self, store: Store, executor: ThreadPoolExecutor, *,
        on_changed: Callable[[do.Changed], None],
        on_message: Callable[[do.Deliver], None],
        on_member: Callable[[do.MemberChanged], None],
        on_stop: Callable[[BellandeMeshError], None],
        judge: StatementJudge,
    ) -> None:  # fmt: skip
        self._store = store
        self._executor = self.executor = executor
        self._on_stop = on_stop
        self._judge = judge
        self._loop = asyncio.get_running_loop()
        self._pending: deque[on.Event] = deque()
        self._is_handling = False
        self._is_open = True
        self._is_broken = False
        """The store could not be read in the middle of an event."""
        self._is_stopped = False
        """The core said Stop: another node goes on with our identity, and a word of leaving, signed with
        it, would be believed of that node."""
        self._next_request = 1
        self._requests: dict[int, asyncio.Future[Any]] = {}
        self._views: dict[int, asyncio.Future[ChangesView]] = {}
        self._reads: set[asyncio.Task[None]] = set()
        self.core: NodeCore
        self.links: Links
        self.datagrams: Datagrams
        self._perform: dict[type, Callable[[Any], None]] = {
            do.Send: self._send,
            do.SendDatagram: self._send_datagram,
            do.PeerRecorded: self._peer_recorded,
            do.PeerForgotten: self._peer_forgotten,
            do.Dial: self._dial,
            do.Hangup: self._hang_up,
            do.SetTimer: self._set_timer,
            do.Commit: self._commit,
            do.OpenChanges: self._open_changes,
            do.NextPage: self._next_page,
            do.CloseChanges: self._close_changes,
            do.FindMissing: self._find_missing,
            do.Examine: self._examine,
            do.SendChunks: self._send_chunks,
            do.JudgeStatements: self._judge_statements,
            do.Resolve: self._resolve,
            do.Reject: self._reject,
            do.Changed: on_changed,
            do.Deliver: on_message,
            do.MemberChanged: on_member,
            do.Log: self._log,
            do.Stop: self._stop,
        }

    def start(
        self,
        config: CoreConfig,
        me: LocalNode,
        state: StoredState,
        seed: int,
        new_epoch: Callable[[], bytes],
        merges: Mapping[str, BoundedMerge] | None = None,
    ) -> None:
        """Bring the core to life. Links and datagrams are listened for by now, so `me` says where."""
        links = self.links
        self._commits = CommitWriter(
            self._store,
            on_committed=lambda number: self.feed(on.Committed(number)),
            on_refused=lambda error: self.feed(on.CommitFailed(error.code, str(error))),
            on_broken=self._broken,
        )
        self._sender = ChunkSender(self._store, links, self._executor)
        self._receiver = ChunkReceiver(self._store, self._executor, self.feed, links.chunk_done)
        self._store.listen(self._damage_found)
        self.core = NodeCore(config, me, self._store, state, random.Random(seed), new_epoch, merges)
        self._do(self.core.start(now()))
        self._heart_beats(time.monotonic_ns())

    async def close(self) -> None:
        """Leave the mesh, write what is open, close every link. Waiting callers get `not_running`.

        Without a word of leaving if the core told this node to stop, or the store cannot be read.
        """
        if hasattr(self, "core") and not (self._is_broken or self._is_stopped):
            await self.ask(lambda request: on.Leave(request))
        self._is_open = False
        if hasattr(self, "links"):
            await self.links.close()
        if hasattr(self, "datagrams"):
            await self.datagrams.close()
        if hasattr(self, "core"):
            await self._sender.close()
            await self._receiver.close()
            await asyncio.gather(*self._reads, return_exceptions=True)
            await self._commits.close()
            # The thread's last words to the loop: what it committed answers those who wait.
            await asyncio.sleep(0)
        for reading in list(self._views):
            self._close_changes(do.CloseChanges(reading))
        for future in self._requests.values():
            if not future.done():
                future.set_exception(error_of("not_running", {}))
        self._requests.clear()

    # -- events

    def feed(self, event: on.Event) -> None:
        """Hand an event to the core and perform what comes back, before anything else happens."""
        if self._is_broken:
            return
        self._pending.append(event)
        if self._is_handling:
            return  # Caused by an effect of the event at work: its turn comes when that is done.
        self._is_handling = True
        try:
            while self._pending:
                each = self._pending.popleft()
                if isinstance(each, on.LinkClosed):
                    self._sender.link_closed(each.link)
                self._handle(each)
        finally:
            self._is_handling = False

    def _handle(self, event: on.Event) -> None:
        try:
            effects = self.core.handle(event, now())
        except StorageError as error:
            # Half of the event may be done by now, so this core decides nothing more. To go on would be to
            # drop every link that brings something for a key that cannot be read.
            request = self._requests.pop(event.request, None) if isinstance(event, on.WriteMany) else None
            if request is not None and not request.done():
                request.set_exception(error)
            self._is_broken = True
            self._pending.clear()
            self._broken(error)
            return
        self._do(effects)

    def event(self, event: on.LinkOpened | on.DialFailed | on.LinkClosed | on.Received) -> None:
        """What links report (the sink's half)."""
        if hasattr(self, "core"):
            self.feed(event)
        elif isinstance(event, on.LinkOpened):
            # A peer that was quicker than our own start dials again in a moment.
            self.links.hangup(event.link, "closing", "the node is starting")

    def chunk(self, link: int, hash: bytes, data: memoryview) -> None:
        self._receiver.take(link, hash, data)

    def chunks_added(self, refs: Sequence[ChunkRef], key: str) -> None:
        """Chunks of a value that a program is writing are on disk."""
        if self._is_open:
            self.feed(on.ChunksAdded(tuple(refs), key))

    def _heart_beats(self, due_ns: int) -> None:
        """Notice when this loop runs late: then silence of others may be our own deafness."""
        if not self._is_open:
            return
        lag_ns = time.monotonic_ns() - due_ns
        if lag_ns > LAG_NS:
            self.feed(on.LoopLate(lag_ns))
        due_ns = time.monotonic_ns() + HEARTBEAT_NS
        self._loop.call_later(HEARTBEAT_NS / 1e9, self._heart_beats, due_ns)

    def ask(self, command: Callable[[int], on.Event]) -> asyncio.Future[Any]:
        """Give the core a command; the future is its answer."""
        request = self._next_request
        self._next_request += 1
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self._is_open or self._is_broken:
            future.set_exception(error_of("not_running", {}))
            return future
        self._requests[request] = future
        self.feed(command(request))
        return future

    def count(self, name: str) -> None:
        """Something that the core does not see happened once more."""
        self.core.counters[name] += 1

    # -- effects

    def _do(self, effects: list[do.Effect]) -> None:
        perform = self._perform
        for effect in effects:
            perform[type(effect)](effect)

    def _send(self, effect: do.Send) -> None:
        if (
            isinstance(effect.message, Note | RelayedNote)
            and self.links.buffered_bytes(effect.link) > NOTES_BUFFER_BYTES_MAX
        ):
            self.core.counters["notes_dropped"] += 1
            return
        try:
            self.links.send(effect.link, effect.message)
        except LimitExceededError as error:
            # Ours, not the peer's fault: it was not sent, and repair must find another way.
            self.core.counters["messages_too_large"] += 1
            log.error("a message was not sent: %s", error)

    def _dial(self, effect: do.Dial) -> None:
        self.links.dial(effect.dial, effect.address, effect.peer, effect.lane, is_wanted=effect.is_wanted)

    def _send_datagram(self, effect: do.SendDatagram) -> None:
        self.datagrams.send(effect.target, effect.datagram, effect.size_bytes)

    def _peer_recorded(self, effect: do.PeerRecorded) -> None:
        self.datagrams.record(effect.record)

    def _peer_forgotten(self, effect: do.PeerForgotten) -> None:
        self.datagrams.forget(effect.node)

    def _hang_up(self, effect: do.Hangup) -> None:
        log.debug("hanging up link %d: %s (%s)", effect.link, effect.code, effect.reason)
        self._sender.link_closed(effect.link)
        self.links.hangup(effect.link, effect.code, effect.reason)

    def _set_timer(self, effect: do.SetTimer) -> None:
        delay_s = max(0.0, (effect.at_ns - time.monotonic_ns()) / 1e9)
        self._loop.call_later(delay_s, self._timer_fired, effect.timer)

    def _timer_fired(self, timer: Any) -> None:
        if self._is_open:
            self.feed(on.TimerFired(timer))

    def _commit(self, effect: do.Commit) -> None:
        self._commits.submit(effect)

    def _resolve(self, effect: do.Resolve) -> None:
        future = self._requests.pop(effect.request, None)
        if future is not None and not future.done():
            future.set_result(effect.result)

    def _reject(self, effect: do.Reject) -> None:
        future = self._requests.pop(effect.request, None)
        if future is not None and not future.done():
            future.set_exception(error_of(effect.code, effect.facts))

    def _log(self, effect: do.Log) -> None:
        level = logging.getLevelNamesMapping()[effect.level.upper()]
        facts = ", ".join(f"{name}: {value}" for name, value in effect.facts.items())
        log.log(level, "%s (%s)", effect.code, facts, extra={"facts": effect.facts})

    def _stop(self, effect: do.Stop) -> None:
        self._is_stopped = True
        self._on_stop(error_of(effect.code, {"reason": effect.reason}))

    def _broken(self, error: StorageError) -> None:
        """After a failed sync nobody knows what the disk holds; going on could lose what was acknowledged."""
        log.critical("the store failed, the node stops: %s", error)
        self._on_stop(error)

    # -- reading for peers

    def _open_changes(self, effect: do.OpenChanges) -> None:
        self._views[effect.reading] = self._loop.run_in_executor(
            self._executor, self._store.open_changes, effect.shard, effect.dots
        )
        self._read_page(effect.reading)

    def _next_page(self, effect: do.NextPage) -> None:
        self._read_page(effect.reading)

    def _read_page(self, reading: int) -> None:
        task = self._loop.create_task(self._page(reading), name=f"bms-page-{reading}")
        self._reads.add(task)
        task.add_done_callback(self._reads.discard)

    async def _page(self, reading: int) -> None:
        opening = self._views.get(reading)
        if opening is None:
            return
        try:
            view = await asyncio.shield(opening)
            page, knowledge = await self._loop.run_in_executor(self._executor, self._read, view)
        except StorageError as error:
            log.error("records cannot be read for a peer: %s", error)
            self.feed(on.PageRead(reading, (), 0, True, (), error.code))
            return
        self.feed(on.PageRead(reading, page.records, page.size_bytes, page.is_last, knowledge))

    def _read(self, view: ChangesView) -> tuple[Page, Delta]:
        page = view.read_page(self.core.config.page_bytes)
        return page, view.knowledge() if page.is_last else ()

    def _close_changes(self, effect: do.CloseChanges) -> None:
        opening = self._views.pop(effect.reading, None)
        if opening is not None:
            opening.add_done_callback(self._close_view)

    def _close_view(self, opening: asyncio.Future[ChangesView]) -> None:
        if not opening.cancelled() and opening.exception() is None:
            self._executor.submit(opening.result().close)

    # -- damage

    def _damage_found(self, found: on.DamageFound) -> None:
        """From whatever thread read it."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.damage_found, found)

    def damage_found(self, found: on.DamageFound) -> None:
        if self._is_open:
            self.feed(found)

    def _examine(self, effect: do.Examine) -> None:
        task = self._loop.create_task(self._examination(effect), name=f"bms-examine-{effect.shard}")
        self._reads.add(task)
        task.add_done_callback(self._reads.discard)

    async def _examination(self, effect: do.Examine) -> None:
        try:
            found = await self._loop.run_in_executor(self._executor, self._examined, effect)
        except StorageError as error:
            log.error("shard %s cannot be examined: %s", effect.shard, error)
            found = None
        self.feed(on.Examined(effect.shard, found))

    def _examined(self, effect: do.Examine) -> Examination:
        examiner = self._store.examine(effect.shard)
        try:
            return examiner.run(self._give_way)
        finally:
            examiner.close()

    def _give_way(self, size_bytes: int) -> None:
        """Between two steps, in a worker thread: end with the node, and leave the interpreter to others."""
        if not self._is_open:
            raise StorageError(reason="the node is stopping")
        time.sleep(0.001)

    # -- statements

    def _judge_statements(self, effect: do.JudgeStatements) -> None:
        task = self._loop.create_task(self._judgement(effect), name=f"bms-judge-{effect.link}")
        self._reads.add(task)
        task.add_done_callback(self._reads.discard)

    async def _judgement(self, effect: do.JudgeStatements) -> None:
        found = await self._loop.run_in_executor(self._executor, self._judge.judge_all, effect.statements)
        self.feed(on.StatementsJudged(effect.link, *found))

    # -- chunks

    def _find_missing(self, effect: do.FindMissing) -> None:
        task = self._loop.create_task(self._missing(effect), name=f"bms-missing-{effect.fetch}")
        self._reads.add(task)
        task.add_done_callback(self._reads.discard)

    async def _missing(self, effect: do.FindMissing) -> None:
        try:
            chunks, is_index = await self._loop.run_in_executor(
                self._executor, self._store.missing_chunks, effect.manifest
            )
        except BellandeMeshError as error:
            log.error("a manifest cannot be followed: %s", error)
            self.feed(on.MissingFound(effect.fetch, (), False, error.code))
            return
        self.feed(on.MissingFound(effect.fetch, chunks, is_index))

    def _send_chunks(self, effect: do.SendChunks) -> None:
        self._sender.send(effect.link, effect.hashes)
