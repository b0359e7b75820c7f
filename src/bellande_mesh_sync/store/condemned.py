"""Condemned chunks: nothing referred to them when a sweep looked. They go when a later one finds the same.

Why twice: between "is this chunk here?" and the commit of a record that builds on the answer lies a gap, of
hours for a value that is streamed in slowly. Whoever asks for a chunk, reads it or adds it again *touches*
it, and that pardons it. Whoever touches chunks and is not done with them has a *hold* open. So a chunk may
go if a sweep finds it without a reference that began after all holds from before its condemnation were
closed, and it was not touched since: then every record that anybody was about to write was there to be seen.
docs/decisions/0015-chunk-sweep.md has the argument in full.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

CONDEMNED_MAX: Final = 250_000
"""Chunks condemned at once, 170 bytes each; the others are when these are gone."""

Place = TypeVar("Place")


class _Sentence(NamedTuple):
    turn: int
    since_ns: int
    size_bytes: int


class Hold:
    """Open while chunks may be touched that no record on disk names. Use it as `with`, or `release` it."""

    def __init__(self, condemned: Condemned) -> None:
        self._condemned = condemned
        self._number = condemned.hold_opened()

    def release(self) -> None:
        """May be called again."""
        self._condemned.hold_closed(self._number)

    def __enter__(self) -> Hold:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()  # Of a value that was opened and never read.


class Condemned:
    """Which chunks may go soon. For all threads; in memory, so a restart begins anew."""

    def __init__(self) -> None:
        # Reentrant: a collection in the middle may end a forgotten hold on this very thread.
        self._lock = threading.RLock()
        self._turn = 0
        self._holds: dict[int, None] = {}
        self._sentences: dict[bytes, _Sentence] = {}
        self._going: dict[bytes, object] = {}
        self._settled_turn = 0
        self._now_ns = 0
        self.generation = 0
        """Changes whenever chunks go: what was looked up before may be wrong."""

    # -- those who use chunks

    def hold(self) -> Hold:
        """Before the first chunk is touched."""
        return Hold(self)

    def hold_opened(self) -> int:
        with self._lock:
            self._turn += 1
            self._holds[self._turn] = None
            return self._turn

    def hold_closed(self, number: int) -> None:
        with self._lock:
            self._holds.pop(number, None)

    def touched(self, located: Mapping[bytes, Place], generation: int) -> dict[bytes, Place] | None:
        """Pardon these, which were found at these places; without those that are going right now.

        None: chunks have gone since that generation, so look again.
        """
        with self._lock:
            if generation != self.generation:
                return None
            for hash in located:
                self._sentences.pop(hash, None)
            if not self._going:
                return dict(located)
            return {hash: place for hash, place in located.items() if self._going.get(hash) != place}

    # -- the sweep

    def begin(self, now_ns: int) -> None:
        """A sweep begins: it will see what is on disk from now on, and what is under way now.

        Args:
            now_ns: of a clock that never runs backwards, and goes on over restarts of this process alone.
        """
        with self._lock:
            self._now_ns = now_ns
            self._turn += 1
            self._settled_turn = min(self._holds, default=self._turn)

    def judge(
        self, chunks: Sequence[tuple[bytes, int]], is_referenced: Callable[[bytes], bool], grace_ns: int
    ) -> list[bytes]:
        """Condemn those of these chunks (hash, bytes) that nothing refers to, pardon the others; those whose
        time has come."""
        ripe: list[bytes] = []
        with self._lock:
            self._turn += 1  # Holds that were open till here count for what is condemned now.
            for hash, size_bytes in chunks:
                sentence = self._sentences.get(hash)
                if is_referenced(hash):
                    if sentence is not None:
                        del self._sentences[hash]
                elif sentence is None:
                    if len(self._sentences) < CONDEMNED_MAX:
                        self._sentences[hash] = _Sentence(self._turn, self._now_ns, size_bytes)
                elif sentence.turn < self._settled_turn and self._now_ns - sentence.since_ns >= grace_ns:
                    ripe.append(hash)
        return ripe

    def take(self, places: Mapping[bytes, Place]) -> dict[bytes, Place]:
        """Those of these chunks that are condemned still. From now on nobody finds them there; they are
        `gone` next, whether they could be taken out or not."""
        with self._lock:
            going = {hash: place for hash, place in places.items() if hash in self._sentences}
            for hash in going:
                del self._sentences[hash]
            self._going.update(going)
            self.generation += 1
            return going

    def gone(self) -> None:
        """What was taken is no longer in the index; or it is found there again."""
        with self._lock:
            self._going.clear()
            self.generation += 1

    @property
    def count(self) -> int:
        return len(self._sentences)

    @property
    def size_bytes(self) -> int:
        """Of what is condemned. Cost: O(that)."""
        with self._lock:
            return sum(sentence.size_bytes for sentence in self._sentences.values())
