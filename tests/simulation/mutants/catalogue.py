"""All planted bugs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tests.simulation.mutants import (
    acks,
    data,
    disk_order,
    escaped,
    members_and_links,
    spreading,
    swim,
    tombstones,
)
from tests.simulation.mutants.planting import Mutant

GROUPS: Final[Mapping[str, tuple[Mutant, ...]]] = MappingProxyType(
    {
        "what replaces what": data.MUTANTS,
        "how records get around": spreading.MUTANTS,
        "how deletes are forgotten": tombstones.MUTANTS,
        "what callers are told": acks.MUTANTS,
        "what waits for the disk": disk_order.MUTANTS,
        "members and links": members_and_links.MUTANTS,
        "who is alive": swim.MUTANTS,
    }
)
"""The bugs that the simulator has to find."""

MUTANTS: Final[Mapping[str, Mutant]] = MappingProxyType(
    {mutant.name: mutant for group in GROUPS.values() for mutant in group}
)

ESCAPED: Final[Mapping[str, Mutant]] = MappingProxyType({mutant.name: mutant for mutant in escaped.MUTANTS})
"""Not found yet, and not part of the proof."""
