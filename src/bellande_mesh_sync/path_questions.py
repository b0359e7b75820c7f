"""Questions of the search path as JSON, for HTTP and the command line; `path_answers` answers them.

Numbers are checked where they are computed with. Lists of points may have any number of dimensions.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

from msgspec import Meta, Struct

Point: TypeAlias = Annotated[list[Any], Meta(description="A list of n numbers.")]
Points: TypeAlias = Annotated[list[Any], Meta(description="A list of n numbers, or a list of such lists.")]

RANDOM_COUNT_MAX: Final = 100_000
TREE_NODES_MAX: Final = 5_000


class Box(Struct, frozen=True, forbid_unknown_fields=True):
    """An obstacle."""

    position: Point
    """Its lowest corner."""
    dimensions: Point
    """Its size on each axis."""


class StepQuestion(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The point at most `limit` away from node0 toward node1."""

    node0: Points
    node1: Points
    limit: float | list[float]


class LimitQuestion(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The longest step to take at node0 toward node1."""

    node0: Points
    node1: Points
    environment: Point
    size: Point
    goal: Points
    obstacles: list[Box] = []
    search_radius: float = 50.0
    sample_points: int = 20
    exact: bool = False
    """Look at the whole ray, not at points of it."""


class SegmentNode(Struct, frozen=True, forbid_unknown_fields=True):
    coords: Point
    segment: int | str


class ImportanceQuestion(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How important a node is to its segment."""

    node: SegmentNode
    nodes: list[SegmentNode] = []
    """The recent nodes."""
    important_nodes: dict[str, list[SegmentNode]] = {}
    adjacent_segments: dict[str, list[int | str]] = {}
    grid_steps: Point
    min_segment_coverage: float = 0.5


class Move(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="action", tag="move"):
    """Move particles [x, y, heading, weight]: turn, go, turn. Degrees."""

    particles: Points
    rotation1: float = 0.0
    translation: float = 0.0
    rotation2: float = 0.0
    noise: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    seed: int = 0


class ReadMarkers(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="action", tag="read_markers"
):
    """Where particles would see markers."""

    particles: Points
    markers: list[Any]
    field_of_view: float = 360.0
    range_max: float | None = None


class CreateRandom(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="action", tag="create_random"
):
    """Particles anywhere in a world."""

    count: Annotated[int, Meta(ge=1, le=RANDOM_COUNT_MAX)]
    width: float
    height: float
    obstacles: list[Box] = []
    seed: int = 0


class Weigh(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="action", tag="weigh"):
    """Particles weighed by what was seen: [distance, bearing] of each marker."""

    particles: Points
    readings: list[Any]
    markers: list[Any]
    range_sigma: float
    bearing_sigma: float


class Resample(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="action", tag="resample"
):
    """As many particles again, drawn by their weights."""

    particles: Points
    seed: int = 0


class Estimate(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="action", tag="estimate"
):
    """The weighted mean of particles."""

    particles: Points


ParticleQuestion: TypeAlias = Move | ReadMarkers | CreateRandom | Weigh | Resample | Estimate


class ProbabilityQuestion(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The density of x where axis i has the mean mu(i) and the standard deviation sigma(i)."""

    mu: str
    sigma: str
    x: Points
    first: int = 0
    """The number of the first axis."""
    z: float = 1.959963984540054
    """How many standard deviations the intervals reach to each side."""


class MotionQuestion(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How well particles [x, y, heading, weight] fit odometry's move from one pose to another."""

    particles: Points
    previous: Point
    current: Point
    trans_sigma: float = 0.1
    rot_sigma: float = 0.1
    head_sigma: float = 0.1
    search_radius: float = 50.0
    sample_points: int = 20
    radians: bool = False
    seed: int = 0


class TreeQuestion(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A tree grown from a root toward targets, or toward `count` random points of the environment."""

    root: Point
    limit: float
    """The longest edge."""
    targets: list[Any] = []
    environment: Point = []
    """For random targets: the space from 0 to here."""
    count: Annotated[int, Meta(ge=0, le=TREE_NODES_MAX)] = 0
    seed: int = 0
    obstacles: list[Box] = []
    rewire_radius: float = 0.0
    """Above 0: each new node looks this far for a cheaper parent, and for nodes that gain by it."""


class SegmentQuestion(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """In which segments points are, and who is beside those."""

    environment: Point
    counts: Point
    """Into how many parts each axis is cut."""
    points: Points


QUESTIONS: Final[dict[str, Any]] = {
    "step": StepQuestion,
    "limit": LimitQuestion,
    "importance": ImportanceQuestion,
    "particle": ParticleQuestion,
    "probability": ProbabilityQuestion,
    "motion": MotionQuestion,
    "tree": TreeQuestion,
    "segment": SegmentQuestion,
}
"""By the name of the algorithm, as in `POST /v1/path/NAME` and `bms path NAME`."""
