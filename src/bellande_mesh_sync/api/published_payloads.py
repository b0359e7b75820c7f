"""The published payloads of the `/api/Bellande_*` routes, and their answers in the published shape.

Fields that are not known are passed over, as published clients differ in what they send beside. The
names of answers come from published clients where they read any; see docs/search-path/compatible.md.
"""

from __future__ import annotations

import time
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from bellande_mesh_sync.errors import QuestionTooLargeError
from bellande_mesh_sync.path_answers import STEPS_MAX, answer
from bellande_mesh_sync.path_questions import (
    CreateRandom,
    ImportanceQuestion,
    MotionQuestion,
    Move,
    Point,
    Points,
    ProbabilityQuestion,
    ReadMarkers,
    SegmentQuestion,
    TreeQuestion,
)

Answer: TypeAlias = dict[str, Any]


class Auth(Struct, frozen=True):
    authorization_key: str = ""
    """A node's API token; from the node's own machine also the published open key."""
    full_authorization_key: str = ""


class Payload(Struct, frozen=True, kw_only=True):
    auth: Auth = Auth()


class Obstacle(Struct, frozen=True):
    position: Point
    """Its lowest corner."""
    dimensions: Point


class PublishedNode(Struct, frozen=True):
    coords: Point
    segment: int | str


class StepPayload(Payload, frozen=True, kw_only=True):
    node0: list[float]
    node1: list[float]
    limit: int | float
    dimensions: int

    def answer(self) -> Answer:
        from bellande_mesh_sync.search_path.published import published_step

        return {"next_step": published_step(self.node0, self.node1, self.limit, self.dimensions)}


class LimitPayload(Payload, frozen=True, kw_only=True):
    node0: list[float]
    node1: list[float]
    environment: list[float]
    size: list[float]
    goal: list[float]
    obstacles: list[Obstacle] = []
    search_radius: float = 50.0
    sample_points: int = 20

    def answer(self) -> Answer:
        from bellande_mesh_sync.search_path.published import published_limit

        steps = max(self.sample_points, 1) * (len(self.obstacles) + 1) * len(self.environment)
        if steps > STEPS_MAX:
            raise QuestionTooLargeError(work=steps, limit=STEPS_MAX)
        found = published_limit(
            self.node0,
            self.node1,
            self.environment,
            self.size,
            self.goal,
            msgspec.to_builtins(self.obstacles),
            self.search_radius,
            self.sample_points,
        )
        return {"limit": found}


class ImportancePayload(Payload, frozen=True, kw_only=True):
    node: PublishedNode
    nodes: list[PublishedNode]
    important_nodes: dict[str, list[PublishedNode]]
    adjacent_segments: dict[str, list[int | str]]
    grid_steps: Point
    min_segment_coverage: float = 0.5

    def answer(self) -> Answer:
        began = time.perf_counter()
        found = answer(_as(ImportanceQuestion, self), STEPS_MAX)
        return {
            "importance_score": found["score"],
            "segment_coverage": found["segment_coverage"],
            "coverage_metrics": {name: found[name] for name in ("coverage_before", "connection", "density")},
            "node_attributes": {name: found[name] for name in ("important", "guard", "connector")},
            "execution_time_ms": (time.perf_counter() - began) * 1000,
        }


class ParticleState(Struct, frozen=True):
    x: float
    y: float
    heading: float
    weight: float = 1.0

    def numbers(self) -> list[float]:
        return [self.x, self.y, self.heading, self.weight]


class World(Struct, frozen=True):
    width: float
    height: float
    markers: list[list[float]] = []


class MovePayload(Payload, frozen=True, kw_only=True):
    particle: ParticleState
    rotation1: float
    translation: float
    rotation2: float

    def answer(self) -> Answer:
        question = Move(
            particles=self.particle.numbers(),
            rotation1=self.rotation1,
            translation=self.translation,
            rotation2=self.rotation2,
        )
        return {"particle": _particle(answer(question)["particles"])}


