"""Chance, always from a seed: the same seed draws the same on every machine."""

from __future__ import annotations

from typing import TypeAlias

from numpy.random import PCG64, Generator

from bellande_mesh_sync.search_path.arrays import whole

Seed: TypeAlias = int | Generator
"""A number, or a generator that goes on where it stands."""


def generator_of(seed: Seed) -> Generator:
    if isinstance(seed, Generator):
        return seed
    return Generator(PCG64(whole("seed", seed, 0, 2**53)))
