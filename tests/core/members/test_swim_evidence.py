"""Why a member stands as it does: what was found, by whom, and how much we trusted ourselves then."""

from __future__ import annotations

from bellande_mesh_sync.core.members.swim.config import LAN
from bellande_mesh_sync.core.members.swim.evidence import FILES_MAX, FINDINGS_MAX, Evidence, Found
from bellande_mesh_sync.core.members.swim.health import Health
from bellande_mesh_sync.core.members.swim.messages import Ack, Gossip, Nack, Ping, PingRequest, StreamPong
from bellande_mesh_sync.core.members.swim.quality import Quality
from bellande_mesh_sync.core.members.swim.timers import AckOverdue, ProbeDue
from bellande_mesh_sync.core.members.swim.view import DEAD, SUSPECT
from tests.core.making import SECOND_NS, member_of, node_of_name
from tests.core.members.swimming import Node

OTHERS = ["bob", "carol", "dave", "erin"]


def probing(node: Node) -> tuple[str, Ping]:
    node.run_until(ProbeDue)
    for name in OTHERS:
        for ping in node.sent(Ping, name):
            return name, ping
    raise AssertionError("nobody was probed")


def kinds(node: Node, name: str) -> list[Found]:
    return [finding.kind for finding in node.swim.explain(node_of_name(name), node.now_ns).findings]


def test_of_an_answered_probe_only_time_and_round_trip_are_kept() -> None:
    node = Node("alice", OTHERS)
    name, ping = probing(node)
    node.now_ns += 7_000_000
    node.hear(name, Ack(ping.sequence, 1))
    told = node.swim.explain(node_of_name(name), node.now_ns + SECOND_NS)
    assert (told.acked_age_ns, told.rtt_ns, told.loss_ratio) == (SECOND_NS, 7_000_000, 0.0)
    assert (told.standing, told.findings, told.accusers, told.due_ns) == ("alive", (), (), -1)
    assert node.swim.quality(node_of_name(name)) == (7_000_000, 0.0)


def test_a_failed_round_tells_who_was_asked_and_what_each_of_them_said() -> None:
    node = Node("alice", OTHERS)
    node.take(node.swim.note_lag(3_000_000, 0))
    name, ping = probing(node)
    node.run_until(AckOverdue)
    first, second, third = [other for other in OTHERS if node.sent(PingRequest, other)]
    node.hear(first, Nack(ping.sequence))
    node.hear(first, Nack(ping.sequence))
    node.hear(second, Nack(ping.sequence))
    node.run_until(ProbeDue)
    assert kinds(node, name) == [
        Found.UNANSWERED, Found.ASKED, Found.ASKED, Found.ASKED, Found.NOT_REACHED, Found.NOT_REACHED,
        Found.HELPER_SILENT, Found.STREAM_SILENT, Found.ACCUSED, Found.BECAME,
    ]  # fmt: skip
    told = node.swim.explain(node_of_name(name), node.now_ns)
    assert told.findings[6].who == node_of_name(third)
    assert told.findings[0].lag_ns == 3_000_000
    assert told.findings[-1].health_score == 1
    assert (told.standing, told.accusers) == ("suspect", (node_of_name("alice"),))
    assert told.due_ns > node.now_ns
    assert told.reason == "no answer to alice"
    assert told.loss_ratio == 1.0


def test_who_is_reached_over_a_stream_only_loses_datagrams() -> None:
    node = Node("alice", OTHERS)
    name, ping = probing(node)
    node.run_until(AckOverdue)
    node.take(node.swim.handle_stream(node_of_name(name), StreamPong(ping.sequence), node.now_ns))
    assert kinds(node, name)[-1] == Found.STREAM_ANSWERED
    assert node.swim.quality(node_of_name(name)) == (-1, 1.0)


def test_a_verdict_is_told_from_its_beginning_to_its_refutation() -> None:
    node = Node("alice", OTHERS)
    for accuser in ("bob", "dave", "erin"):
        node.accuse(accuser, "carol", SUSPECT)
    node.run_for(5, answering=["bob", "dave", "erin"])
    assert node.state_of("carol") == DEAD
    node.hear("bob", Gossip(), records=(member_of("carol", 2),))
    told = node.swim.explain(node_of_name("carol"), node.now_ns)
    found = [f for f in told.findings if f.kind in (Found.ACCUSED, Found.LAST_CALL, Found.BECAME)]
    assert [f.kind for f in found][:2] == [Found.ACCUSED, Found.BECAME]
    assert [f.who for f in found if f.kind is Found.ACCUSED][:3] == [
        node_of_name(name) for name in ("bob", "dave", "erin")
    ]
    assert Found.LAST_CALL in kinds(node, "carol")
    assert [f.detail.split(":")[0] for f in found if f.kind is Found.BECAME] == ["suspect", "dead", "alive"]
    assert told.reason == "it said so in incarnation 2"


def test_a_good_time_after_a_bad_one_is_one_line() -> None:
    node = Node("alice", OTHERS)
    node.take(node.swim.hint_silent(node_of_name("carol"), 0))
    node.run_for(30, answering=OTHERS)
    assert kinds(node, "carol") == [Found.LINK_BROKE, Found.ANSWERED]


def test_a_stranger_has_no_story() -> None:
    node = Node("alice", OTHERS)
    told = node.swim.explain(node_of_name("mallory"), 0)
    assert (told.standing, told.incarnation, told.findings) == ("", 0, ())
    assert node.swim.quality(node_of_name("mallory")) == (-1, -1.0)


def test_files_and_findings_are_bounded_and_the_oldest_go() -> None:
    evidence = Evidence(Health(LAN), Quality(8))
    for index in range(FILES_MAX + 10):
        evidence.note(index, Found.PROBED)
    assert len(evidence) == FILES_MAX
    assert not evidence.has(9)
    assert evidence.has(10)
    for count in range(3 * FINDINGS_MAX):
        evidence.now_ns = count
        evidence.note(10, Found.PROBED)
    assert [finding.at_ns for finding in evidence.findings(10)] == list(
        range(2 * FINDINGS_MAX, 3 * FINDINGS_MAX)
    )


def test_round_trips_are_smoothed_and_losses_counted_over_the_last_32() -> None:
    quality = Quality(4)
    quality.answered(1, 800, 5)
    quality.answered(1, 1600, 6)
    assert quality.of(1) == (6, 900, 0.0)
    quality.unanswered(1)
    assert quality.of(1)[2] == 1 / 3
    for _ in range(32):
        quality.answered(1, 900, 7)
    assert quality.of(1)[2] == 0.0
    for index in range(2, 6):
        quality.unanswered(index)
    assert quality.of(1) == (-1, -1, -1.0)
