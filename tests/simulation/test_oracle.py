"""The oracle: each promise is broken in a history told by hand, and must be missed; true ones must pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.data.replica import Replica
from bellande_mesh_sync.core.effects import Deliver, Effect, Send
from bellande_mesh_sync.core.events import Event, Write
from bellande_mesh_sync.core.messages import Note
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.ids import Now
from bellande_mesh_sync.sim.checkers import Violation
from bellande_mesh_sync.sim.history import (
    TOMBSTONE,
    Answered,
    Asked,
    AskedWrite,
    ClockSet,
    DiskLost,
    Joined,
    NoteAsked,
    NoteHeard,
    NoteSent,
    NoteUnknown,
    Refused,
    Shown,
    Sibling,
    Unknown,
)
from bellande_mesh_sync.sim.oracle import Oracle
from bellande_mesh_sync.sim.outcome import Outcome
from bellande_mesh_sync.sim.simulation import Simulation
from bellande_mesh_sync.sim.swarm import Scenario, draw
from bellande_mesh_sync.sim.workload import WorkloadConfig

KEY = "s/k"
A, B, C = b"a", b"b", b"c"
STAMPS = {A: 10, B: 20, C: 30, TOMBSTONE: 25}


def name(node: int) -> str:
    return f"{node:02x}" * 32


def version(node: int, number: int) -> str:
    return f"{name(node)}.{'00' * 8}.{number}"


@dataclass
class Tale:
    """A history in the making, with three nodes."""

    liars: tuple[int, ...] = ()
    time_ns: int = 0
    oracle: Oracle = field(init=False)

    def __post_init__(self) -> None:
        self.oracle = Oracle(self.liars)
        for node in range(3):
            self.oracle.hear(Joined(node, name(node)))

    def tick(self) -> int:
        self.time_ns += 1
        return self.time_ns

    def ask(
        self,
        request: int,
        node: int,
        value: bytes,
        context: Sequence[str] | None = None,
        *,
        if_match: str | None = None,
        key: str = KEY,
        ack: str = "local",
        may_hide: bool = False,
    ) -> None:
        seen = None if context is None else tuple(context)
        write = AskedWrite(key, value, seen, if_match, may_hide)
        self.oracle.hear(Asked(request, node, (write,), ack, self.tick()))

    def answer(self, request: int, *versions: str, nodes: tuple[int, ...]) -> None:
        self.oracle.hear(Answered(request, versions, nodes, self.tick()))

    def put(
        self,
        request: int,
        node: int,
        value: bytes,
        context: Sequence[str] | None = None,
        *,
        if_match: str | None = None,
        nodes: tuple[int, ...] = (),
        key: str = KEY,
        may_hide: bool = False,
    ) -> str:
        """Ask and be answered; the version is numbered as the request."""
        self.ask(request, node, value, context, if_match=if_match, key=key, may_hide=may_hide)
        self.answer(request, version(node, request), nodes=nodes or (node,))
        return version(node, request)

    def refuse(self, request: int, code: str = "busy") -> None:
        self.oracle.hear(Refused(request, code, self.tick()))

    def lose_track(self, request: int) -> None:
        self.oracle.hear(Unknown(request, self.tick()))

    def show(
        self, node: int, *siblings: tuple[str, bytes | None], key: str = KEY, is_decayed: bool = False
    ) -> None:
        """A value of None stands for A without its bytes."""
        told = tuple(
            Sibling(version, value or A, STAMPS.get(value or TOMBSTONE, 1), value is not None)
            if value != TOMBSTONE
            else Sibling(version, TOMBSTONE, STAMPS[TOMBSTONE])
            for version, value in siblings
        )
        self.oracle.hear(Shown(node, key, told, self.tick(), is_decayed))

    def rest(self, *siblings: tuple[str, bytes | None]) -> None:
        for node in range(3):
            self.show(node, *siblings)
        self.oracle.check_at_rest([0, 1, 2], [{}, {}, {}])


def expect(check: str, words: str = "") -> pytest.RaisesExc[Violation]:
    return pytest.raises(Violation, match=rf"^{check}: .*{words}")


# -- values and versions -----------------------------------------------------------------------


def test_a_value_that_nobody_wrote_is_found() -> None:
    tale = Tale()
    tale.put(1, 0, A)
    with expect("unasked", "no client asked n0 for that"):
        tale.show(0, (version(0, 2), B))


def test_a_value_under_another_key_is_found() -> None:
    tale = Tale()
    tale.ask(1, 0, A)
    with expect("unasked"):
        tale.show(0, (version(0, 1), A), key="s/other")


def test_a_value_in_the_name_of_another_node_is_found() -> None:
    tale = Tale()
    tale.ask(1, 0, A)
    with expect("unasked", "no client asked n1"):
        tale.show(1, (version(1, 1), A))


def test_a_value_that_was_refused_and_is_read_is_found_whichever_comes_first() -> None:
    tale = Tale()
    tale.ask(1, 0, A)
    tale.refuse(1)
    with expect("refused_write", "was not written"):
        tale.show(1, (version(0, 1), A))
    tale = Tale()
    tale.ask(1, 0, A)
    tale.show(1, (version(0, 1), A))
    with expect("refused_write", "was read before its client was told busy"):
        tale.refuse(1)


def test_a_value_may_be_read_before_its_writer_is_answered_or_when_nobody_knows() -> None:
    tale = Tale()
    tale.ask(1, 0, A, ack="all")
    tale.show(1, (version(0, 1), A))
    tale.answer(1, version(0, 1), nodes=(0, 1, 2))
    tale.ask(2, 0, B)
    tale.lose_track(2)
    tale.show(1, (version(0, 2), B))


def test_a_version_that_changes_its_value_is_found() -> None:
    tale = Tale()
    tale.put(1, 0, A)
    with expect("values", "reads as"):
        tale.show(1, (version(0, 1), B))


def test_a_version_of_two_keys_is_found_but_each_space_counts_anew() -> None:
    tale = Tale()
    tale.put(1, 0, A)
    tale.ask(2, 0, B, key="other/k")
    tale.answer(2, version(0, 1), nodes=(0,))
    tale.ask(3, 0, C, key="s/other")
    with expect("versions", "was a version of s/k before"):
        tale.answer(3, version(0, 1), nodes=(0,))


def test_a_version_that_was_told_with_a_time_out_belongs_to_that_write() -> None:
    tale = Tale()
    tale.ask(1, 0, A)
    tale.oracle.hear(Unknown(1, tale.tick(), (version(0, 1),), ()))
    tale.ask(2, 0, B)
    with expect("versions"):
        tale.answer(2, version(0, 1), nodes=(0,))


def test_a_receipt_that_contradicts_what_was_read_is_found() -> None:
    tale = Tale()
    tale.ask(1, 0, A)
    tale.show(0, (version(0, 1), A))
    with expect("versions", "was acknowledged as"):
        tale.answer(1, version(0, 2), nodes=(0,))


def test_a_value_without_its_bytes_is_found() -> None:
    tale = Tale()
    tale.put(1, 0, A)
    tale.show(0, (version(0, 1), None), is_decayed=True)
    with expect("values", "cannot be had"):
        tale.show(0, (version(0, 1), None))


def test_of_equal_writes_any_may_be_the_one_that_is_read() -> None:
    tale = Tale()
    writes = (AskedWrite(KEY, TOMBSTONE), AskedWrite(KEY, B), AskedWrite(KEY, TOMBSTONE))
    tale.oracle.hear(Asked(1, 0, writes, "one", 1))
    tale.show(1, (version(0, 3), TOMBSTONE))
    versions = [version(0, number) for number in (1, 2, 3)]
    tale.answer(1, *versions, nodes=(0, 1))
    tale.show(1, (version(0, 3), TOMBSTONE))
    tale.show(0, (version(0, 3), TOMBSTONE))


def test_equal_writes_may_be_refused_as_long_as_one_is_left_for_what_was_read() -> None:
    tale = Tale()
    for request in (1, 2):
        tale.ask(request, 0, A)
    tale.show(1, (version(0, 1), A))
    tale.refuse(1)
    with expect("refused_write"):
        tale.refuse(2)


# -- receipts ----------------------------------------------------------------------------------


def test_a_receipt_names_its_own_node_and_each_node_once() -> None:
    for nodes in ((1,), (0, 0)):
        tale = Tale()
        tale.ask(1, 0, A)
        with expect("ack_level"):
            tale.answer(1, version(0, 1), nodes=nodes)


def test_ack_one_needs_another_disk() -> None:
    tale = Tale()
    tale.ask(1, 0, A, ack="one")
    with expect("ack_level", "alone"):
        tale.answer(1, version(0, 1), nodes=(0,))


def test_a_receipt_for_each_write_and_in_the_nodes_own_name() -> None:
    tale = Tale()
    tale.ask(1, 0, A)
    with expect("receipts"):
        tale.answer(1, nodes=(0,))
    tale = Tale()
    tale.ask(1, 0, A)
    with expect("versions", "no version of its own"):
        tale.answer(1, version(1, 1), nodes=(0,))


def test_a_second_answer_is_found() -> None:
    tale = Tale()
    tale.put(1, 0, A)
    with expect("answers", "twice"):
        tale.answer(1, version(0, 1), nodes=(0,))


# -- what was acknowledged or shown stays ------------------------------------------------------


def test_an_acknowledged_write_that_its_node_does_not_show_is_found() -> None:
    tale = Tale()
    tale.put(1, 0, A)
    with expect("lost", "n0.1 of s/k was on this disk; it shows nothing"):
        tale.show(0)


def test_a_node_that_the_receipt_names_must_show_it_too_and_others_need_not() -> None:
    tale = Tale()
    tale.put(1, 0, A, nodes=(0, 1))
    tale.show(2)
    with expect("lost", "it shows nothing"):
        tale.show(1)


def test_a_time_out_that_names_nodes_binds_them() -> None:
    tale = Tale()
    tale.ask(1, 0, A, ack="all")
    tale.oracle.hear(Unknown(1, tale.tick(), (version(0, 1),), (0, 1)))
    with expect("lost"):
        tale.show(1)


def test_what_a_node_has_shown_it_must_go_on_showing() -> None:
    tale = Tale()
    tale.ask(1, 0, A)
    tale.lose_track(1)
    tale.show(1, (version(0, 1), A))
    with expect("lost"):
        tale.show(1)


def test_a_lost_disk_owes_nothing_and_word_of_it_may_outlive_it() -> None:
    tale = Tale()
    tale.put(1, 0, A, nodes=(0, 1))
    tale.ask(2, 0, B, ack="one")
    tale.oracle.hear(DiskLost(1, tale.tick()))
    tale.answer(2, version(0, 2), nodes=(0, 1))
    tale.show(1)
    with expect("lost"):
        tale.show(0)


def test_an_implicit_write_may_have_replaced_all_that_was_asked_before_it_took_effect() -> None:
    tale = Tale()
    tale.put(1, 0, A)
    tale.put(2, 1, B)
    tale.show(0, (version(1, 2), B))
    tale.put(3, 2, C)
    with expect("lost"):
        tale.show(2, (version(1, 2), B))


def test_an_implicit_write_cannot_have_replaced_what_was_asked_after_it() -> None:
    tale = Tale()
    tale.put(1, 0, A)
    tale.put(2, 1, B)
    with expect("lost", "n1.2 of s/k was on this disk; it shows only n0.1"):
        tale.show(1, (version(0, 1), A))


def test_a_careful_write_replaces_just_what_its_writer_had_read() -> None:
    tale = Tale()
    first = tale.put(1, 0, A, [])
    tale.put(2, 1, B, [])
    third = tale.put(3, 0, C, [first])
    tale.rest((version(1, 2), B), (third, C))
    tale = Tale()
    first = tale.put(1, 0, A, [])
    tale.put(2, 1, B, [])
    third = tale.put(3, 0, C, [first])
    tale.show(0, (third, C))
    with expect("lost", "n1.2"):
        tale.show(1, (third, C))


def test_a_careful_write_replaces_also_what_those_had_replaced_that_it_had_read() -> None:
    tale = Tale()
    first = tale.put(1, 0, A, [], nodes=(0, 1, 2))
    second = tale.put(2, 1, B, [first])
    third = tale.put(3, 2, C, [second])
    tale.rest((third, C))


def test_a_write_beside_what_its_writer_had_read_is_found() -> None:
    tale = Tale()
    first = tale.put(1, 0, A, [])
    second = tale.put(2, 1, B, [first])
    with expect("superseded", "whose writer had seen it"):
        tale.show(1, (first, A), (second, B))


def test_an_implicit_write_replaces_what_its_node_had_acknowledged_before() -> None:
    tale = Tale()
    first = tale.put(1, 0, A)
    second = tale.put(2, 0, B)
    with expect("superseded"):
        tale.show(0, (first, A), (second, B))


def test_writes_of_a_batch_follow_each_other() -> None:
    tale = Tale()
    tale.oracle.hear(Asked(1, 0, (AskedWrite(KEY, A), AskedWrite(KEY, B)), "local", 1))
    tale.answer(1, version(0, 1), version(0, 2), nodes=(0,))
    with expect("superseded"):
        tale.show(0, (version(0, 1), A), (version(0, 2), B))


def test_what_a_delete_had_seen_never_comes_back_at_its_node() -> None:
    tale = Tale()
    first = tale.put(1, 0, A)
    gone = tale.put(2, 0, TOMBSTONE)
    tale.show(0, (gone, TOMBSTONE))
    with expect("came_back", "came back after it was replaced or deleted here"):
        tale.show(0, (first, A))


def test_a_delete_that_is_gone_everywhere_with_what_it_deleted_back_is_found() -> None:
    tale = Tale()
    first = tale.put(1, 0, A, [])
    tale.show(1, (first, A))
    tale.show(2, (first, A))
    gone = tale.put(2, 0, TOMBSTONE, [first])
    tale.show(0, (gone, TOMBSTONE))
    with expect("came_back"):
        tale.rest((first, A))


def test_what_was_replaced_only_on_a_disk_that_is_lost_may_live_on() -> None:
    tale = Tale()
    first = tale.put(1, 0, A, [], nodes=(0, 1, 2))
    tale.put(2, 0, B, [first])
    tale.oracle.hear(DiskLost(0, tale.tick()))
    tale.rest((first, A))


# -- if_match ----------------------------------------------------------------------------------


def test_two_requests_of_one_node_cannot_both_replace_one_version() -> None:
    tale = Tale()
    first = tale.put(1, 0, A)
    tale.put(2, 0, B, if_match=first)
    with expect("if_match"):
        tale.put(3, 0, C, if_match=first)


def test_two_requests_of_two_nodes_can_both_replace_one_version() -> None:
    tale = Tale()
    first = tale.put(1, 0, A, nodes=(0, 1))
    tale.put(2, 0, B, if_match=first)
    tale.put(3, 1, C, if_match=first)
    tale.rest((version(0, 2), B), (version(1, 3), C))


def test_of_equal_writes_nobody_can_tell_whose_if_match_it_was() -> None:
    tale = Tale()
    first = tale.put(1, 0, A)
    match, plain = AskedWrite(KEY, TOMBSTONE, None, first), AskedWrite(KEY, TOMBSTONE, (first,))
    tale.oracle.hear(Asked(2, 0, (match, AskedWrite(KEY, B, None, first)), "one", tale.tick()))
    tale.oracle.hear(Asked(3, 0, (plain,), "one", tale.tick()))
    tale.show(0, (version(0, 3), B), (version(0, 4), TOMBSTONE))
    tale.answer(3, version(0, 4), nodes=(0, 1))
    tale.answer(2, version(0, 2), version(0, 3), nodes=(0, 1))


def test_an_if_match_on_what_was_replaced_there_already_is_found() -> None:
    tale = Tale()
    first = tale.put(1, 0, A)
    tale.put(2, 0, B)
    with expect("if_match", "that version was replaced there"):
        tale.put(3, 0, C, if_match=first)


def test_an_if_match_for_nothing_where_something_is_is_found() -> None:
    tale = Tale()
    tale.put(1, 0, A)
    with expect("if_match", "it held n0.1"):
        tale.put(2, 0, B, if_match="")


def test_an_if_match_for_nothing_may_hold_when_a_delete_or_an_expiry_is_about() -> None:
    tale = Tale()
    tale.put(1, 0, A)
    tale.ask(2, 1, TOMBSTONE)
    tale.put(3, 0, B, if_match="")
    tale = Tale()
    tale.put(1, 0, A, may_hide=True)
    tale.put(2, 0, B, if_match="")


def test_a_refusal_without_a_reason_is_found() -> None:
    tale = Tale()
    first = tale.put(1, 0, A)
    tale.ask(2, 0, B, if_match=first)
    with expect("if_match", "is all there was"):
        tale.refuse(2, "precondition_failed")
    tale = Tale()
    tale.ask(1, 0, A, if_match="")
    with expect("if_match", "nothing is all there was"):
        tale.refuse(1, "precondition_failed")
    tale = Tale()
    tale.ask(1, 0, A)
    with expect("if_match", "no if_match by it"):
        tale.refuse(1, "precondition_failed")


def test_a_refusal_that_may_have_a_reason_passes() -> None:
    tale = Tale()
    first = tale.put(1, 0, A)
    tale.ask(2, 1, B)
    tale.ask(3, 0, C, if_match=first)
    tale.refuse(3, "precondition_failed")


# -- at rest -----------------------------------------------------------------------------------


def test_nodes_that_show_different_versions_at_rest_are_found() -> None:
    tale = Tale()
    first, second = tale.put(1, 0, A, []), tale.put(2, 1, B, [])
    tale.show(0, (first, A), (second, B))
    tale.show(1, (second, B))
    tale.show(2)
    with expect("agreement", "n0 shows n0.1, n1.2 of s/k, n1 shows n1.2"):
        tale.oracle.check_at_rest([0, 1, 2], [{}, {}, {}])


def test_only_settled_nodes_have_to_agree() -> None:
    tale = Tale()
    first = tale.put(1, 0, A)
    tale.show(1, (first, A))
    tale.show(2)
    tale.oracle.check_at_rest([0, 1], [{}, {}])


def test_answers_that_differ_by_a_byte_are_found() -> None:
    tale = Tale()
    first = tale.put(1, 0, A)
    for node in range(3):
        tale.show(node, (first, A))
    with expect("agreement", "reads"):
        tale.oracle.check_at_rest([0, 1], [{KEY: (1,)}, {KEY: (2,)}])


@pytest.mark.parametrize("fault", [None, ClockSet(0, 3), DiskLost(0, 3)])
def test_times_of_one_node_run_forward_unless_its_clock_was_set(fault: ClockSet | DiskLost | None) -> None:
    tale = Tale()
    first = tale.put(1, 0, C, [])
    if fault is not None:
        tale.time_ns = 5
        tale.oracle.hear(fault)
    second = tale.put(2, 0, A, [])
    for node in range(3):
        tale.show(node, (first, C), (second, A))
    if fault is None:
        with expect("stamps"):
            tale.oracle.check_at_rest([0, 1, 2], [{}, {}, {}])
    else:
        tale.oracle.check_at_rest([0, 1, 2], [{}, {}, {}])


def test_times_run_forward_within_a_batch() -> None:
    tale = Tale()
    tale.oracle.hear(Asked(1, 0, (AskedWrite(KEY, C, ()), AskedWrite(KEY, A, ())), "local", 1))
    tale.answer(1, version(0, 1), version(0, 2), nodes=(0,))
    with expect("stamps"):
        tale.rest((version(0, 1), C), (version(0, 2), A))


def test_a_time_that_changes_is_found() -> None:
    tale = Tale()
    first = tale.put(1, 0, A)
    tale.show(0, (first, A))
    with expect("values", "changed its time"):
        tale.oracle.hear(Shown(1, KEY, (Sibling(first, A, 99),), 9))


# -- liars -------------------------------------------------------------------------------------


def test_a_liar_may_show_and_acknowledge_what_it_likes_and_obliges_nobody() -> None:
    tale = Tale(liars=(2,))
    tale.show(2, (version(0, 9), C))
    tale.ask(1, 2, A)
    tale.answer(1, version(2, 1), nodes=(0, 1, 2))
    tale.show(0)
    first = tale.put(2, 0, B, nodes=(0, 2))
    tale.show(2)
    tale.show(0, (first, B), (version(2, 7), C))
    tale.show(1, (first, B), (version(2, 7), C))
    tale.oracle.check_at_rest([0, 1, 2], [{}, {}, {}])


def test_a_liar_may_overwrite_but_honest_nodes_keep_their_promises() -> None:
    tale = Tale(liars=(2,))
    tale.put(1, 0, A, nodes=(0, 1))
    tale.show(1, (version(2, 1), B))
    with expect("lost"):
        tale.show(0)


# -- messages ----------------------------------------------------------------------------------


def test_a_message_comes_as_it_was_sent() -> None:
    tale = Tale()
    hear = tale.oracle.hear
    hear(NoteAsked(1, 0, 1, b"note"))
    hear(NoteHeard(1, name(0), b"note"))
    hear(NoteSent(1, 1))
    with expect("notes", "came twice"):
        hear(NoteHeard(1, name(0), b"note"))
    with expect("notes", "was sent to n1"):
        hear(NoteHeard(2, name(0), b"note"))
    with expect("notes", "came from n1, and n0 sent it"):
        hear(NoteHeard(1, name(1), b"note"))
    with expect("notes", "nobody sent it"):
        hear(NoteHeard(1, name(0), b"other"))


def test_a_message_goes_to_no_more_nodes_than_its_sender_was_told() -> None:
    tale = Tale()
    hear = tale.oracle.hear
    hear(NoteAsked(1, 0, None, b"one"))
    with expect("notes", "3 links of 2"):
        hear(NoteSent(1, 3))
    tale = Tale()
    hear = tale.oracle.hear
    hear(NoteAsked(1, 0, None, b"one"))
    hear(NoteSent(1, 1))
    hear(NoteHeard(1, name(0), b"one"))
    with expect("notes", "went out on 1 links and was heard by 2"):
        hear(NoteHeard(2, name(0), b"one"))


def test_the_ledger_must_balance() -> None:
    tale = Tale()
    hear, notes = tale.oracle.hear, tale.oracle.notes
    hear(NoteAsked(1, 0, None, b"one"))
    hear(NoteSent(1, 2))
    hear(NoteHeard(1, name(0), b"one"))
    notes.check_ledger(2, {"broken": 1})
    with expect("notes_ledger", "2 were sent, 1 heard and 0 lost"):
        notes.check_ledger(2, {})
    with expect("notes_ledger", "senders were told of 2 copies, 3 went out"):
        notes.check_ledger(3, {"broken": 2})
    hear(NoteAsked(2, 0, None, b"two"))
    hear(NoteUnknown(2))
    notes.check_ledger(3, {"broken": 2})


# -- true histories ----------------------------------------------------------------------------


class Model:
    """Three replicas that are right by being simple: every write carries the whole set of what it saw."""

    def __init__(self) -> None:
        self.tale = Tale()
        self.live: list[dict[str, tuple[bytes, frozenset[str]]]] = [{}, {}, {}]
        self.known: list[set[str]] = [set(), set(), set()]
        self.readings: list[tuple[str, ...]] = [()]
        self.requests = 0

    def merge(self, source: int, target: int) -> None:
        here, there = self.live[target], self.live[source]
        kept = {v: e for v, e in here.items() if v in there or v not in self.known[source]}
        new = {v: e for v, e in there.items() if v not in self.known[target]}
        self.live[target] = kept | new
        self.known[target] |= self.known[source]

    def read(self, node: int) -> None:
        found = self.live[node]
        told = [Sibling(v, value, int(v.rpartition(".")[2])) for v, (value, _) in sorted(found.items())]
        self.tale.oracle.hear(Shown(node, KEY, tuple(told), self.tale.tick()))
        self.readings.append(tuple(found))

    def write(self, node: int, value: bytes, style: int, outcome: str) -> None:
        """`style`: -1 is implicit, 0 blind, any other picks an earlier reading."""
        self.requests += 1
        context = None if style < 0 else self.readings[0 if not style else -(style % len(self.readings))]
        self.tale.ask(self.requests, node, value, context)
        if outcome == "refused":
            self.tale.refuse(self.requests)
            return
        if outcome != "never":
            self.apply(node, value, context)
        if outcome in ("never", "unknown"):
            self.tale.lose_track(self.requests)
            return
        nodes = [node]
        if outcome == "acked by two":
            other = (node + 1) % 3
            self.merge(node, other)
            nodes.append(other)
        self.tale.answer(self.requests, version(node, self.requests), nodes=tuple(nodes))

    def apply(self, node: int, value: bytes, context: Sequence[str] | None) -> None:
        mine = version(node, self.requests)
        seen = set(self.live[node] if context is None else context)
        for other in self.live:
            for each in seen & other.keys():
                seen |= other[each][1]
        self.live[node] = {v: e for v, e in self.live[node].items() if v not in seen}
        self.live[node][mine] = (value, frozenset(seen))
        self.known[node] |= seen | {mine}

    def rest(self) -> None:
        for source, target in ((0, 1), (1, 2), (2, 0), (0, 1)):
            self.merge(source, target)
        for node in range(3):
            self.read(node)
        self.tale.oracle.check_at_rest([0, 1, 2], [{}, {}, {}])


_NODES = st.integers(0, 2)
_STEPS = st.one_of(
    st.tuples(
        st.just("write"),
        _NODES,
        st.sampled_from([TOMBSTONE, TOMBSTONE, b"same", b"new"]),
        st.integers(-1, 5),
        st.sampled_from(["acked", "acked", "acked by two", "unknown", "never", "refused"]),
    ),
    st.tuples(st.just("read"), _NODES),
    st.tuples(st.just("merge"), _NODES, _NODES),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_STEPS, max_size=40), st.booleans())
def test_a_true_history_passes(steps: list[tuple[object, ...]], is_one_copy: bool) -> None:
    model = Model()
    for number, (kind, *arguments) in enumerate(steps):
        if kind == "write":
            node, value, style, outcome = arguments
            value = b"%d" % number if value == b"new" else value
            model.write(node, value, style, outcome)  # type: ignore[arg-type]
        elif kind == "read":
            model.read(arguments[0])  # type: ignore[arg-type]
        elif arguments[0] != arguments[1]:
            model.merge(arguments[0], arguments[1])  # type: ignore[arg-type]
        if is_one_copy:
            for source, target in ((0, 1), (1, 2), (2, 0), (0, 1)):
                model.merge(source, target)
    model.rest()


# -- whole runs --------------------------------------------------------------------------------

_BUSY = Scenario(
    7, 3, faults_s=30, settle_s=60, workload=WorkloadConfig(hot_keys=2, note_ratio=0.2, requests_per_s=5)
)


@pytest.mark.parametrize("seed", range(2001, 2007))
def test_runs_under_faults_pass(seed: int) -> None:
    outcome = Simulation(draw(seed, nodes=(3, 5), minutes=1)).run()
    assert not outcome.violation, f"{outcome.scenario}\n{outcome.violation}"


def _run_with(core: type[NodeCore], monkeypatch: pytest.MonkeyPatch) -> Outcome:
    """A run in which only the oracle looks."""
    monkeypatch.setattr("bellande_mesh_sync.sim.checkers.DiskChecker.applied", lambda *_: None)
    monkeypatch.setattr("bellande_mesh_sync.sim.checkers.DiskChecker.check_disk", lambda *_: None)
    monkeypatch.setattr("bellande_mesh_sync.sim.checkers.DiskChecker.holds", lambda *_: True)
    monkeypatch.setattr("bellande_mesh_sync.sim.checkers.AckChecker.resolved", lambda *_: [])
    return Simulation(_BUSY, make_core=core).run()


def test_the_oracle_passes_a_right_core_on_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = _run_with(NodeCore, monkeypatch)
    assert not outcome.violation
    assert outcome.counts["reads"] > 20
    assert outcome.counts["notes delivered"] > 5
    assert any(" then " in kind for kind in outcome.counts)


@pytest.mark.parametrize("sight", ["short", "long"])
def test_a_core_whose_contexts_are_wrong_is_caught_by_the_oracle_alone(
    sight: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Replica._record

    def mistaken(self: Replica, write: Write, *rest: Any) -> Record:
        made = record(self, write, *rest)
        if sight == "long":
            return replace(made, context=tuple((author, base + 3, ()) for author, base, _ in made.context))
        return made if made.sequence % 3 else replace(made, context=())

    monkeypatch.setattr(Replica, "_record", mistaken)
    violation = _run_with(NodeCore, monkeypatch).violation
    assert violation.startswith(("superseded: ", "came_back: ", "lost: ", "agreement: "))


class _SilentCore(NodeCore):
    """Keeps every third message from programs to itself."""

    heard = 0

    def handle(self, event: Event, now: Now) -> list[Effect]:
        effects = super().handle(event, now)
        kept: list[Effect] = []
        for effect in effects:
            self.heard += isinstance(effect, Deliver)
            if not isinstance(effect, Deliver) or self.heard % 3:
                kept.append(effect)
        return kept


class _RepeatingCore(NodeCore):
    """Sends every message between programs twice."""

    def handle(self, event: Event, now: Now) -> list[Effect]:
        effects = super().handle(event, now)
        notes = [
            effect for effect in effects if isinstance(effect, Send) and isinstance(effect.message, Note)
        ]
        return [*effects, *notes]


def test_a_core_that_swallows_messages_is_caught() -> None:
    assert Simulation(_BUSY, make_core=_SilentCore).run().violation.startswith("notes_ledger: ")


def test_a_core_that_repeats_messages_is_caught() -> None:
    assert Simulation(_BUSY, make_core=_RepeatingCore).run().violation.startswith("notes: ")
