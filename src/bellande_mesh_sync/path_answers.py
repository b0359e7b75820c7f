"""Answers to the questions of the search path, ready for JSON.

The packages that compute are loaded with the first question; without them it is a MissingExtraError.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import msgspec

from bellande_mesh_sync.errors import NotFoundError, QuestionTooLargeError, UsageError
from bellande_mesh_sync.path_questions import (
    QUESTIONS,
    TREE_NODES_MAX,
    CreateRandom,
    Estimate,
    ImportanceQuestion,
    LimitQuestion,
    MotionQuestion,
    Move,
    ParticleQuestion,
    ProbabilityQuestion,
    ReadMarkers,
    Resample,
    SegmentQuestion,
    StepQuestion,
    TreeQuestion,
    Weigh,
)

STEPS_MAX: Final = 2e8
"""What a node does for one question, in steps of the inner loops: about a second."""


def read_question(name: str, body: bytes) -> Any:
    """The JSON `body` as a question of this name. Raises NotFoundError, and UsageError for a wrong body."""
    if name not in QUESTIONS:
        raise NotFoundError(what="search path algorithm", name=name)
    try:
        return msgspec.json.decode(body, type=QUESTIONS[name])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(reason=f"the question: {error}") from None
    except RecursionError:
        raise UsageError(reason="the question: JSON that deep is not allowed") from None


def answer(question: Any, steps_max: float | None = None) -> dict[str, Any]:
    """Answer a question. Raises errors of the tree; QuestionTooLargeError above `steps_max`."""
    steps = _steps_of(question)
    if steps_max is not None and steps > steps_max:
        raise QuestionTooLargeError(work=steps, limit=steps_max)
    found: dict[str, Any] = _ANSWERS[type(question)](question)
    return found


def _steps_of(question: Any) -> float:
    """About how many steps the inner loops take, with what a call costs beside them and what a long
    answer does; what is read in one pass counts nothing."""
    match question:
        case LimitQuestion():
            rays = max(_rows(question.node0), _rows(question.node1), _rows(question.goal))
            samples = 1 if question.exact else max(question.sample_points, 1)
            boxes, axes = len(question.obstacles), len(question.environment)
            return float(rays * samples * (boxes + 1) * axes + 1000 * boxes * axes)
        case ImportanceQuestion():
            kept = sum(len(nodes) for nodes in question.important_nodes.values())
            return float((len(question.nodes) + kept + 1) * (kept + 1) * len(question.grid_steps))
        case CreateRandom():
            return float((question.count + 300) * len(question.obstacles) * 400)
        case ReadMarkers() | Weigh():
            return float(_rows(question.particles) * len(question.markers) * 500)
        case ProbabilityQuestion():
            is_many = bool(question.x) and isinstance(question.x[0], list)
            axes = len(question.x[0] if is_many else question.x)
            return float(len(question.mu + question.sigma) * axes)
        case MotionQuestion():
            return float((_rows(question.particles) * 20 + 1000) * max(question.sample_points, 1))
        case TreeQuestion():
            nodes, boxes = len(question.targets) + question.count, len(question.obstacles)
            rewired = nodes * (1000 + boxes * 8) if question.rewire_radius > 0 else 0
            return float(nodes * (nodes / 2 + boxes * 8 + 1000 + rewired / 2) * len(question.root))
        case SegmentQuestion():
            return float(_rows(question.points) * len(question.counts) * 400)
        case _:
            return 0.0


def _rows(points: list[Any]) -> int:
    return len(points) if points and isinstance(points[0], list) else 1


def _step(question: StepQuestion) -> dict[str, Any]:
    from bellande_mesh_sync.search_path import step

    return {"next_step": _plain(step(question.node0, question.node1, question.limit))}


def _limit(question: LimitQuestion) -> dict[str, Any]:
    from bellande_mesh_sync.search_path import limit

    return {"limit": _plain(limit(**_arguments(question)))}


def _importance(question: ImportanceQuestion) -> dict[str, Any]:
    from bellande_mesh_sync.search_path import node_importance

    found = node_importance(**_arguments(question))
    return {name: getattr(found, name) for name in found.__dataclass_fields__}


def _particle(question: ParticleQuestion) -> dict[str, Any]:
    from bellande_mesh_sync.search_path import particle

    arguments = _arguments(question)
    match question:
        case Move():
            return {"particles": _plain(particle.move(**arguments))}
        case CreateRandom():
            return {"particles": _plain(particle.create_random(**arguments))}
        case Weigh():
            return {"particles": _plain(particle.weigh(**arguments))}
        case Resample():
            return {"particles": _plain(particle.resample(**arguments))}
        case Estimate():
            x, y, heading = particle.estimate(question.particles)
            return {"x": float(x), "y": float(y), "heading": float(heading)}
        case ReadMarkers():
            found = particle.read_markers(**arguments)
            return {name: _plain(getattr(found, name)) for name in found.__dataclass_fields__}


def _probability(question: ProbabilityQuestion) -> dict[str, Any]:
    from bellande_mesh_sync.search_path import probability

    found = probability(question.mu, question.sigma, question.x, first=question.first, z=question.z)
    return {name: _plain(getattr(found, name)) for name in found.__dataclass_fields__}


def _motion(question: MotionQuestion) -> dict[str, Any]:
    from bellande_mesh_sync.search_path import motion_probability

    found = motion_probability(**_arguments(question))
    return {name: _plain(getattr(found, name)) for name in found.__dataclass_fields__}


def _tree(question: TreeQuestion) -> dict[str, Any]:
    from bellande_mesh_sync.search_path.growing import grow

    if len(question.targets) > TREE_NODES_MAX:
        raise QuestionTooLargeError(work=len(question.targets), limit=TREE_NODES_MAX)
    tree = grow(**_arguments(question))
    return {"points": _plain(tree.points), "parents": tree.parents.tolist(), "costs": _plain(tree.costs)}


def _segment(question: SegmentQuestion) -> dict[str, Any]:
    from bellande_mesh_sync.search_path import Segment

    segments = Segment(question.environment, question.counts)
    ids = segments.of(question.points)
    held = sorted({int(each) for each in ids.reshape(-1)})
    bounds = [segments.bounds(each) for each in held]
    return {
        "segments": ids.tolist(),
        "adjacent_segments": {str(each): segments.adjacent(each).tolist() for each in held},
        "bounds": {
            str(each): {"lowest": low.tolist(), "highest": high.tolist()}
            for each, (low, high) in zip(held, bounds, strict=True)
        },
    }


_ANSWERS: Final[dict[type, Callable[[Any], dict[str, Any]]]] = {
    StepQuestion: _step,
    LimitQuestion: _limit,
    ImportanceQuestion: _importance,
    **dict.fromkeys((Move, ReadMarkers, CreateRandom, Weigh, Resample, Estimate), _particle),
    ProbabilityQuestion: _probability,
    MotionQuestion: _motion,
    TreeQuestion: _tree,
    SegmentQuestion: _segment,
}


def _arguments(question: Any) -> dict[str, Any]:
    """The fields as plain lists and dicts, by name."""
    arguments: dict[str, Any] = msgspec.to_builtins(question)
    arguments.pop("action", None)
    return arguments


def _plain(numbers: Any) -> Any:
    """An array as lists; what JSON has no number for, as the logarithm of 0, becomes null."""
    import numpy as np

    if np.isfinite(numbers).all():
        return numbers.tolist()
    return _without_infinities(numbers.tolist())


def _without_infinities(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_infinities(each) for each in value]
    return value if math.isfinite(value) else None
