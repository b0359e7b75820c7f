"""One run: the world is built from a scenario, goes through its faults, and must then come to rest."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from bellande_mesh_sync.core.data.record import INLINE_BYTES_MAX
from bellande_mesh_sync.core.effects import Batch, Changed, Deliver, MemberChanged, Stop
from bellande_mesh_sync.core.members.member import MemberRecord, signed
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.core.spreading.weight import RECORDS_MESSAGE_BYTES_MAX
from bellande_mesh_sync.errors import BellandeMeshError
from bellande_mesh_sync.sim.additions import Additions
from bellande_mesh_sync.sim.checkers import AckChecker, Disk, DiskChecker, Violation, differences
from bellande_mesh_sync.sim.context_checker import ContextChecker
from bellande_mesh_sync.sim.disk import SimDisk
from bellande_mesh_sync.sim.faults import Faults
from bellande_mesh_sync.sim.history import ClockSet, DiskLost, Joined, RecordsLost
from bellande_mesh_sync.sim.history_checker import HistoryChecker
from bellande_mesh_sync.sim.identity import SimIdentity, make_identity
from bellande_mesh_sync.sim.liar import Liar, LiarConfig
from bellande_mesh_sync.sim.member_checker import MemberChecker
from bellande_mesh_sync.sim.network import Network
from bellande_mesh_sync.sim.next_version import bend_to_next_version
from bellande_mesh_sync.sim.node import MakeCore, NodeSetup, SimNode
from bellande_mesh_sync.sim.oracle import Oracle
from bellande_mesh_sync.sim.outcome import Outcome, story_of
from bellande_mesh_sync.sim.probe import Probe
from bellande_mesh_sync.sim.statement_checker import StatementChecker
from bellande_mesh_sync.sim.swarm import Scenario
from bellande_mesh_sync.sim.trace import Trace, in_words
from bellande_mesh_sync.sim.workload import Workload
from bellande_mesh_sync.sim.world import SECOND_NS, NodeClock, World

CHECK_INTERVAL_NS: Final = SECOND_NS
FULL_CHECK_INTERVAL_NS: Final = 60 * SECOND_NS
WARM_UP_MAX_NS: Final = 300 * SECOND_NS
HOUR_NS: Final = 3600 * SECOND_NS
TIMERS_MAX: Final = 3_000
"""Of one node: one a write that waits for others, one a stream, and a handful besides."""
FRAME_SLACK_BYTES: Final = 64 * 1024
"""What the wire adds to the weight that the core counts against credit, at most."""


class Simulation:
    """A mesh of simulated nodes with all checkers attached."""

    def __init__(
        self, scenario: Scenario, *, make_core: MakeCore = NodeCore, echo: Callable[[str], None] | None = None
    ) -> None:
        self.scenario = scenario
        self.world = World(scenario.seed)
        self.trace = Trace(echo)
        self.network = Network(self.world, scenario.network, scenario.links)
        self.network.tap = self.trace.frames
        identities = [make_identity(scenario.seed, index) for index in range(scenario.nodes)]
        ids = [identity.node for identity in identities]
        self.disk_checker = DiskChecker(ids)
        self.disks = [self._make_disk(index) for index in range(scenario.nodes)]
        self.members = MemberChecker(scenario.core, self.network)
        self.ack_checker = AckChecker(self.disks, ids, self.disk_checker)
        self.ack_checker.rewriting = frozenset(
            space for space, name in scenario.core.conflicts if name not in ("lww", "siblings")
        )
        self._make_core = make_core
        self.nodes = [self._make_node(identity) for identity in identities]
        if scenario.knows_members:
            self._introduce(identities)
        self.oracle = Oracle()
        for node in self.nodes:
            self.oracle.hear(Joined(node.index, node.node.hex()))
        self.workload = Workload(
            self.world, scenario.workload, self.nodes, self.disk_checker, self.ack_checker, self.oracle
        )
        self.additions = Additions(self.world, scenario.workload.additions_per_s, self.nodes)
        self.ack_checker.owners = lambda index: self.members.owners(index, self.world.now_ns)
        self.ack_checker.lets_go = scenario.core.rebalance_after_ns < HOUR_NS
        self.ack_checker.has_left = lambda index, node, since_ns: self.members.has_left(
            index, node, since_ns, self.world.now_ns
        )
        self.disk_checker.tombstones.keepers = self._keepers
        self.history_checker = HistoryChecker(scenario.core.history, len(self.disks))
        self.context_checker = ContextChecker()
        self.workload.resolved = self.context_checker.resolved
        self.statement_checker = StatementChecker()
        self.faults = Faults(self.world, scenario.faults, self.nodes, self.network)
        self.faults.disks.wiped = self.ack_checker.wiped
        self.faults.clocks.clock_set = self._clock_set
        self.faults.processes.left = self.members.gone = self.ack_checker.left.add
        self.faults.processes.join = self._join
        self.faults.statements.stated = self.statement_checker.stated
        self.faults.statements.durable = lambda node, judged: self.statement_checker.durable(
            node.disk, judged
        )
        self.faults.standing.revoked = self._cut_off
        self.faults.statements.expelled = self._expelled
        self.disk_checker.is_revoked = self.statement_checker.is_revoked
        self.apart: set[int] = set()
        """Nodes that need not agree with the others in the end: cut off, or liars."""
        self.liar = self._make_liar(identities)
        self._make_newer()
        self._settled_ns = 0

    # -- building

    def _make_disk(self, index: int) -> SimDisk:
        rng = self.world.rng(f"disk {index}")
        return SimDisk(self.world, index, self.scenario.disk, rng, self)

    def _join(self) -> SimNode:
        """A new machine, with an empty disk and the address of one node."""
        identity = make_identity(self.scenario.seed, len(self.nodes))
        self.disk_checker.joined(identity.node)
        self.history_checker.joined()
        self.disks.append(self._make_disk(identity.index))
        self.ack_checker.joined(identity.index, identity.node)
        self.oracle.hear(Joined(identity.index, identity.node.hex()))
        node = self._make_node(identity)
        self.nodes.append(node)
        return node

    def _cut_off(self, node: SimNode) -> None:
        self.apart.add(node.index)

    def _expelled(self, node: SimNode) -> None:
        self.apart.add(node.index)
        self.network.expelled.add(node.index)
        self.ack_checker.liars.add(node.index)
        self.oracle.liars.add(node.index)

    def _make_liar(self, identities: list[SimIdentity]) -> Liar | None:
        """The last node, in a mesh in which two honest ones are left."""
        if self.scenario.liar == LiarConfig() or self.scenario.nodes < 3:
            return None
        node = self.nodes[-1]
        self.apart.add(node.index)
        self.ack_checker.liars.add(node.index)
        self.oracle.liars.add(node.index)
        return Liar(self.world, self.scenario.liar, node, identities[-1], self.network)

    def _make_newer(self) -> None:
        rng = self.world.rng("versions")
        for node in self.nodes:
            if node.takes_clients and rng.random() < self.scenario.newer_ratio:
                self.network.bent[node.index] = bend_to_next_version

    def _keepers(self) -> list[int]:
        """Whose disks must have a delete before it is forgotten; who may have been forgotten needs not."""
        if self.scenario.core.forget_after_ns < HOUR_NS:
            return []
        excused = self.ack_checker.left | self.apart
        return [disk.index for disk in self.disks if disk.index not in excused]

    def settled(self) -> list[SimNode]:
        """The nodes that must agree in the end."""
        return [node for node in self.nodes if node.index not in self.apart]

    def _make_node(self, identity: SimIdentity) -> SimNode:
        scenario = self.scenario
        rng = self.world.rng(f"clock {identity.index}")
        clock = NodeClock(
            self.world,
            offset_ms=rng.randint(-scenario.clock_offset_max_ms, scenario.clock_offset_max_ms),
            drift_ppm=rng.randint(-scenario.clock_drift_max_ppm, scenario.clock_drift_max_ppm),
        )
        # Everybody can be found from the first node, directly or through those before.
        before = sorted({0, rng.randrange(max(identity.index, 1))} - {identity.index})
        setup = NodeSetup(
            scenario.core,
            tuple(f"10.0.0.{index}:7000" for index in before),
            self._make_core,
            has_datagrams=scenario.datagrams,
        )
        disk = self.disks[identity.index]
        return SimNode(self.world, identity, setup, disk, self.network, clock, self.trace, self)

    def _introduce(self, identities: list[SimIdentity]) -> None:
        """The nodes have met in an earlier life: their disks know all members."""
        members = tuple(
            signed(
                MemberRecord(
                    me.node, me.public_key, me.name, (f"10.0.0.{me.index}:7000",), "writer", 1, False, "old"
                ),
                me.sign,
            )
            for me in identities
        )
        for disk in self.disks:
            disk.platter.apply(Batch(members=members))

    # -- running

    def run(self) -> Outcome:
        """Go through the whole scenario. Whatever is raised within becomes the outcome's violation."""
        started = time.perf_counter()
        violation = where = about = ""
        try:
            self._run()
        except Violation as error:
            violation, where, about = str(error), error.node, error.about
        except BellandeMeshError as error:
            violation = f"peer_error: a node sent what a node refuses: {error!r}"
        except Exception as error:  # noqa: BLE001 - a core that crashes is a finding like any other.
            violation = f"exception: {raised(error)}"
        return Outcome(
            scenario=self.scenario,
            violation=violation,
            check=violation.partition(":")[0],
            where=where,
            digest=self.trace.digest(),
            virtual_s=self.world.now_ns / SECOND_NS,
            real_s=time.perf_counter() - started,
            settled_s=self._settled_ns / SECOND_NS,
            steps=self.world.step_count,
            events=self.trace.count,
            faults=Counter(self.faults.counts),
            counts=self._counts(),
            story=story_of(self.trace, where, about) if violation else (),
        )

    def _counts(self) -> Counter[str]:
        counts = (
            Counter(self.workload.counts)
            + self.additions.counts
            + Counter(self.network.counts)
            + self.faults.details()
        )
        return counts if self.liar is None else counts + self.liar.counts

    def _run(self) -> None:
        rng = self.world.rng("start")
        for node in self.nodes:
            self.world.after(rng.randrange(SECOND_NS), node.start)
        self.world.at(CHECK_INTERVAL_NS, self._check)
        self.world.at(FULL_CHECK_INTERVAL_NS, self._check_fully)
        self._warm_up()
        self.workload.start()
        self.additions.start()
        self.faults.start()
        if self.liar is not None:
            self.liar.start()
        end_ns = self.world.now_ns + int(self.scenario.faults_s * SECOND_NS)
        self.world.run_until(end_ns)
        self.workload.stop()
        self.additions.stop()
        if self.liar is not None:
            self.liar.stop()
        self.faults.stop()
        self._settle(end_ns)

    def _warm_up(self) -> None:
        """Until every disk knows all members: before that, `quorum` and `all` mean what a node knows of."""
        while any(len(disk.platter.members) < len(self.nodes) for disk in self.disks):
            self.world.run_until(self.world.now_ns + SECOND_NS)
            if self.world.now_ns > WARM_UP_MAX_NS:
                raise Violation("meeting", "", "the nodes have not found each other")
        self.world.run_until(self.world.now_ns + SECOND_NS)

    def _settle(self, end_ns: int) -> None:
        """The faults are over: within a bounded time all must hold the same."""
        deadline_ns = end_ns + int(self.scenario.settle_s * SECOND_NS)
        found = ["it was not looked at"]
        while self.world.now_ns < deadline_ns:
            self.world.run_until(self.world.now_ns + SECOND_NS)
            if all(node.is_running and not node.is_leaving for node in self.settled()):
                found = self._differences()
                if not found:
                    break
        if found:
            raise Violation("convergence", "", f"after {self.scenario.settle_s:g} s: {'; '.join(found[:6])}")
        self._settled_ns = self.world.now_ns - end_ns
        # Agreement must last, what was on its way must come to its end, and the mesh must still be of use.
        # Nodes that have not a link with everybody do not hear everybody's acks.
        has_all_links = self.scenario.core.connections_max >= len(self.nodes) - 1
        level = "all" if has_all_links and not self.apart else "one"
        probe = Probe(self.world, self.workload, self.settled(), level)
        probe.run(self.scenario.core.redial_max_ns)
        if found := self._differences():
            raise Violation("convergence", "", f"agreement did not last: {'; '.join(found[:6])}")
        self._check_fully()
        self._check_backlogs()
        self.workload.check_at_rest(self.settled())
        self.additions.check_at_rest(self.settled())
        self.oracle.notes.check_ledger(self.network.notes.sent_count, self.network.notes.lost)
        self.members.check_at_rest(self.settled())
        self.statement_checker.check_at_rest([node.disk for node in self.settled()])
        for node in self.settled():
            self.statement_checker.check_shown(node.disk, node.members_shown())
        if self.liar is None:  # A member that lies is believed about what replaced what.
            self.history_checker.check_at_rest([node.disk for node in self.settled()])
        for node in self.settled():
            if node.disk.view_count:
                raise Violation("bounds", node.name, f"{node.disk.view_count} views are still open at rest")

    def _differences(self) -> list[str]:
        disks = [node.disk for node in self.settled()]
        return differences(disks) + self.statement_checker.differences(disks)

    # -- checks that go on all the time

    def _check_backlogs(self) -> None:
        """At rest nothing waits any more."""
        for node in self.settled():
            for name, count in node.backlog().items():
                if count:
                    raise Violation("bounds", node.name, f"{count} {name} still wait at rest")

    def _check(self) -> None:
        """Bounds: nothing that others can make grow may grow without end."""
        self.world.after(CHECK_INTERVAL_NS, self._check)
        self.members.look(self.nodes, self.world.now_ns)
        self.members.check_shown(self.settled())
        core = self.scenario.core
        # A page that was being read when the credit ran out is still sent, one of each stream; and a push
        # goes out whole while any credit is left.
        link_bytes_max = core.credit_bytes + core.streams_max * core.page_bytes + RECORDS_MESSAGE_BYTES_MAX
        for index, link, in_flight_bytes in self.network.lanes_in_flight():
            if in_flight_bytes > link_bytes_max + FRAME_SLACK_BYTES:
                raise Violation("bounds", f"n{index}", f"{in_flight_bytes} bytes under way on link {link}")
        request_bytes_max = self.scenario.workload.batch_max * INLINE_BYTES_MAX
        waiting_bytes_max = core.uncommitted_bytes_max + request_bytes_max + len(self.nodes) * link_bytes_max
        for disk in self.disks:
            records = [record for batch in disk.outstanding for _, record in batch.puts]
            waiting_bytes = sum(len(record.inline or b"") for record in records)
            if waiting_bytes > waiting_bytes_max:
                raise Violation("bounds", f"n{disk.index}", f"{waiting_bytes} bytes wait for the disk")
            if self.nodes[disk.index].timer_count > TIMERS_MAX:
                count = self.nodes[disk.index].timer_count
                raise Violation("bounds", f"n{disk.index}", f"{count} timers are set")
            if disk.view_count > 2 * len(self.nodes) * core.streams_max:
                raise Violation("bounds", f"n{disk.index}", f"{disk.view_count} views are open")

    def _check_fully(self) -> None:
        if self.world.now_ns % FULL_CHECK_INTERVAL_NS == 0:
            self.world.after(FULL_CHECK_INTERVAL_NS, self._check_fully)
        for disk in self.disks:
            self.disk_checker.check_disk(disk)
            self.history_checker.check_disk(disk)
            self.statement_checker.check_disk(disk)
        self.ack_checker.check_all()
        self.members.check(self.settled(), self.world.now_ns)

    # -- what disks and nodes report

    def applied(self, disk: Disk, batch: Batch) -> None:
        self.disk_checker.applied(disk, batch)
        self.history_checker.applied(disk, batch)
        self.context_checker.applied(disk, batch)
        self.statement_checker.applied(disk, batch)
        if batch.set_aside:
            keys = tuple(damaged.key for damaged in batch.set_aside)
            self.ack_checker.set_aside(disk.index, keys)
            self.additions.set_aside(disk.index, keys)
            self.oracle.hear(RecordsLost(disk.index, keys, self.world.now_ns))

    def wiped(self, disk: Disk) -> None:
        self.disk_checker.wiped(disk)
        self.history_checker.wiped(disk)
        self.statement_checker.wiped(disk)
        self.additions.wiped(disk.index)
        self.oracle.hear(DiskLost(disk.index, self.world.now_ns))

    def _clock_set(self, index: int) -> None:
        self.disk_checker.clock_set(index)
        self.oracle.hear(ClockSet(index, self.world.now_ns))

    def changed(self, node: SimNode, effect: Changed) -> None:
        for record in effect.records:
            if not self.disk_checker.holds(node.disk, record.key, record.dot):
                raise Violation("changed", node.name, f"{in_words(record)} is announced and not durable")

    def delivered(self, node: SimNode, effect: Deliver) -> None:
        self.workload.notes.delivered(node, effect)

    def started(self, node: SimNode) -> None:
        self.members.started(node)

    def member_changed(self, node: SimNode, effect: MemberChanged) -> None:
        if node.index not in self.apart:
            self.members.changed(node, effect, self.nodes, self.world.now_ns)

    def stopped(self, node: SimNode, effect: Stop) -> None:
        if effect.code == "revoked" and node.index in self.network.expelled:
            node.is_retired = True
            return
        raise Violation("stopped", node.name, f"{effect.code}: {effect.reason}")


def run(scenario: Scenario, *, echo: Callable[[str], None] | None = None) -> Outcome:
    """Run a scenario from start to end."""
    return Simulation(scenario, echo=echo).run()


def raised(error: Exception) -> str:
    """The error, and the innermost places it came from."""
    places: list[str] = []
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        places.append(f"{code.co_filename.rsplit('/', 1)[-1]}:{step.tb_lineno} {code.co_name}")
        step = step.tb_next
    return f"{error!r} at {' < '.join(reversed(places[-6:]))}"
