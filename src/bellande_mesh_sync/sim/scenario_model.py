"""The tables of a scenario file and their fields."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from bellande_mesh_sync.config_model import Ack
from bellande_mesh_sync.sim.quantities import Bandwidth, Duration, Size

Ratio = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=1)]
Deed = Literal[
    "kill", "power_cut", "restart", "pause", "resume", "wipe", "fill_disk", "set_clock",
    "partition", "one_way", "heal",
]  # fmt: skip


class _Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Fleet(_Table, frozen=True, kw_only=True):
    nodes: Count | None = None
    groups: dict[str, Count] = {}


class Between(_Table, frozen=True, kw_only=True):
    groups: tuple[str, str]
    link: str


class LinkFigures(_Table, frozen=True, kw_only=True):
    """A class of links of one's own; see LinkClass."""

    latency: Duration
    jitter: Duration = Duration(0.0)
    loss: Ratio = 0.0
    bandwidth: Bandwidth = Bandwidth(12_500_000)
    drop_every: Duration = Duration(0.0)
    drop_lasts: Duration = Duration(0.0)


class Links(_Table, frozen=True, kw_only=True):
    default: str = "lan"
    between: tuple[Between, ...] = ()
    classes: dict[str, LinkFigures] = {}


class Workload(_Table, frozen=True, kw_only=True):
    """What each node of some groups does: writes of its own, or a program."""

    on: tuple[str, ...] = ()
    every: Duration = Duration(1.0)
    keys: Annotated[tuple[str, ...], Meta(min_length=1)] = ("load/{node}",)
    size: Size = Size(100)
    size_max: Size | None = None
    acks: dict[Ack, Count] = {}
    deletes: Ratio = 0.0
    program: str = ""


class Step(_Table, frozen=True, kw_only=True):
    """One line of a script."""

    at: Duration
    do: Deed
    nodes: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    lasts: Duration | None = None
    offset_s: float = 0.0


class FaultPlan(_Table, frozen=True, kw_only=True):
    lasts: Duration = Duration(8.0)
    every: dict[str, Duration] = {}
    script: tuple[Step, ...] = ()


class Expectations(_Table, frozen=True, kw_only=True):
    converge_within: Duration = Duration(300.0)
    ack_p99_ms_max: dict[Ack, float] = {}


class ScenarioFile(_Table, frozen=True, kw_only=True):
    fleet: Fleet
    duration: Duration
    seeds: Count = 10
    links: Links = Links()
    spaces: dict[str, dict[str, Any]] = {}
    workload: tuple[Workload, ...] = ()
    faults: FaultPlan = FaultPlan()
    expect: Expectations = Expectations()
