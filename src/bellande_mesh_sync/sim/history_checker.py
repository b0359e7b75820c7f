"""Whether disks keep the old versions they must, no others, and tell nothing of the past that was not so."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from bellande_mesh_sync.core.data.context import covers
from bellande_mesh_sync.core.data.history import HistoryPolicies, HistoryPolicy, KeyStory, OldVersion, as_of
from bellande_mesh_sync.core.data.record import Record, order_of
from bellande_mesh_sync.core.effects import Batch
from bellande_mesh_sync.ids import Dot, Stamp, stamp_ms
from bellande_mesh_sync.keys import space_of
from bellande_mesh_sync.sim.checkers import Disk, Violation
from bellande_mesh_sync.sim.platter import missing_chunks
from bellande_mesh_sync.sim.trace import in_words

STAMPS_MAX: Final = 64
"""At so many moments of a key with a long past its story is looked at."""


class HistoryChecker:
    """Follows every batch with an account of its own of what each disk has to keep."""

    def __init__(self, policies: HistoryPolicies, disk_count: int) -> None:
        self._default = policies.default
        self._spaces = dict(policies.spaces)
        self._kept: list[dict[str, list[OldVersion]]] = [{} for _ in range(disk_count)]
        self._versions: dict[str, dict[Dot, Record]] = {}
        """Every version that ever was on a disk, live or old, by key."""

    def joined(self) -> None:
        """A new node, with an empty disk."""
        self._kept.append({})

    def wiped(self, disk: Disk) -> None:
        """What the disk holds now, nothing or a backup, is what it has to go on from."""
        self._kept[disk.index] = {key: list(kept) for key, kept in disk.platter.history.items() if kept}

    # -- each batch

    def applied(self, disk: Disk, batch: Batch) -> None:
        for _, record in batch.puts:
            self._versions.setdefault(record.key, {})[record.dot] = record
        by_key: dict[str, list[OldVersion]] = {}
        for old in batch.history:
            self._versions.setdefault(old.record.key, {})[old.record.dot] = old.record
            by_key.setdefault(old.record.key, []).append(old)
        let_go: dict[str, set[Dot]] = {}
        for _, key, dot in batch.drops:
            self._check_drop(disk, key, Dot(*dot), by_key.get(key, []))
            if not any(covers(live.context, *dot) for live in disk.platter.by_key.get(key, {}).values()):
                let_go.setdefault(key, set()).add(Dot(*dot))
        for key, kept in by_key.items():
            for old in kept:
                self._check_old(disk, old, is_let_go=old.record.dot in let_go.get(key, ()))
        for key in self._kept[disk.index] if batch.expired_ms else ():
            by_key.setdefault(key, [])
        for key in by_key:
            if not self._policy(key).versions and key in let_go:
                if disk.platter.history.get(key):
                    raise _violation(disk, f"{key} is gone, and some of its history is not", key)
                self._kept[disk.index].pop(key, None)
                continue
            self._check_kept(disk, key, by_key[key], batch.expired_ms)

    def _policy(self, key: str) -> HistoryPolicy:
        return self._spaces.get(space_of(key), self._default)

    def _check_drop(self, disk: Disk, key: str, dot: Dot, kept: Sequence[OldVersion]) -> None:
        if self._policy(key).versions and not any(old.record.dot == dot for old in kept):
            raise _violation(disk, f"{in_words(dot)} of {key} is dropped and not kept", key)

    def _check_old(self, disk: Disk, old: OldVersion, *, is_let_go: bool) -> None:
        key, dot, policy = old.record.key, old.record.dot, self._policy(old.record.key)
        what = in_words(old.record)
        # A delete that nobody needs any more is kept beside the versions that it ended.
        versions = policy.versions + (is_let_go and old.record.is_tombstone and policy.versions > 0)
        if old.versions != versions or not (versions or is_let_go):
            raise _violation(disk, f"{what} is kept as one of {old.versions}, not {versions}", key)
        expires_ms = stamp_ms(old.until) + policy.for_ms if policy.for_ms else 0
        if old.expires_ms != expires_ms:
            raise _violation(disk, f"{what} expires at {old.expires_ms}, not {expires_ms}", key)
        if dot in disk.platter.by_key.get(key, {}):
            raise _violation(disk, f"{what} is kept as an old version, and live", key)
        if is_let_go:
            return  # Nothing that anybody still has came in its place.
        successors = [v for v in self._versions[key].values() if covers(v.context, *dot)]
        if all(successor.stamp != old.until for successor in successors):
            raise _violation(disk, f"nothing replaced {what} at {old.until}", key)

    def _check_kept(self, disk: Disk, key: str, more: Sequence[OldVersion], expired_ms: int) -> None:
        """What is there is what was there and what came, less the surplus and perhaps what has expired."""
        before = {old.record.dot: old for old in self._kept[disk.index].get(key, ())}
        before.update((old.record.dot, old) for old in more)
        latest = sorted((old.until for old in before.values()), reverse=True)
        # A limit counts where something is written; what expired goes whenever a batch says the time.
        # A delete that is let go has one of its own; which of two limits comes last is the store's affair.
        limits = [old.versions for old in more] or [len(latest)]
        versions = max(limits)
        allowed = {dot for dot, old in before.items() if old.until >= _floor(latest, versions)}
        wanted = {dot for dot, old in before.items() if old.until >= _floor(latest, min(limits))}
        may_go = {dot for dot, old in before.items() if 0 < old.expires_ms <= expired_ms}
        there = {old.record.dot: old for old in disk.platter.history.get(key, ())}
        for dot in there.keys() - allowed:
            raise _violation(disk, f"{in_words(dot)} of {key} is kept beyond {versions} versions", key)
        for dot in wanted - may_go - there.keys():
            raise _violation(disk, f"{in_words(dot)} of {key} is gone from history too early", key)
        self._kept[disk.index][key] = list(there.values())

    # -- now and then

    def check_disk(self, disk: Disk) -> None:
        """Whatever an old version refers to can be read."""
        for key, kept in disk.platter.history.items():
            for old in kept:
                manifest = old.record.manifest
                if manifest is not None and missing_chunks(manifest, disk.platter.chunks)[0]:
                    raise _violation(disk, f"{in_words(old.record)} lacks chunks", key)

    def check_at_rest(self, disks: Iterable[Disk]) -> None:
        """All have heard of everything: what a disk says of any moment must be what was there then."""
        for disk in disks:
            for key in disk.platter.by_key:
                self._check_past(disk, key)
            for key in disk.platter.history.keys() - disk.platter.by_key.keys():
                self._check_gone(disk, key)

    def _check_past(self, disk: Disk, key: str) -> None:
        live = tuple(disk.platter.by_key[key].values())
        kept = disk.platter.history.get(key, ())
        told_of = KeyStory(key, live, tuple((old.until, old.record) for old in kept))
        story = told_of.versions()
        # What was lost with the only disk that had it was never replaced, and nobody can tell of it.
        everything = [
            version
            for version in self._versions[key].values()
            if version in live
            or version in story
            or any(covers(other.context, *version.dot) for other in live)
        ]
        gone = {old.record.dot: old.until for old in kept}
        ends = [min(_end_of(v, everything), gone.get(v.dot, math.inf)) for v in everything]
        stamps = sorted({version.stamp for version in everything})
        for stamp in stamps[:: 1 + len(stamps) // STAMPS_MAX]:
            for moment in (Stamp(stamp - 1), stamp):
                told = as_of(story, moment, told_of.ended(moment))
                there = [v for v, end in zip(everything, ends, strict=True) if v.stamp <= moment < end]
                if told.is_known and _winner(told.siblings) != _winner(there):
                    if not told.siblings and self._is_delete_forgotten(story, there):
                        continue
                    raise _violation(disk, f"{key} had another value at {moment} than is told", key)
        if not as_of(story, max(version.stamp for version in everything)).is_known:
            raise _violation(disk, f"of {key} not even the present is known", key)

    def _is_delete_forgotten(self, story: Sequence[Record], there: Sequence[Record]) -> bool:
        """Whether these versions were deleted, and the history has lost that delete, which all had dropped.

        Then nothing tells a key that was written anew from one that never was there before.
        """
        deletes = [v for v in self._versions[there[0].key].values() if v.is_tombstone and v not in story]
        return all(any(covers(each.context, *version.dot) for each in deletes) for version in there)

    def _check_gone(self, disk: Disk, key: str) -> None:
        """Of a key that is gone, no version is told to be there now."""
        kept = disk.platter.history[key]
        story = KeyStory(key, (), tuple((old.until, old.record) for old in kept))
        now = max((old.until for old in kept), default=Stamp(0))
        if _winner(as_of(story.versions(), now, story.ended(now)).siblings) is not None:
            raise _violation(disk, f"{key} is gone, and told to be there", key)


def _end_of(version: Record, versions: Sequence[Record]) -> float:
    """When the first of these replaced it."""
    author, sequence = version.dot
    return min((v.stamp for v in versions if covers(v.context, author, sequence)), default=math.inf)


def _floor(latest: Sequence[int], versions: int) -> int:
    """When the oldest of those was replaced that stay, of so many."""
    return latest[versions - 1] if 0 < versions <= len(latest) else 0


def _winner(siblings: Sequence[Record]) -> Dot | None:
    winner = max(siblings, key=order_of, default=None)
    return None if winner is None or winner.is_tombstone else winner.dot


def _violation(disk: Disk, text: str, key: str) -> Violation:
    return Violation("history", f"n{disk.index}", text, key)