class ReadMarkersPayload(Payload, frozen=True, kw_only=True):
    particle: ParticleState
    world: World

    def answer(self) -> Answer:
        question = ReadMarkers(particles=self.particle.numbers(), markers=self.world.markers)
        found = answer(question, STEPS_MAX)
        rows = zip(found["distances"], found["bearings"], found["points"], strict=True)
        return {
            "markers": [
                {"distance": distance, "bearing": bearing, "x": x, "y": y}
                for distance, bearing, (x, y) in rows
            ]
        }


class CreateRandomPayload(Payload, frozen=True, kw_only=True):
    count: int
    world: World
    seed: int | None = None
    """Beside the published fields: the same seed gives the same particles. None: others each time."""

    def answer(self) -> Answer:
        seed = time.time_ns() % 2**53 if self.seed is None else self.seed
        asked = {"count": self.count, "width": self.world.width, "height": self.world.height, "seed": seed}
        question = msgspec.convert({"action": "create_random", **asked}, CreateRandom)
        return {"particles": [_particle(row) for row in answer(question, STEPS_MAX)["particles"]]}


class ProbabilityPayload(Payload, frozen=True, kw_only=True):
    mu_func: str
    sigma_func: str
    x: list[float]
    dimensions: int

    def answer(self) -> Answer:
        from bellande_mesh_sync.errors import DimensionMismatchError

        if len(self.x) != self.dimensions:
            raise DimensionMismatchError(what="x", have=len(self.x), need=self.dimensions)
        began = time.perf_counter()
        found = answer(ProbabilityQuestion(mu=self.mu_func, sigma=self.sigma_func, x=self.x), STEPS_MAX)
        return {
            "probability_values": [found["density"]],
            "confidence_intervals": list(map(list, zip(found["low"], found["high"], strict=True))),
            "statistical_metrics": {
                "log_density": found["log_density"],
                "mahalanobis_distance": found["distance"],
            },
            "execution_time_ms": (time.perf_counter() - began) * 1000,
        }


class Noise(Struct, frozen=True):
    trans_sigma: float = 0.1
    rot_sigma: float = 0.1
    head_sigma: float = 0.1


class MotionPayload(Payload, frozen=True, kw_only=True):
    particle_state: list[float]
    previous_pose: list[float]
    current_pose: list[float]
    noise_params: Noise = Noise()
    search_radius: float = 50.0
    sample_points: int = 20

    def answer(self) -> Answer:
        question = MotionQuestion(
            particles=self.particle_state,
            previous=self.previous_pose,
            current=self.current_pose,
            trans_sigma=self.noise_params.trans_sigma,
            rot_sigma=self.noise_params.rot_sigma,
            head_sigma=self.noise_params.head_sigma,
            search_radius=self.search_radius,
            sample_points=self.sample_points,
        )
        found = answer(question, STEPS_MAX)
        names = ("rotation1", "translation", "rotation2")
        return {
            "probability": found["density"],
            "log_probability": found["log_density"],
            "odometry": dict(zip(names, found["odometry"], strict=True)),
            "hypothesis": dict(zip(names, found["hypothesis"], strict=True)),
        }


class TreePayload(Payload, frozen=True, kw_only=True):
    """No payload was ever published; the fields are those of `POST /v1/path/tree`."""

    root: Point
    limit: float
    targets: list[Any] = []
    environment: Point = []
    count: int = 0
    seed: int = 0
    obstacles: list[Obstacle] = []
    rewire_radius: float = 0.0

    def answer(self) -> Answer:
        return answer(_as(TreeQuestion, self), STEPS_MAX)


class SegmentPayload(Payload, frozen=True, kw_only=True):
    """No payload was ever published; the fields are those of `POST /v1/path/segment`."""

    environment: Point
    counts: Point
    points: Points

    def answer(self) -> Answer:
        return answer(_as(SegmentQuestion, self), STEPS_MAX)


def _as(question: Any, payload: Payload) -> Any:
    """The payload's fields, but for `auth`, as a question."""
    fields = msgspec.to_builtins(payload)
    fields.pop("auth")
    return msgspec.convert(fields, question)


def _particle(row: list[float]) -> Answer:
    return dict(zip(("x", "y", "heading", "weight"), row, strict=True))
