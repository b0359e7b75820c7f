"""Which keys clients use and what they write: plain ones mostly, and those at the edge of what is allowed."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from blake3 import blake3

from bellande_mesh_sync.core.data.record import INLINE_BYTES_MAX, VALUE, ChunkRef, Manifest
from bellande_mesh_sync.core.events import Write
from bellande_mesh_sync.keys import KEY_BYTES_MAX
from bellande_mesh_sync.sim.workload_config import WorkloadConfig

RECENT_KEYS: Final = 20
EQUAL_VALUES: Final = 8


class Keys:
    """Hot keys that all clients fight over, and keys of their own that are used a few times."""

    def __init__(self, config: WorkloadConfig, rng: random.Random) -> None:
        self._config = config
        self._rng = rng
        self.hot = [self._make_hot(index) for index in range(config.hot_keys)]
        self._careful = {key for key in self.hot if rng.random() < config.careful_ratio}
        self._recent: deque[str] = deque(maxlen=RECENT_KEYS)
        self._own_count = 0

    def draw(self) -> str:
        if self._rng.random() < self._config.hot_ratio:
            if not self._config.is_skewed:
                return self._rng.choice(self.hot)
            # Zipf with exponent 1, near enough: the first keys get most.
            return self.hot[int(len(self.hot) ** self._rng.random()) - 1]
        if self._recent and self._rng.random() < 0.4:
            return self._rng.choice(self._recent)
        self._own_count += 1
        kind = "sole" if self._rng.random() < self._config.careful_ratio else "own"
        key = f"{self._space()}/{kind}/{self._own_count}"
        self._recent.append(key)
        return key

    def is_careful(self, key: str) -> bool:
        """Whether every write to this key says what its writer had read."""
        return key in self._careful or "/sole/" in key

    def is_hot(self, key: str) -> bool:
        return "/sole/" not in key and "/own/" not in key

    def _make_hot(self, index: int) -> str:
        key = f"{self._space()}/hot/{index}"
        if self._rng.random() >= self._config.odd_key_ratio:
            return key
        if self._rng.random() < 0.5:
            return f"{key}/ключ é 鍵 🔑"
        return key + "/" + "x" * (KEY_BYTES_MAX - len(key) - 1)

    def _space(self) -> str:
        return f"s{self._rng.randrange(self._config.spaces)}"


@dataclass(frozen=True, slots=True)
class Drawn:
    """A value, as a write carries it, and what its writer must have on disk before."""

    write: Write
    chunks: dict[bytes, bytes]
    refs: tuple[ChunkRef, ...]


class Values:
    """No two values are equal, so that a digest tells whose it is; but for those that are to be."""

    def __init__(self, config: WorkloadConfig, rng: random.Random) -> None:
        self.repeated: set[bytes] = {blake3(b"").digest()}
        """Digests that more than one write may carry."""
        self._config = config
        self._rng = rng
        self._count = 0
        self._kept: deque[bytes] = deque([b""], maxlen=EQUAL_VALUES)

    def mark(self) -> bytes:
        """A beginning that no other value has."""
        self._count += 1
        return b"%d " % self._count

    def draw(self, key: str) -> Drawn:
        chance = self._rng.random()
        config = self._config
        if chance < config.chunked_ratio:
            return self._chunked(key)
        chance -= config.chunked_ratio
        if chance < config.limit_ratio:
            return self._at_limit(key)
        if chance - config.limit_ratio < config.equal_ratio:
            body = self._rng.choice(self._kept)
            self.repeated.add(blake3(body).digest())
            return _inline(key, body)
        return _inline(key, self.mark() + self._rng.randbytes(int(self._rng.expovariate(1 / 60))))

    def acknowledged(self, write: Write) -> None:
        """This value was written, so it may be written once more."""
        if self._config.equal_ratio and write.inline is not None and len(write.inline) < 1000:
            self._kept.append(write.inline)

    def _at_limit(self, key: str) -> Drawn:
        """As large as may stand inside a record, or a byte less, or one more: then it is a chunk."""
        mark = self.mark()
        size = INLINE_BYTES_MAX + self._rng.choice((-1, 0, 1))
        body = mark + self._rng.randbytes(size - len(mark))
        return _inline(key, body) if size <= INLINE_BYTES_MAX else self._of_bodies(key, [body])

    def _chunked(self, key: str) -> Drawn:
        count = self._rng.randint(1, self._config.chunks_max)
        size_bytes = max(self._config.chunk_bytes, INLINE_BYTES_MAX // count + 100)
        mark = self.mark()
        bodies = [mark + self._rng.randbytes(size_bytes) for _ in range(count)]
        if self._rng.random() < 0.2:
            bodies.append(b"the same everywhere" * 100)  # Chunks that many values share.
        return self._of_bodies(key, bodies)

    def _of_bodies(self, key: str, bodies: Sequence[bytes]) -> Drawn:
        chunks = {blake3(body).digest(): body for body in bodies}
        refs = tuple(ChunkRef(blake3(body).digest(), len(body)) for body in bodies)
        manifest = Manifest(1, refs)
        if self._rng.random() < 0.1:
            index = msgspec.msgpack.encode(list(refs))
            chunks[blake3(index).digest()] = index
            manifest = Manifest(2, (ChunkRef(blake3(index).digest(), len(index)),))
        value = b"".join(bodies)
        write = Write(key, VALUE, len(value), blake3(value).digest(), "x/y", None, manifest)
        return Drawn(write, chunks, refs)


def _inline(key: str, body: bytes) -> Drawn:
    return Drawn(Write(key, VALUE, len(body), blake3(body).digest(), "x/y", body), {}, ())


def draw_weighted(rng: random.Random, choices: Sequence[tuple[str, float]]) -> str:
    names, weights = zip(*choices, strict=True)
    chosen: str = rng.choices(names, weights)[0]
    return chosen


def spread(rng: random.Random, low: float, high: float) -> float:
    """A figure between, each order of magnitude as likely as the next."""
    return float(low * (high / low) ** rng.random())
