"""Conflict policies: all nodes show the same, in whatever order they heard of what, and nothing is lost.

The laws of merges, for what is shown of a set of siblings: their order does not matter (commutative); some
of them may be merged and written back before the others come (associative), also all of them, and twice
(idempotent).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bellande_mesh_sync.core.data.record import VALUE, Record
from bellande_mesh_sync.core.data.space_policies import BY_NAME, SpacePolicies
from bellande_mesh_sync.core.events import Write
from tests.core.making import WALL_MS, Disk, deletion, write

KEY = "fleet/k"
NAMES = ("alice", "bob", "carol")
POLICIES = sorted(BY_NAME)

numbers = st.integers(-3, 12).map(lambda number: b"%d" % number)
values = {
    "lww": st.binary(max_size=2),
    "siblings": st.binary(max_size=2),
    "max": st.one_of(numbers, st.sampled_from([b"1.0", b"1e0", b"x", b"", b"-0"])),
    "min": st.one_of(numbers, st.sampled_from([b"1.0", b"1e0", b"x", b"", b"-0"])),
    "counter": numbers,
    "set": st.lists(st.sampled_from(["x", "y", 1, [1]]), max_size=4).map(
        lambda each: json.dumps(each).encode()
    ),
    "map": st.dictionaries(st.sampled_from("abc"), st.integers(0, 2), max_size=3).map(
        lambda each: json.dumps(each).encode()
    ),
}


@st.composite
def histories(draw: Any, policy: str, *, has_strangers: bool) -> list[tuple[Any, ...]]:
    """What happens on three nodes: writes, deletes, adds, and records that come from others."""
    steps: list[tuple[Any, ...]] = []
    for _ in range(draw(st.integers(1, 12))):
        name = draw(st.sampled_from(NAMES))
        kind = draw(st.sampled_from(["put", "put", "add", "hear", "hear", "delete", "blind"]))
        if kind == "hear":
            steps.append(("hear", name, draw(st.sampled_from(NAMES))))
        elif kind == "add" and policy == "counter":
            steps.append(("add", name, draw(st.integers(-3, 5))))
        elif kind == "delete":
            steps.append(("delete", name))
        elif has_strangers and draw(st.integers(0, 4)) == 0:
            steps.append(("strange", name, draw(st.binary(max_size=3))))
        else:
            steps.append(("put" if kind != "blind" else "blind", name, draw(values[policy])))
    return steps


@dataclass
class Mesh:
    policy: str
    disks: dict[str, Disk] = field(default_factory=dict)
    written: dict[str, list[Record]] = field(default_factory=dict)

    def disk(self, name: str) -> Disk:
        if name not in self.disks:
            # One among them is configured differently.
            policy = "lww" if name == "stranger" else self.policy
            self.disks[name] = Disk(name, SpacePolicies({"fleet": policy}))
            self.written[name] = []
        return self.disks[name]

    def write(self, name: str, made: Write) -> Record:
        disk = self.disk(name)
        record = disk.write(made)[0]
        disk.commit()
        self.written[name].append(record)
        return record

    def hear(self, name: str, records: Sequence[Record]) -> None:
        if records:
            self.disk(name).accept(*records)
            self.disk(name).commit()

    def all_of(self, name: str) -> list[Record]:
        """What this node knows, and could tell another one."""
        return [*self.siblings(name)]

    def siblings(self, name: str) -> tuple[Record, ...]:
        return self.disk(name).replica.siblings([KEY])[KEY]

    def play(self, steps: Sequence[tuple[Any, ...]]) -> None:
        for step in steps:
            match step:
                case ("hear", name, other):
                    self.hear(name, self.siblings(other))
                case ("add", name, amount):
                    self.write(name, Write(KEY, VALUE, add=amount))
                case ("delete", name):
                    self.write(name, deletion(KEY))
                case ("put", name, body):
                    self.write(name, write(KEY, body))
                case ("blind", name, body):
                    self.write(name, write(KEY, body, context=()))
                case ("strange", name, body):
                    self.hear("stranger", self.siblings(name))
                    self.hear(name, [self.write("stranger", write(KEY, body))])

    def shown(self, siblings: Sequence[Record]) -> bytes | None:
        found = BY_NAME[self.policy].shown(siblings, WALL_MS)
        return None if found is None else found.record.inline

    def met(self) -> tuple[Record, ...]:
        """The siblings once everybody has heard of everything."""
        for name in list(self.disks):
            self.hear("judge", self.siblings(name))
        return self.siblings("judge") if self.disks else ()


@pytest.mark.parametrize("policy", POLICIES)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_the_order_of_siblings_does_not_matter(policy: str, data: Any) -> None:
    mesh = Mesh(policy)
    mesh.play(data.draw(histories(policy, has_strangers=True)))
    siblings = mesh.met()
    found = BY_NAME[policy]
    expected = found.shown(siblings, WALL_MS)
    for _ in range(3):
        shuffled = data.draw(st.permutations(siblings))
        assert found.shown(shuffled, WALL_MS) == expected
        assert found.version(shuffled, WALL_MS) == ("" if expected is None else expected.version)


@pytest.mark.parametrize("policy", ["max", "min", "counter", "set", "map"])
@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_some_siblings_may_be_merged_before_the_others_come(policy: str, data: Any) -> None:
    mesh = Mesh(policy)
    mesh.play(data.draw(histories(policy, has_strangers=False)))
    siblings = mesh.met()
    expected = mesh.shown(siblings)
    for round in range(2):
        part = data.draw(st.lists(st.sampled_from(siblings), unique=True)) if siblings else []
        before = mesh.shown(part)
        if before is None:
            return
        writer = f"dave {round}"
        mesh.hear(writer, part)
        mesh.write(writer, write(KEY, before))
        siblings = mesh.met()
        assert mesh.shown(siblings) == expected


@pytest.mark.parametrize("policy", POLICIES)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_nodes_show_the_same_whatever_came_first(policy: str, data: Any) -> None:
    mesh = Mesh(policy)
    mesh.play(data.draw(histories(policy, has_strangers=True)))
    records = [record for written in mesh.written.values() for record in written]
    expected = mesh.shown(mesh.met())
    rng = Random(data.draw(st.integers(0, 1000)))
    for name in list(mesh.disks):
        rng.shuffle(records)
        cut = rng.randrange(len(records) + 1) if records else 0
        mesh.hear(name, records[:cut])
        mesh.hear(name, records[cut:])
        assert mesh.shown(mesh.siblings(name)) == expected


@given(steps=histories("counter", has_strangers=False))
@settings(max_examples=200, deadline=None)
def test_a_counter_that_is_only_added_to_is_the_sum_of_all_adds(steps: list[tuple[Any, ...]]) -> None:
    steps = [step for step in steps if step[0] in ("add", "hear")]
    mesh = Mesh("counter")
    mesh.play(steps)
    amounts = [step[2] for step in steps if step[0] == "add"]
    assert mesh.shown(mesh.met()) == (b"%d" % sum(amounts) if amounts else None)


@dataclass
class Tags:
    """A set as the papers first had it: each element with a mark of each adding, and the removed marks."""

    added: set[tuple[str, int]] = field(default_factory=set)
    removed: set[tuple[str, int]] = field(default_factory=set)

    def visible(self) -> set[str]:
        return {element for element, _ in self.added - self.removed}

    def put(self, elements: set[str], number: int) -> None:
        for tag in self.added - self.removed:
            if tag[0] not in elements:
                self.removed.add(tag)
        self.added |= {(element, number) for element in elements - self.visible()}


@given(steps=histories("set", has_strangers=False))
@settings(max_examples=200, deadline=None)
def test_a_set_does_what_the_textbook_says(steps: list[tuple[Any, ...]]) -> None:
    steps = [step for step in steps if step[0] in ("put", "delete", "hear")]
    mesh, model = Mesh("set"), {name: Tags() for name in NAMES}
    mesh.play(steps)
    for number, step in enumerate(steps):
        tags = model[step[1]]
        if step[0] == "hear":
            tags.added |= model[step[2]].added
            tags.removed |= model[step[2]].removed
        elif step[0] == "delete":
            tags.put(set(), number)
        else:
            tags.put({json.dumps(each) for each in json.loads(step[2])}, number)
    whole = Tags()
    for tags in model.values():
        whole.added |= tags.added
        whole.removed |= tags.removed
    shown = mesh.shown(mesh.met())
    assert {json.dumps(each) for each in json.loads(shown or b"[]")} == whole.visible()
