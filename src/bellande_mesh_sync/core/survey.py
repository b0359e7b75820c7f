"""Surveys: what each node says of its own links, so that one node can show who sees whom."""

from __future__ import annotations

from typing import Final, TypeAlias

from msgspec import Struct

from bellande_mesh_sync.ids import NodeId

UNKNOWN: Final = -1


class LinkReport(Struct, frozen=True, array_like=True, gc=False):
    """One member, as the node that reports sees it."""

    node: NodeId
    rtt_us: int
    """Round trip in microseconds; UNKNOWN before the first one was measured."""
    loss_permille: int
    """Of a thousand probes, how many of the last ones stayed without an answer; UNKNOWN before any."""
    is_linked: bool


SurveyAnswer: TypeAlias = tuple[tuple[NodeId, tuple[LinkReport, ...]], ...]
"""(who reports, what it reports), the asking node's own report first. Who did not answer is missing."""
