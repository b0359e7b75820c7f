"""Membership of 3,000 and of 10,000 nodes: the upper end of the curve; and 1,000 in halves. Takes long."""

from __future__ import annotations

import resource

from bellande_mesh_sync.sim.campaign import prepare
from bench.measure import Report, progress
from bench.members import add_split
from bench.members_worlds import add_curve

LARGE = ((3_000, 3, 1), (10_000, 2, 1))
"""Nodes, kills, joins; one run of each, however many are asked for."""


def run(runs: int) -> Report:
    report = Report("members_large")
    prepare()
    add_split(report, 1000, "fast", range(1, 2))
    for nodes, kills, joins in LARGE:
        progress(f"{nodes} members: the curve")
        add_curve(report, nodes, 1.0, kills=kills, joins=joins)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report.add("the whole process, at most", "MiB", [peak_kib / 1024])
    return report
