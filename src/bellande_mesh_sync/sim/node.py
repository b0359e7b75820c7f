"""A simulated shell around one core: does its effects, brings it events, crashes and restarts it."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from bellande_mesh_sync.core.config import CoreConfig, LocalNode
from bellande_mesh_sync.core.effects import (
    Changed,
    CloseChanges,
    Commit,
    Deliver,
    Dial,
    Effect,
    Examine,
    FindMissing,
    Hangup,
    JudgeStatements,
    Log,
    MemberChanged,
    NextPage,
    OpenChanges,
    PeerForgotten,
    PeerRecorded,
    Reject,
    Resolve,
    Send,
    SendChunks,
    SendDatagram,
    SetTimer,
    Stop,
)
from bellande_mesh_sync.core.events import (
    AddressesChanged,
    ChunkRefused,
    ChunksStored,
    DatagramReceived,
    Event,
    Leave,
    LoopLate,
    Received,
    SendNote,
    StatementsJudged,
    TimerFired,
    WriteMany,
)
from bellande_mesh_sync.core.members.member import MemberRecord, MemberState
from bellande_mesh_sync.core.messages import ChunkMissing, Hello, Message
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.core.reader import RecordReader, StoredState
from bellande_mesh_sync.errors import StorageError
from bellande_mesh_sync.ids import NodeId, Now
from bellande_mesh_sync.sim import identity
from bellande_mesh_sync.sim.disk import SimDisk
from bellande_mesh_sync.sim.heartbeat import Heartbeat
from bellande_mesh_sync.sim.identity import SimIdentity
from bellande_mesh_sync.sim.network import Network, is_intact
from bellande_mesh_sync.sim.packets import SOCKET_PACKETS_MAX
from bellande_mesh_sync.sim.statements import judge_all
from bellande_mesh_sync.sim.trace import Trace
from bellande_mesh_sync.sim.world import MILLISECOND_NS, SECOND_NS, NodeClock, World

MESH_ID: Final = b"simulated mesh 1"
STOP_PATIENCE_NS: Final = 10 * SECOND_NS
"""How long a clean stop may take before somebody pulls the plug."""


class Core(Protocol):
    """What the simulator needs of a core; `NodeCore` is one."""

    def start(self, now: Now) -> list[Effect]: ...

    def handle(self, event: Event, now: Now) -> list[Effect]: ...

    def hello(self, lane: int) -> Hello: ...

    def backlog(self) -> dict[str, int]: ...


MakeCore = Callable[
    [CoreConfig, LocalNode, RecordReader, StoredState, random.Random, Callable[[], bytes]],
    Core,
]


class NodeWatcher(Protocol):
    """What checkers hear of a node."""

    def changed(self, node: SimNode, effect: Changed) -> None: ...

    def delivered(self, node: SimNode, effect: Deliver) -> None: ...

    def started(self, node: SimNode) -> None: ...

    def member_changed(self, node: SimNode, effect: MemberChanged) -> None: ...

    def stopped(self, node: SimNode, effect: Stop) -> None: ...


@dataclass(frozen=True, slots=True)
class NodeSetup:
    """What does not change between a node's runs."""

    config: CoreConfig
    bootstrap: tuple[str, ...]
    make_core: MakeCore
    timer_late_max_ns: int = 2 * MILLISECOND_NS
    has_datagrams: bool = True
    """Whether it has a port for datagrams; without one all goes over links."""


Answer = Callable[[Resolve | Reject | None], None]
"""Told how a command ended; None when the node died before it did."""


