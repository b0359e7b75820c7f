"""A particle filter: where a robot is, from how it moved and which markers it saw."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import ArrayLike

from bellande_mesh_sync.search_path import particle
from bellande_mesh_sync.search_path.arrays import FloatArray, path_of, positive
from bellande_mesh_sync.search_path.seeds import Seed, generator_of


class ParticleFilter:
    """Moves, weighs and, when few particles carry most of the weight, draws them anew.

    Source: Monte Carlo localisation, Thrun, Burgard, Fox, "Probabilistic Robotics", table 8.2.
    """

    def __init__(
        self,
        particles: ArrayLike,
        *,
        range_sigma: float,
        bearing_sigma: float,
        noise: Sequence[float] = (0.05, 0.001, 0.05, 0.01),
        seed: Seed = 0,
    ) -> None:
        """`particles`, shape (m, 4), as from `particle.create_random`; the rest as in `weigh` and `move`."""
        self.particles: FloatArray = path_of("the particles", particles, 4).copy()
        self._range_sigma = positive("range_sigma", range_sigma)
        self._bearing_sigma = positive("bearing_sigma", bearing_sigma)
        self._noise = tuple(noise)
        self._rng = generator_of(seed)

    def move(self, rotation1: float, translation: float, rotation2: float) -> None:
        """The robot moved so, as far as it knows."""
        self.particles = particle.move(
            self.particles, rotation1, translation, rotation2, noise=self._noise, seed=self._rng
        )

    def see(self, readings: ArrayLike, markers: ArrayLike) -> None:
        """The robot saw `markers` at `readings`, both shape (k, 2), as in `weigh`."""
        self.particles = particle.weigh(
            self.particles,
            readings,
            markers,
            range_sigma=self._range_sigma,
            bearing_sigma=self._bearing_sigma,
        )
        if particle.effective_count(self.particles) < len(self.particles) / 2:
            self.particles = particle.resample(self.particles, seed=self._rng)

    def estimate(self) -> FloatArray:
        """(x, y, heading)."""
        return particle.estimate(self.particles)
