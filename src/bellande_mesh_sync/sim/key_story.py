"""One key as its clients know it: who asked for what, what may have replaced what, who must show what.

The writes of a key are numbered in the order of asking, and sets of them are integers with a bit for
each. Of every write two sets are kept: `covers`, what it has replaced for certain if it took effect,
and `may`, what it can have replaced at most. With an explicit context both are the same: the versions
that the client had read, and what those had replaced. A write without one replaces whatever its node
held: for certain what that node had shown or acknowledged before, at most all that was asked by then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, NoReturn

from bellande_mesh_sync.sim.checkers import Violation
from bellande_mesh_sync.sim.history import TOMBSTONE, AskedWrite, Sibling
from bellande_mesh_sync.sim.write_story import WriteStory

LABEL_CHARACTERS: Final = 60
"""How much of a key stands in a sentence."""


class KeyStory:
    """What clients asked and were told of one key."""

    def __init__(self, key: str, nodes: Mapping[str, int], liars: AbstractSet[int]) -> None:
        self.key = key
        self.label = key if len(key) <= LABEL_CHARACTERS else f"{key[:LABEL_CHARACTERS]}..."
        self.writes: list[WriteStory] = []
        self._nodes = nodes
        self._liars = liars
        self._by_version: dict[str, WriteStory] = {}
        self._unnamed: dict[tuple[int, bytes], list[WriteStory]] = {}
        """Writes whose version nobody knows yet, by what a reader could tell of them: writer, value."""
        self._floors: dict[int, int] = {}
        """By node: what it showed or acknowledged last. It, or what may have replaced it, must be there."""
        self._gone: dict[int, int] = {}
        """By node: what was replaced for certain by something that the node has shown or acknowledged."""
        self._matched: dict[tuple[int, str], WriteStory] = {}
        """By node and the version that an acknowledged if_match named: the write that replaced it."""
        self._can_look_empty = False
        """A delete, or something that expires, was asked for."""
        self._is_lied_about = False
        """A liar has written here."""

    # -- asking

    def ask(self, node: int, asked: AskedWrite, asked_ns: int, earlier: Sequence[WriteStory]) -> WriteStory:
        """A client asks for this write; `earlier` are those of the same request on the same key."""
        write = WriteStory(1 << len(self.writes), node, asked, asked_ns)
        if node in self._liars:
            self._mistrust(write)
        else:
            write.doubt = self._doubt(node, asked)
            if asked.context is None:
                self._see_all(write, earlier)
            else:
                self._see_only(write, asked.context)
        self.writes.append(write)
        self._unnamed.setdefault((node, asked.value), []).append(write)
        self._can_look_empty |= asked.may_hide or asked.value == TOMBSTONE
        return write

    def _mistrust(self, write: WriteStory) -> None:
        """A liar may claim to have seen anything, also what is still to come, and so may who believes it."""
        write.is_frozen = True
        self._is_lied_about = True

    def _see_all(self, write: WriteStory, earlier: Sequence[WriteStory]) -> None:
        write.covers = self._floors.get(write.node, 0) | self._gone.get(write.node, 0)
        for other in earlier:
            write.covers |= other.bit | other.covers
        match = self._by_version.get(write.asked.if_match or "")
        if match is not None:
            write.covers |= match.bit | match.covers

    def _see_only(self, write: WriteStory, context: Sequence[str]) -> None:
        write.may = 0
        write.is_frozen = True
        for version in context:
            read = self._by_version[version]
            write.covers |= read.bit | read.covers
            write.may |= read.bit | read.may
        # A delete that stands alone at its node gives way to it, with all that this has replaced.
        by_now = (1 << len(self.writes)) - 1
        for other in self.writes:
            if other.asked.value == TOMBSTONE:
                write.may |= other.bit | (other.may & by_now)

    def _doubt(self, node: int, asked: AskedWrite) -> str:
        """Why this if_match cannot hold at this node, as far as clients know."""
        if asked.if_match is None:
            return ""
        if not asked.if_match:
            shown = self._floors.get(node, 0)
            return f"it held {self.names(shown)}" if shown else ""
        match = self._by_version.get(asked.if_match)
        gone = self._gone.get(node, 0)
        return "that version was replaced there" if match is not None and match.bit & gone else ""

    # -- answers

    def answer(self, write: WriteStory, version: str) -> WriteStory:
        """The client is told that its write is this version. Returns the write that this really is."""
        bound = self._by_version.get(version)
        if bound is None and not write.version:
            self._name(write, version)
            return write
        if bound is write:
            return write
        if bound is not None and bound in write.kin:
            return bound
        spare = self._spare(write)
        if bound is None and spare is not None:
            self._name(spare, version)
            return spare
        other = self.describe(bound) if bound is not None else f"the version {write.version}"
        raise self._broken(
            "versions",
            write.node,
            f"{self.describe(write)} was acknowledged as {version}, but is {other}",
        )

    def refuse(self, write: WriteStory, code: str) -> WriteStory:
        """The client is told that nothing was written. Returns the write that this really is."""
        if write.version:
            spare = self._spare(write)
            if spare is None:
                raise self._broken(
                    "refused_write",
                    write.node,
                    f"{self.describe(write)} was read before its client was told {code}: nothing was written",
                )
            write = spare
        write.is_refused = True
        self._unnamed[(write.node, write.asked.value)].remove(write)
        return write

    def check_match(self, write: WriteStory) -> None:
        """An acknowledged if_match must have held."""
        match = write.asked.if_match
        if match is None or write.kin or write.node in self._liars:
            return  # Of equal writes it may have been another one that replaced it.
        if write.doubt and (match or not self._can_look_empty):
            text = f"{self.describe(write)} was to replace {match or 'nothing'}, although {write.doubt}"
            raise self._broken("if_match", write.node, text)
        found = self._by_version.get(match)
        if found is None or not found.bit & write.covers:
            return
        # Writes of one request are judged together, before any of them.
        first = self._matched.setdefault((write.node, match), write)
        if first.owner[0] != write.owner[0]:
            text = f"both {self.describe(first)} and {self.describe(write)} replaced {self.names(found.bit)}"
            raise self._broken("if_match", write.node, text)

    def check_mismatch(self, write: WriteStory) -> None:
        """A refused if_match must have had a reason."""
        match = write.asked.if_match
        if match is None or write.kin or self._liars:
            return  # A liar may have written what nobody has seen yet.
        found = self._by_version.get(match) if match else None
        mask = found.bit if found is not None else 0
        if self._floors.get(write.node, 0) != mask or (found is not None and found.asked.may_hide):
            return
        behind = mask | (found.covers if found is not None else 0)
        if all(other is write or other.is_refused or other.bit & behind for other in self.writes):
            raise self._broken(
                "if_match",
                write.node,
                f"{self.describe(write)} was refused, although {match or 'nothing'} is all there was",
            )

    def grant(self, node: int, write: WriteStory) -> None:
        """A receipt names this node: from now on it shows the write, or what may have replaced it."""
        gone = self._gone.get(node, 0)
        if not gone & write.bit:
            gone |= write.covers
            self._gone[node] = gone
            self._floors[node] = (self._floors.get(node, 0) | write.bit) & ~gone

    def disk_lost(self, node: int) -> None:
        self._floors.pop(node, None)
        self._gone.pop(node, None)
        self._matched = {place: heir for place, heir in self._matched.items() if place[0] != node}

    # -- reading

    def show(self, node: int, siblings: Sequence[Sibling], *, is_decayed: bool = False) -> None:
        """A client got these at `node`: check it against all that is known, and remember it."""
        shown = covered = explained = 0
        # All are found first: a doubt about one can change what another is thought to cover.
        for write in [self._find(node, each, is_decayed=is_decayed) for each in siblings]:
            shown |= write.bit
            covered |= write.covers
            explained |= write.may
        gone = self._gone.get(node, 0)
        lost = self._floors.get(node, 0) & ~shown & ~explained
        if lost:
            lost &= ~self._deleted()
        if (covered | gone) & shown:
            self._tell_back(node, shown, covered, gone)
        if lost:
            there = f"only {self.names(shown)}" if shown else "nothing"
            raise self._broken(
                "lost", node, f"{self.names(lost)} of {self.label} was on this disk; it shows {there}"
            )
        self._floors[node] = shown
        self._gone[node] = gone | covered

    def _deleted(self) -> int:
        """What may be gone without a trace: deletes, which are forgotten once all have them, and what these
        may have replaced."""
        found = 0
        for write in self.writes:
            if write.asked.value == TOMBSTONE and not write.is_refused:
                found |= write.bit | write.may
        return found

    def _deletes_in(self, bits: int) -> int:
        found = 0
        for write in self._of(bits):
            if write.asked.value == TOMBSTONE:
                found |= write.bit
        return found

    def _tell_back(self, node: int, shown: int, covered: int, gone: int) -> NoReturn:
        if covered & shown:
            old, heir = next(
                (old, heir) for heir in self._of(shown) for old in self._of(shown) if old.bit & heir.covers
            )
            text = f"{self.describe(old)} stands beside {self.describe(heir)}, whose writer had seen it"
            raise self._broken("superseded", node, text)
        text = f"{self.names(gone & shown)} of {self.label} came back after it was replaced or deleted here"
        raise self._broken("came_back", node, text)

    def _find(self, node: int, sibling: Sibling, *, is_decayed: bool) -> WriteStory:
        write = self._by_version.get(sibling.version)
        if write is None:
            write = self._recognize(node, sibling)
        if not sibling.is_whole and not is_decayed:
            raise self._broken(
                "values", node, f"{self.describe(write)} is shown, and its bytes cannot be had"
            )
        if write.node in self._liars:
            return write
        if sibling.value != write.asked.value:
            raise self._broken("values", node, f"{self.describe(write)} reads as {_short(sibling.value)}")
        if write.stamp not in (-1, sibling.stamp):
            raise self._broken("values", node, f"{self.describe(write)} changed its time")
        write.stamp = sibling.stamp
        return write

    def _recognize(self, node: int, sibling: Sibling) -> WriteStory:
        """Whose write is this version that nobody was told of yet?"""
        writer = self._nodes.get(sibling.version.partition(".")[0], -1)
        candidates = self._unnamed.get((writer, sibling.value), [])
        if candidates:
            if len(candidates) > 1:
                self._confound(candidates)
            write = candidates[0]
        elif writer in self._liars:
            write = WriteStory(1 << len(self.writes), writer, AskedWrite(self.key, sibling.value), 0)
            self.writes.append(write)
            self._can_look_empty |= sibling.value == TOMBSTONE
            self._mistrust(write)
        else:
            self._tell_unasked(node, sibling, writer)
        self._name(write, sibling.version)
        return write

    def _tell_unasked(self, node: int, sibling: Sibling, writer: int) -> NoReturn:
        what = f"{sibling.version} = {_short(sibling.value)} of {self.label}"
        for write in self.writes:
            if write.is_refused and (write.node, write.asked.value) == (writer, sibling.value):
                raise self._broken(
                    "refused_write", node, f"{what}: its client was told that it was not written"
                )
        raise self._broken("unasked", node, f"{what}: no client asked n{writer} for that")

    def _name(self, write: WriteStory, version: str) -> None:
        write.version = version
        self._by_version[version] = write
        unnamed = self._unnamed.get((write.node, write.asked.value), [])
        if write in unnamed:
            unnamed.remove(write)
        self._freeze(write)

    def _freeze(self, write: WriteStory) -> None:
        if not write.is_frozen:
            write.is_frozen = True
            write.may = -1 if self._is_lied_about else (1 << len(self.writes)) - 1

    def _confound(self, candidates: Sequence[WriteStory]) -> None:
        """Any of these may be the one that appeared: each covers what all do, and may what any may.

        What others were thought to have replaced of them may have been any of them too, or none.
        """
        kin = list({id(each): each for write in candidates for each in (write, *write.kin)}.values())
        covers, may, bits = -1, 0, 0
        for write in candidates:
            self._freeze(write)
            covers &= write.covers
            may |= write.may
        for write in kin:
            write.kin = kin
            bits |= write.bit
        for write in candidates:
            write.covers, write.may = covers, may
        for write in self.writes:
            write.covers &= ~bits
            if write.may & bits:
                write.may |= bits
        self._gone = {node: gone & ~bits for node, gone in self._gone.items()}

    def _spare(self, write: WriteStory) -> WriteStory | None:
        """One of the writes that look like this one, and that has no version yet."""
        return next((each for each in write.kin if not each.version and not each.is_refused), None)

    # -- at rest

    def check_agreement(self, nodes: Sequence[int]) -> None:
        """These nodes have just been read: they show the same, and nothing that any of them knows as gone."""
        first = nodes[0]
        shown = {node: self._floors.get(node, 0) for node in nodes}
        values = {node: bits & ~self._deletes_in(bits) for node, bits in shown.items()}
        for node in nodes[1:]:
            if values[node] != values[first]:
                text = (
                    f"n{first} shows {self.names(self._floors.get(first, 0))} of {self.label}, "
                    f"n{node} shows {self.names(self._floors.get(node, 0))}"
                )
                raise Violation("agreement", "", text, self.key)
        for node in nodes:
            back = self._gone.get(node, 0) & self._floors.get(first, 0)
            if back:
                text = f"{self.names(back)} of {self.label} is back everywhere; n{node} knows it as replaced"
                raise self._broken("came_back", node, text)

    # -- words

    def _broken(self, check: str, node: int, text: str) -> Violation:
        return Violation(check, f"n{node}", text, self.key)

    def names(self, mask: int) -> str:
        return ", ".join(_short_version(write) for write in self._of(mask)) or "nothing"

    def describe(self, write: WriteStory) -> str:
        what = "the delete" if write.asked.value == TOMBSTONE else f"value {_short(write.asked.value)}"
        name = f" ({_short_version(write)})" if write.version else ""
        return f"{what} of {self.label} at n{write.node}{name}"

    def _of(self, mask: int) -> Iterator[WriteStory]:
        return (write for write in self.writes if write.bit & mask)


def _short(value: bytes) -> str:
    return value[:4].hex() or "a delete"


def _short_version(write: WriteStory) -> str:
    return (
        f"n{write.node}.{write.version.rpartition('.')[2]}"
        if write.version
        else f"an unnamed of n{write.node}"
    )
