"""Surveys: asks all linked members whom they have links with, and answers those who ask."""

from __future__ import annotations

from dataclasses import dataclass

from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.effects import Effect, Resolve, Send, SetTimer
from bellande_mesh_sync.core.events import Survey
from bellande_mesh_sync.core.members.membership import Membership
from bellande_mesh_sync.core.messages import SurveyReport, SurveyWant
from bellande_mesh_sync.core.session.links import Link, Links
from bellande_mesh_sync.core.survey import UNKNOWN, LinkReport
from bellande_mesh_sync.core.timers import SurveyOver
from bellande_mesh_sync.ids import NodeId, Now

SURVEYS_MAX = 32
"""Open at once; a program that asks for more gets what its own node sees."""
REPORTS_MAX = 8_192
"""Members in one report: what fits into a frame."""
ANSWERS_MAX = 4
"""To one peer in one ANSWERS_NS; a want of three bytes has a report of 400 kB for an answer."""
ANSWERS_NS = 1_000_000_000
"""So long a report is good for everyone who asks."""


@dataclass(slots=True, eq=False)
class Open:
    reports: dict[NodeId, tuple[LinkReport, ...]]
    missing: set[int]
    """Links of those who have not answered."""


class Surveys:
    def __init__(self, node: NodeId, links: Links, membership: Membership, counters: Counters) -> None:
        self._node = node
        self._links = links
        self._membership = membership
        self._counters = counters
        self._open: dict[int, Open] = {}
        self._told: tuple[LinkReport, ...] = ()
        """What we answer until `_told_until_ns`."""
        self._told_until_ns = -1
        self._answers: dict[int, int] = {}
        """How many each link got of it."""

    def __len__(self) -> int:
        return len(self._open)

    def start(self, command: Survey, now: Now) -> list[Effect]:
        links = self._links.records_links() if len(self._open) < SURVEYS_MAX else []
        found = Open({self._node: self._own_report()}, {link.link for link in links})
        if not links:
            return [Resolve(command.request, tuple(found.reports.items()))]
        self._open[command.request] = found
        want = SurveyWant(command.request)
        over = SetTimer(SurveyOver(command.request), now.mono_ns + command.timeout_ns)
        return [*(Send(link.link, want) for link in links), over]

    def handle_want(self, link: Link, want: SurveyWant, now: Now) -> list[Effect]:
        if now.mono_ns >= self._told_until_ns:
            self._told = self._own_report()
            self._told_until_ns = now.mono_ns + ANSWERS_NS
            self._answers.clear()
        count = self._answers.get(link.link, 0)
        if count >= ANSWERS_MAX or self._links.to(link.peer) is not link:
            self._counters["surveys_unanswered"] += 1
            return []
        self._answers[link.link] = count + 1
        return [Send(link.link, SurveyReport(want.number, self._told))]

    def handle_report(self, link: Link, report: SurveyReport) -> list[Effect]:
        found = self._open.get(report.number)
        if found is None or link.link not in found.missing:
            return []  # Late, or nobody we asked.
        found.missing.remove(link.link)
        found.reports[link.peer] = report.reports
        return [] if found.missing else self.over(report.number)

    def link_gone(self, link: Link) -> list[Effect]:
        """From there no answer comes any more."""
        effects: list[Effect] = []
        for number, found in list(self._open.items()):
            if link.link in found.missing:
                found.missing.remove(link.link)
                effects += [] if found.missing else self.over(number)
        return effects

    def over(self, number: int) -> list[Effect]:
        found = self._open.pop(number, None)
        return [] if found is None else [Resolve(number, tuple(found.reports.items()))]

    def _own_report(self) -> tuple[LinkReport, ...]:
        members = self._membership.directory.others()
        members.sort(key=lambda member: self._links.to(member.record.node) is None)
        return tuple(self._report(member.record.node) for member in members[:REPORTS_MAX])

    def _report(self, node: NodeId) -> LinkReport:
        link = self._links.to(node)
        rtt_ns, loss_ratio = self._membership.swim.quality(node)
        if link is not None and link.rtt_ns >= 0:
            rtt_ns = link.rtt_ns
        return LinkReport(
            node,
            rtt_ns // 1000 if rtt_ns >= 0 else UNKNOWN,
            round(1000 * loss_ratio) if loss_ratio >= 0 else UNKNOWN,
            link is not None,
        )