class SimNode:
    """One machine: a disk, a clock, and now and then a process with a core in it."""

    def __init__(
        self,
        world: World,
        me: SimIdentity,
        setup: NodeSetup,
        disk: SimDisk,
        network: Network,
        clock: NodeClock,
        trace: Trace,
        watcher: NodeWatcher,
    ) -> None:
        self.index = me.index
        self.name = me.name
        self.node: NodeId = me.node
        self.boot = 0
        self.address = f"10.0.0.{me.index}:7000"
        self.disk = disk
        self.clock = clock
        self.core: Core | None = None
        self.is_leaving = False
        self.answers: dict[int, Answer] = {}
        self.left_count = 0
        self.dies_after_effects = -1
        """A crash in the middle of doing the next effects, after this many; -1 for none."""
        self.takes_clients = True
        """Whether programs still use this node; not one that lies or was cut off."""
        self.since_ns = 0
        """When it last started, ended, was paused, went on, or got another address."""
        self.timer_count = 0
        """Timers that are set and have not come back, of this boot."""
        self.is_retired = False
        """It does not come back when it ends."""
        self.seal_key = b""
        self.peers: dict[NodeId, MemberRecord] = {}
        """Whose datagrams this run can open, and where it sends theirs to."""
        self.event_ns = 0
        """How long the process is busy with each event, on average; 0 for no time at all."""
        self.on_death: Callable[[], None] = lambda: None
        self.on_resume: Callable[[], None] = lambda: None
        self._world = world
        self._me = me
        self._setup = setup
        self._network = network
        self._trace = trace
        self._watcher = watcher
        self._rng = world.rng(f"node {me.index}")
        self._inbox: deque[tuple[Event, Callable[[], None] | None]] = deque()
        self._is_busy = False
        self._paused = False
        self._packets_waiting = 0
        self._still_ns = -1
        """Since when the process has done nothing at all; -1 while it works."""
        self._heartbeat = Heartbeat(0)
        self._next_link = 1
        self._next_request = 1
        self._outgoing: dict[int, list[Message]] = {}
        self._performers: dict[type, Callable[[Any], None]] = {
            Send: self._send,
            SendDatagram: self._send_datagram,
            PeerRecorded: self._peer_recorded,
            PeerForgotten: self._peer_forgotten,
            SetTimer: self._set_timer,
            Commit: self._commit,
            Dial: self._dial,
            Hangup: self._hang_up,
            OpenChanges: self._open_changes,
            NextPage: self._next_page,
            CloseChanges: self._close_changes,
            FindMissing: self._find_missing,
            Examine: self._examine,
            SendChunks: self._send_chunks,
            JudgeStatements: self._judge,
            Resolve: self._answer,
            Reject: self._answer,
            Changed: self._changed,
            Deliver: self._deliver,
            MemberChanged: self._member_changed,
            Stop: self._stop,
            Log: self._log,
        }
        disk.post = self.post
        disk.sync_failed = self._sync_failed
        network.register(self, self.address)
        network.packets.add(self)

    # -- life and death

    @property
    def is_running(self) -> bool:
        return self.core is not None

    @property
    def is_paused(self) -> bool:
        return self._paused

    def move(self, address: str) -> None:
        """The machine gets another address; for a stopped node."""
        self.address = address
        self._network.register(self, address)

    def rehome(self, address: str, notices_after_ns: int) -> None:
        """The machine gets another address while it runs: its connections go silent, and it is told later."""
        self.address = address
        self.since_ns = self._world.now_ns
        self._trace.note(self._world.now_ns, self.name, f"is at {address} from now on")
        self._network.rehome(self, address)
        self._world.after(notices_after_ns, self._notice_address, self.boot)

    def _notice_address(self, boot: int) -> None:
        if boot == self.boot:
            self.post(AddressesChanged((self.address,)))

    def start(self) -> None:
        """Start a process: a new boot id, and the state that the disk has."""
        assert self.core is None, "already running"
        self.boot += 1
        self.timer_count = 0
        self._paused = False
        self.since_ns = self._world.now_ns
        self.is_leaving = False
        self._still_ns = -1
        self._heartbeat = Heartbeat(self._world.now_ns)
        self.clock.reboot(self._rng.randrange(1, 10**15))
        rng = random.Random(self._rng.getrandbits(128))
        has_datagrams = self._setup.has_datagrams
        self.seal_key = rng.randbytes(32) if has_datagrams else b""
        local = LocalNode(
            node=self.node,
            public_key=self._me.public_key,
            mesh=MESH_ID,
            name=self.name,
            role="writer",
            boot=rng.randbytes(8),
            software="simulated",
            addresses=(self.address,),
            bootstrap=self._setup.bootstrap,
            sign=self._me.sign,
            verify=identity.verify,
            datagram_port=int(self.address.rpartition(":")[2]) if has_datagrams else 0,
            seal_key=self.seal_key,
        )
        self._trace.note(self._world.now_ns, self.name, f"starts, boot {self.boot}")
        self._watcher.started(self)
        state = self.disk.open()
        core = self._setup.make_core(
            self._setup.config, local, self.disk, state, rng, lambda: rng.randbytes(8)
        )
        self.core = core
        self._is_busy = True
        self._perform(None, core.start(self.clock.now()))
        self._is_busy = False
        if self.disk.config.sweep_every_ns:
            self._world.after(self.disk.config.sweep_every_ns, self._sweep, self.boot)
        self._drain()

    def crash(self, *, power: bool = False) -> None:
        """The process is gone, and with `power` the machine too: nobody tells its peers."""
        if self.core is None:
            return
        self._trace.note(self._world.now_ns, self.name, "loses power" if power else "is killed")
        self._die(power=power)

    def _die(self, *, power: bool) -> None:
        self.core = None
        self.since_ns = self._world.now_ns
        self.boot += 1
        self.dies_after_effects = -1
        self._network.notes.lose_waiting(event for event, _ in self._inbox)
        self._inbox.clear()
        self._packets_waiting = 0
        self.peers.clear()
        self._outgoing.clear()
        self.disk.crash()
        self._network.host_died(self, power=power)
        answers, self.answers = self.answers, {}
        for answer in answers.values():
            answer(None)
        self.on_death()

    def pause(self) -> None:
        """Stand still, as under SIGSTOP: what comes waits."""
        self._paused = True
        self._stand_still()
        self.since_ns = self._world.now_ns
        self._trace.note(self._world.now_ns, self.name, "is paused")

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self.since_ns = self._world.now_ns
            self._trace.note(self._world.now_ns, self.name, "goes on")
            self.on_resume()
            if not self._is_busy:
                self._move_on()
            self._drain()

    def leave(self) -> None:
        """Stop cleanly: say goodbye, let the disk finish, end."""
        if self.core is None or self.is_leaving:
            return
        self.is_leaving = True
        self.left_count += 1
        boot = self.boot
        self.command(Leave, lambda answer: self._end_when_idle(boot))
        self._world.after(STOP_PATIENCE_NS, self._lose_patience, boot)

    def _end_when_idle(self, boot: int) -> None:
        if self.boot != boot or self.core is None:
            return
        if self.disk.is_idle():
            self._trace.note(self._world.now_ns, self.name, "has stopped")
            self._die(power=False)
        else:
            self._world.after(MILLISECOND_NS, self._end_when_idle, boot)

    def _lose_patience(self, boot: int) -> None:
        if self.boot == boot:
            self.crash()

    def _sync_failed(self) -> None:
        """Nobody knows what the disk holds after a failed sync, so a shell stops at once."""
        self.crash()

    # -- what comes in

    def post(self, event: Event, prepare: Callable[[], None] | None = None) -> None:
        """Put an event into the process's queue; for a dead one it is lost."""
        if self.core is None:
            return
        self._inbox.append((event, prepare))
        self._drain()

    def take_packet(self, event: DatagramReceived) -> bool:
        """The socket's buffer holds so many, while the process does not get to them."""
        if self._packets_waiting >= SOCKET_PACKETS_MAX:
            return False
        self._packets_waiting += 1
        self.post(event)
        return True

    def command(self, make: Callable[..., Event], answer: Answer, *arguments: Any) -> int:
        """Give the core a command: `make(request, *arguments)`. Returns the request's number."""
        request = self._next_request
        self._next_request += 1
        self.answers[request] = answer
        self.post(make(request, *arguments))
        return request

    def write(self, answer: Answer, *arguments: Any) -> int:
        return self.command(WriteMany, answer, *arguments)

    def send_note(self, answer: Answer, *arguments: Any) -> int:
        return self.command(SendNote, answer, *arguments)

    def _drain(self) -> None:
        if self._is_busy:
            return  # Called from within an effect: the loop below comes to it.
        self._is_busy = True
        boot = self.boot
        while self._inbox and not self._paused and self.core is not None and self.boot == boot:
            event, prepare = self._inbox.popleft()
            if prepare is not None:
                prepare()
            elif type(event) is DatagramReceived:
                self._packets_waiting -= 1
            try:
                effects = self.core.handle(event, self.clock.now())
            except StorageError as error:
                self._network.notes.lose_waiting([event])
                self._store_failed(error)
                break
            self._perform(event, effects)
            if self.event_ns and self.boot == boot and type(event) is not LoopLate:
                self._stand_still()
                self._world.after(int(self._rng.expovariate(1.0) * self.event_ns), self._go_on, boot)
                return  # Still busy, so what comes meanwhile waits.
        self._is_busy = False

    def _go_on(self, boot: int) -> None:
        if self.boot == boot:
            self._is_busy = False
            if not self._paused:
                self._move_on()
            self._drain()

    def _stand_still(self) -> None:
        if self._still_ns < 0:
            self._still_ns = self._world.now_ns

    def _move_on(self) -> None:
        """Before any timer that fell due meanwhile comes the one that shows how late they all are."""
        if self._still_ns < 0 or self.core is None:
            return
        lag_ns = self._heartbeat.stood_still(self._still_ns, self._world.now_ns)
        self._still_ns = -1
        if lag_ns:
            waiting = (place for place, (event, _) in enumerate(self._inbox) if type(event) is TimerFired)
            self._inbox.insert(next(waiting, len(self._inbox)), (LoopLate(lag_ns), None))

    def _store_failed(self, error: StorageError) -> None:
        """What the store holds cannot be read: as after a failed sync, the shell stops."""
        self._trace.note(self._world.now_ns, self.name, f"stops: {error}")
        self.crash()

    # -- what goes out

    def _perform(self, event: Event | None, effects: list[Effect]) -> None:
        last_count = self.dies_after_effects
        if 0 <= last_count < len(effects):
            effects = effects[:last_count]
        if type(event) is Received:
            notes = self._network.notes
            notes.handled(self.index, self.boot, event, effects, is_killed=last_count >= 0)
        self._trace.turn(self._world.now_ns, self.name, event, effects)
        boot = self.boot
        perform = self._performers
        for effect in effects:
            perform[type(effect)](effect)
            if self.boot != boot:
                return  # It died of this effect.
        if self._outgoing:
            self._flush()
        if last_count >= 0 and (effects or not last_count):
            self._trace.note(self._world.now_ns, self.name, "is killed amid its effects")
            self._die(power=False)

    def _send(self, effect: Send) -> None:
        self._outgoing.setdefault(effect.link, []).append(effect.message)

    def _send_datagram(self, effect: SendDatagram) -> None:
        self._network.packets.send(self, effect)

    def _peer_recorded(self, effect: PeerRecorded) -> None:
        self.peers[effect.record.node] = effect.record

    def _peer_forgotten(self, effect: PeerForgotten) -> None:
        self.peers.pop(effect.node, None)

    def _set_timer(self, effect: SetTimer) -> None:
        self.timer_count += 1
        late_ns = self._rng.randrange(self._setup.timer_late_max_ns + 1)
        at_ns = self.clock.world_time_of(effect.at_ns) + late_ns
        self._world.at(at_ns, self._fire, self.boot, TimerFired(effect.timer))

    def _commit(self, effect: Commit) -> None:
        self.disk.commit(effect.commit, effect.batch)

    def _dial(self, effect: Dial) -> None:
        self._network.dial(
            self, effect.dial, effect.address, effect.peer, effect.lane, is_wanted=effect.is_wanted
        )

    def _hang_up(self, effect: Hangup) -> None:
        self._flush()
        self._network.notes.hung_up(self.index, self.boot, effect.link)
        self._network.hangup(self, effect.link, effect.code, effect.reason)

    def _open_changes(self, effect: OpenChanges) -> None:
        self.disk.open_changes(effect.reading, effect.shard, effect.dots)

    def _next_page(self, effect: NextPage) -> None:
        self.disk.next_page(effect.reading)

    def _close_changes(self, effect: CloseChanges) -> None:
        self.disk.close_changes(effect.reading)

    def _find_missing(self, effect: FindMissing) -> None:
        self.disk.find_missing(effect.fetch, effect.manifest)

    def _examine(self, effect: Examine) -> None:
        self.disk.examine(effect.shard)

    def _send_chunks(self, effect: SendChunks) -> None:
        for hash in effect.hashes:
            self.disk.read_later(self._send_chunk, effect.link, hash)

    def _judge(self, effect: JudgeStatements) -> None:
        """In a worker thread, so that its answer comes a little later."""
        event = StatementsJudged(effect.link, *judge_all(effect.statements))
        self.disk.read_later(self.post, event)

    def _changed(self, effect: Changed) -> None:
        self._watcher.changed(self, effect)

    def _deliver(self, effect: Deliver) -> None:
        self._watcher.delivered(self, effect)

    def _member_changed(self, effect: MemberChanged) -> None:
        self._watcher.member_changed(self, effect)

    def _stop(self, effect: Stop) -> None:
        self._watcher.stopped(self, effect)
        self._die(power=False)

    def _log(self, effect: Log) -> None:
        """For people; the trace has it."""

    def _flush(self) -> None:
        """All messages of one turn and link go in one write, as the shell does it."""
        while self._outgoing:
            outgoing, self._outgoing = self._outgoing, {}
            self._network.send(self, outgoing)

    def _fire(self, boot: int, event: TimerFired) -> None:
        if boot == self.boot:
            self.timer_count -= 1
            self.post(event)

    def _answer(self, effect: Resolve | Reject) -> None:
        answer = self.answers.pop(effect.request)  # A second answer to one request is a KeyError here.
        answer(effect)

    # -- chunks: the shell's own business

    def _send_chunk(self, link: int, hash: bytes) -> None:
        body = self.disk.chunk(hash)
        if body is None:
            self._network.send(self, {link: [ChunkMissing((hash,))]})
        else:
            self._network.send_chunk(self, link, hash, body)

    def chunk_arrived(self, link: int, hash: bytes, body: bytes) -> None:
        """A whole chunk came in: check it, store it, tell the core."""
        if self.core is None:
            return
        if not is_intact(hash, body):
            self.post(ChunkRefused(link, hash, "bad_hash"))
        elif self.disk.is_full:
            self.post(ChunkRefused(link, hash, "disk_full"))
        else:
            self.disk.read_later(self._store_chunk, link, hash, body)

    def _store_chunk(self, link: int, hash: bytes, body: bytes) -> None:
        self.disk.add_chunks({hash: body})
        self.post(ChunksStored(link, (hash,)))

    def _sweep(self, boot: int) -> None:
        if boot != self.boot or self.core is None:
            return
        writes = [event for event, _ in self._inbox if isinstance(event, WriteMany)]
        waiting = [each.manifest for event in writes for each in event.writes if each.manifest is not None]
        self.disk.sweep([*cast(NodeCore, self.core).manifests_under_way(), *waiting])
        self._world.after(self.disk.config.sweep_every_ns, self._sweep, boot)

    # -- what the network needs

    def backlog(self) -> dict[str, int]:
        """What waits in the core, by name; a dead one's counts for nothing."""
        return {} if self.core is None else self.core.backlog()

    def members_shown(self) -> dict[NodeId, MemberState]:
        """The state of each other member, as programs see it; a dead process shows nothing."""
        return {} if self.core is None else cast(NodeCore, self.core).directory.states()

    def make_hello(self, lane: int) -> Hello:
        assert self.core is not None
        return self.core.hello(lane)

    def new_link(self) -> int:
        link = self._next_link
        self._next_link += 1
        return link
