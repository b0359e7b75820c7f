"""`bms path`: search paths through spaces of any dimension."""

from __future__ import annotations

from bellande_mesh_sync.cli.groups import CommandGroup

path = CommandGroup(
    "path",
    section="Paths",
    help="Search paths through spaces of any dimension. They need the extra 'path'.",
    examples=(
        "bms path plan scene.json",
        """bms path step '{"node0": [0, 0], "node1": [30, 40], "limit": 25}'""",
    ),
    members={
        "plan": "path_plan:plan",
        "step": "path_ask:step",
        "limit": "path_ask:limit",
        "importance": "path_ask:importance",
        "particle": "path_ask:particle",
        "probability": "path_ask:probability",
        "motion": "path_ask:motion",
        "tree": "path_ask:tree",
        "segment": "path_ask:segment",
    },
)
