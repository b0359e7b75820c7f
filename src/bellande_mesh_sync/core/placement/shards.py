"""Shards of a space that is placed: their names, and which of them a key falls into."""

from __future__ import annotations

from blake3 import blake3

from bellande_mesh_sync.ids import Shard
from bellande_mesh_sync.keys import space_of


def placed_shard(space: str, count: int, index: int) -> Shard:
    """A shard of a space that is cut into `count`: the name tells, so that nobody need guess the setting."""
    return Shard(f"{space}/{count}.{index}")


def shard_index(key: str, count: int) -> int:
    """Which of `count` shards a key falls into. Cost: one hash of the key."""
    return int.from_bytes(blake3(key.encode()).digest(8), "big") % count


def shard_parts(shard: str) -> tuple[str, int, int]:
    """(space, how many shards it is cut into, which of them); ValueError if it is no shard's name.

    `space/0` is the one shard of a space that every member holds: (space, 0, 0).
    """
    space, _, place = shard.rpartition("/")
    if place == "0":
        return space, 0, 0
    count, dot, index = place.partition(".")
    if not (dot and _is_number(count) and _is_number(index)) or int(index) >= int(count):
        raise ValueError(f"no shard: {shard!r}")
    return space, int(count), int(index)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 6 and (text == "0" or text[0] != "0")


def is_of_shard(key: str, shard: Shard) -> bool:
    """Whether a key belongs to a shard, by the shard's own account of how its space is cut."""
    space, count, index = shard_parts(shard)
    return space_of(key) == space and (not count or shard_index(key, count) == index)
