"""Another mind: it knows only what clients asked and were told, and judges that by what was promised.

It looks into no disk and no core, and shares no line with them, so what it believes of a context or
of a delete is what docs/explanation/guarantees.md says. See `key_story` for how it reasons on a key.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NoReturn

from bellande_mesh_sync.keys import space_of
from bellande_mesh_sync.sim.checkers import Violation
from bellande_mesh_sync.sim.history import (
    Answered,
    Asked,
    ClockSet,
    DiskLost,
    Happening,
    Joined,
    NoteAsked,
    NoteHeard,
    NoteSent,
    NoteUnknown,
    RecordsLost,
    Refused,
    Shown,
    Unknown,
)
from bellande_mesh_sync.sim.key_story import KeyStory
from bellande_mesh_sync.sim.note_oracle import NoteOracle
from bellande_mesh_sync.sim.write_story import WriteStory


class Oracle:
    """Hears a history as it happens; raises a Violation as soon as it shows a broken promise.

    Args:
        liars: nodes whose word counts for nothing. What they show is not looked at, receipts of
            theirs oblige nobody, and they may write whatever they like in their own name.
    """

    def __init__(self, liars: Iterable[int] = ()) -> None:
        self.keys: dict[str, KeyStory] = {}
        self.nodes: dict[str, int] = {}
        self.liars = set(liars)
        self.notes = NoteOracle(self.nodes, self.liars)
        self._requests: dict[int, tuple[Asked, list[WriteStory]]] = {}
        self._key_of: dict[tuple[str, str], str] = {}
        """By space and version: of which key it was said to be. (An author counts in each space anew.)"""
        self._lost_ns: dict[int, int] = {}
        self._lost_keys_ns: dict[tuple[int, str], int] = {}
        self._clock_sets_ns: defaultdict[int, list[int]] = defaultdict(list)
        self._hearers: dict[type, Callable[[Any], None]] = {
            Asked: self._asked,
            Answered: self._answered,
            Refused: self._refused,
            Unknown: self._unknown,
            Shown: self._shown,
            Joined: self._joined,
            DiskLost: self._disk_lost,
            RecordsLost: self._records_lost,
            ClockSet: self._clock_set,
            NoteAsked: self.notes.asked,
            NoteSent: self.notes.sent,
            NoteUnknown: lambda fact: self.notes.unknown(fact.request),
            NoteHeard: self.notes.heard,
        }

    def hear(self, happening: Happening) -> None:
        self._hearers[type(happening)](happening)

    # -- questions and answers

    def _asked(self, asked: Asked) -> None:
        writes: list[WriteStory] = []
        for place, each in enumerate(asked.writes):
            key = self._key(each.key)
            earlier = [write for write in writes if write.asked.key == each.key]
            write = key.ask(asked.node, each, asked.time_ns, earlier)
            write.owner = (asked.request, place)
            writes.append(write)
        self._requests[asked.request] = (asked, writes)

    def _answered(self, answer: Answered) -> None:
        asked, writes = self._close(answer.request)
        where = f"n{asked.node}"
        if len(answer.versions) != len(writes):
            raise Violation("receipts", where, f"{len(answer.versions)} receipts for {len(writes)} writes")
        if asked.node in self.liars:
            return
        if len(set(answer.nodes)) != len(answer.nodes) or asked.node not in answer.nodes:
            raise Violation("ack_level", where, f"a receipt of n{asked.node} names {_nodes(answer.nodes)}")
        if asked.ack == "one" and len(answer.nodes) < 2:
            raise Violation("ack_level", where, f"ack=one is on the disk of {_nodes(answer.nodes)} alone")
        self._take_versions(asked, writes, answer.versions, answer.nodes)
        for write in writes:
            write.ended_ns = answer.time_ns
            self.keys[write.asked.key].check_match(write)

    def _unknown(self, answer: Unknown) -> None:
        asked, writes = self._close(answer.request)
        if asked.node not in self.liars:
            self._take_versions(asked, writes, answer.versions, answer.nodes)

    def _refused(self, answer: Refused) -> None:
        asked, writes = self._close(answer.request)
        if asked.node in self.liars:
            return
        pairs = zip(writes, asked.writes, strict=True)
        conditional = [write for write, each in pairs if each.if_match is not None]
        if answer.code == "precondition_failed":
            if not conditional:
                raise Violation("if_match", f"n{asked.node}", "refused a write that had no if_match by it")
            if len(conditional) == 1:
                self.keys[conditional[0].asked.key].check_mismatch(conditional[0])
        for write in list(writes):
            really = self.keys[write.asked.key].refuse(write, answer.code)
            self._relabel(write, really)

    def _close(self, request: int) -> tuple[Asked, list[WriteStory]]:
        found = self._requests.get(request)
        if found is None:
            raise Violation("answers", "", f"request {request} was answered twice, or never asked")
        asked, writes = found
        del self._requests[request]
        return asked, writes

    def _take_versions(
        self, asked: Asked, writes: list[WriteStory], versions: Sequence[str], nodes: Sequence[int]
    ) -> None:
        """The client knows its versions now, and on whose disks they are."""
        for place, version in enumerate(versions):
            write = writes[place]
            key = self.keys[write.asked.key]
            if self.nodes.get(version.partition(".")[0]) != asked.node:
                raise Violation("versions", f"n{asked.node}", f"{version} is no version of its own")
            self._check_key(asked.node, version, key.key)
            really = key.answer(write, version)
            self._relabel(write, really)
            writes[place] = really
            for node in nodes:
                # Word of a disk may outlive the disk.
                lost_ns = max(
                    self._lost_ns.get(node, -1), self._lost_keys_ns.get((node, write.asked.key), -1)
                )
                if node not in self.liars and lost_ns < asked.time_ns:
                    key.grant(node, really)

    def _relabel(self, write: WriteStory, really: WriteStory) -> None:
        """What was taken for the one was the other: the two change places in their requests."""
        if really is write:
            return
        for owner, other in ((really.owner, write), (write.owner, really)):
            found = self._requests.get(owner[0])
            if found is not None:
                found[1][owner[1]] = other
        write.owner, really.owner = really.owner, write.owner

    # -- reading

    def _shown(self, shown: Shown) -> None:
        if shown.node in self.liars:
            return
        for sibling in shown.siblings:
            self._check_key(shown.node, sibling.version, shown.key)
        self._key(shown.key).show(shown.node, shown.siblings, is_decayed=shown.is_decayed)

    def _check_key(self, node: int, version: str, key: str) -> None:
        first = self._key_of.setdefault((space_of(key), version), key)
        if first != key and self.nodes.get(version.partition(".")[0]) not in self.liars:
            raise Violation(
                "versions", f"n{node}", f"{version} of {key} was a version of {first} before", key
            )

    def _key(self, key: str) -> KeyStory:
        story = self.keys.get(key)
        if story is None:
            story = self.keys[key] = KeyStory(key, self.nodes, self.liars)
        return story

    # -- nodes

    def _joined(self, fact: Joined) -> None:
        self.nodes[fact.id] = fact.node

    def _disk_lost(self, fact: DiskLost) -> None:
        self._lost_ns[fact.node] = fact.time_ns
        self._clock_sets_ns[fact.node].append(
            fact.time_ns
        )  # What time it was in others' eyes is forgotten too.
        for key in self.keys.values():
            key.disk_lost(fact.node)

    def _records_lost(self, fact: RecordsLost) -> None:
        for name in fact.keys:
            self._lost_keys_ns[fact.node, name] = fact.time_ns
            if name in self.keys:
                self.keys[name].disk_lost(fact.node)

    def _clock_set(self, fact: ClockSet) -> None:
        self._clock_sets_ns[fact.node].append(fact.time_ns)

    # -- at rest

    def check_at_rest(
        self, settled: Sequence[int], answers: Sequence[Mapping[str, Sequence[object]]]
    ) -> None:
        """All is quiet, and every key was just read at every settled node: a Shown each, and an answer here.

        Args:
            settled: the nodes that belong to the mesh now and have had the time to agree.
            answers: for each of them, by key, everything that a client gets to see, byte for byte.
        """
        honest = [
            (node, found) for node, found in zip(settled, answers, strict=True) if node not in self.liars
        ]
        for key in sorted(self.keys):
            if honest:
                self.keys[key].check_agreement([node for node, _ in honest])
            for node, found in honest[1:]:
                if found.get(key) != honest[0][1].get(key):
                    text = (
                        f"{key} reads {honest[0][1].get(key)} at n{honest[0][0]}, {found.get(key)} at n{node}"
                    )
                    raise Violation("agreement", "", text, key)
        self._check_stamps()

    def _check_stamps(self) -> None:
        """What a client wrote at a node after an earlier write there was answered has a later time."""
        by_node: defaultdict[int, list[WriteStory]] = defaultdict(list)
        for key in self.keys.values():
            for write in key.writes:
                if write.ended_ns >= 0 and write.stamp >= 0 and not write.kin:
                    by_node[write.node].append(write)
        for node in sorted(by_node.keys() - self.liars):
            self._check_stamps_of(node, by_node[node])

    def _check_stamps_of(self, node: int, writes: Sequence[WriteStory]) -> None:
        for write, later in pairwise(sorted(writes, key=lambda write: write.owner)):
            if write.owner[0] == later.owner[0] and later.stamp <= write.stamp:
                self._tell_time(node, write, later)
        sets_ns = sorted(self._clock_sets_ns[node])
        ended = sorted(writes, key=lambda write: write.ended_ns)
        latest: WriteStory | None = None
        position = 0
        for write in sorted(writes, key=lambda write: write.asked_ns):
            while position < len(ended) and ended[position].ended_ns < write.asked_ns:
                before = ended[position]
                position += 1
                # A clock that was set may take one step back, at the first write after it.
                latest = max(before, latest or before, key=lambda each: (_era(sets_ns, each), each.stamp))
            if latest is None or _era(sets_ns, write, is_end=True) != _era(sets_ns, latest):
                continue
            if write.stamp <= latest.stamp:
                self._tell_time(node, latest, write)

    def _tell_time(self, node: int, write: WriteStory, later: WriteStory) -> NoReturn:
        text = (
            f"{later.version} of {later.asked.key} has the time {later.stamp}, although "
            f"{write.version} of {write.asked.key} came before it with {write.stamp}"
        )
        raise Violation("stamps", f"n{node}", text, later.asked.key)


def _era(sets_ns: Sequence[int], write: WriteStory, *, is_end: bool = False) -> int:
    """How often the clock had been set when the write was asked for, or answered."""
    return bisect_left(sets_ns, write.ended_ns if is_end else write.asked_ns)


def _nodes(nodes: Sequence[int]) -> str:
    return ", ".join(f"n{node}" for node in nodes) or "no node"
