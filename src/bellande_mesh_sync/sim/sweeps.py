"""Sweeps of a simulated disk: chunks that nothing refers to go, under all the faults there are.

Which may go is decided by the very code that real stores use; that none is missing afterwards is for the
checkers to say, which know nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from bellande_mesh_sync.core.data.record import ChunkRef, Manifest
from bellande_mesh_sync.sim.platter import Platter
from bellande_mesh_sync.store.condemned import Condemned

_decode_index = msgspec.msgpack.Decoder(list[ChunkRef]).decode


def hashes_of(manifest: Manifest, chunks: dict[bytes, bytes]) -> Iterator[bytes]:
    """All chunks that a manifest refers to, as far as the lists among them are here."""
    for ref in manifest.chunks:
        yield ref.hash
        if manifest.depth > 1 and ref.hash in chunks:
            yield from (leaf.hash for leaf in _decode_index(chunks[ref.hash]))


def sweep(platter: Platter, condemned: Condemned, under_way: Iterable[Manifest]) -> int:
    """What a sweep does that has begun; how many chunks it dropped. Nothing while a record is damaged."""
    if platter.damaged or platter.rotten:
        return 0
    records = [record for siblings in platter.by_key.values() for record in siblings.values()]
    records += [old.record for kept in platter.history.values() for old in kept]
    manifests = [record.manifest for record in records if record.manifest is not None]
    referenced = {hash for each in (*under_way, *manifests) for hash in hashes_of(each, platter.chunks)}
    sizes = [(hash, len(body)) for hash, body in platter.chunks.items()]
    ripe = condemned.judge(sizes, referenced.__contains__, 0)
    going = condemned.take(dict.fromkeys(ripe))
    for hash in going:
        del platter.chunks[hash]
        platter.rotten_chunks.pop(hash, None)
    condemned.gone()
    return len(going)
