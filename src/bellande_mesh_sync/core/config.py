"""The settings a core is given, and what it is told about its own node."""

from __future__ import annotations

from dataclasses import dataclass

from bellande_mesh_sync.core.data.history import NO_HISTORY, HistoryPolicies
from bellande_mesh_sync.core.members.member import MemberRecord, Sign, Verify, signed
from bellande_mesh_sync.core.members.swim.config import LAN, SwimConfig
from bellande_mesh_sync.core.placement.placement import PlacedSpace
from bellande_mesh_sync.ids import NodeId

SECOND_NS = 1_000_000_000
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class CoreConfig:
    """Times in nanoseconds, sizes in bytes. The defaults are for a LAN; a simulator shrinks them."""

    tick_ns: int = SECOND_NS
    """How often links, dials and member states are looked at."""
    ping_interval_ns: int = 5 * SECOND_NS
    """A link that was silent this long is pinged; silent three times this long, it is closed."""
    node_timeout_ns: int = 300 * SECOND_NS
    """A member that is silent is dead at the latest after this, however few agree."""
    sync_interval_ns: int = 30 * SECOND_NS
    """How often knowledge is compared with every peer, beside each new link."""
    pull_delay_ns: int = SECOND_NS // 5
    """How long to wait for a record on its way from its author before asking another node for it."""
    stall_timeout_ns: int = 20 * SECOND_NS
    """A stream or chunk request without any progress this long is given up and asked for anew."""
    redial_min_ns: int = SECOND_NS // 5
    redial_max_ns: int = 30 * SECOND_NS
    """Pause between dials of one address: doubles from min to max, with full jitter."""
    clock_drift_max_ms: int = 60_000
    """A record stamped further ahead than this is held off, and does not drag our clock along."""
    forget_after_ns: int = 72 * 3600 * SECOND_NS
    """How long a dead member is still dialled."""
    rebalance_after_ns: int = 600 * SECOND_NS
    """How long a dead member still counts as an owner in `quorum` and `all`."""
    swim: SwimConfig = LAN
    """The failure detector's profile. Its bounds on members and time are those given here."""
    connections_max: int = 1000
    credit_bytes: int = 8 * MIB
    """Records a peer may have in flight to us: sent and not yet committed here."""
    page_bytes: int = MIB // 4
    """Records read from the store at a time for a stream."""
    streams_max: int = 4
    """Streams served to one peer at once; more wait in its request queue of this many again."""
    fetch_window_bytes: int = 32 * MIB
    """Chunks asked of one peer and not yet here."""
    share_bytes: int = 4 * MIB
    """When more than this has yet to be asked of one peer, others that have it too take their part."""
    uncommitted_bytes_max: int = 64 * MIB
    """Writes waiting for the disk; beyond it new writes are refused as busy."""
    acks_waiting_max: int = 100_000
    """Writes waiting for other nodes' acks; beyond it new ones are refused as busy."""
    members_max: int = 20_000
    notes_bytes_max: int = 256 * 1024
    """The largest message from program to program."""
    history: HistoryPolicies = NO_HISTORY
    """Which replaced versions are kept."""
    history_interval_ns: int = 60 * SECOND_NS
    """How often old versions are looked at for their age, where a space has a limit to it."""
    conflicts: tuple[tuple[str, str], ...] = ()
    """Space and name of its policy, where that is neither `lww` nor a function."""
    placed: tuple[PlacedSpace, ...] = ()
    """The spaces of which not every member holds everything."""
    rebalance_bytes_per_s: int = 32 * MIB
    """What this node reads at most for others, of spaces that are placed; the first page comes at once."""


@dataclass(frozen=True, slots=True)
class LocalNode:
    """Who this node is. `sign` and `verify` stand for its key, so that no key lives in the core."""

    node: NodeId
    public_key: bytes
    mesh: bytes
    name: str
    role: str
    boot: bytes
    """8 random bytes of this run."""
    software: str
    addresses: tuple[str, ...]
    """Where others can dial us, best first."""
    bootstrap: tuple[str, ...]
    sign: Sign
    verify: Verify
    started_ms: int = 0
    """When this run began, by the wall clock."""
    datagram_port: int = 0
    """0: datagrams are off, and everything goes over links."""
    seal_key: bytes = b""
    labels: tuple[tuple[str, str], ...] = ()
    capacity: int = 100
    zone: str = ""

    def record(self, incarnation: int, *, left: bool = False) -> MemberRecord:
        """What it says of itself in this incarnation, signed."""
        return signed(
            MemberRecord(
                self.node, self.public_key, self.name, self.addresses, self.role, incarnation, left,
                self.software, self.boot, self.started_ms, self.datagram_port, self.seal_key, self.labels,
                self.capacity, self.zone,
            ),
            self.sign,
        )  # fmt: skip
