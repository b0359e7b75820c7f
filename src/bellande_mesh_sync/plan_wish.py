"""What a planner is asked, as it stands in a scene file or in a request. Reading it needs no NumPy."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from bellande_mesh_sync.errors import InvalidSceneError

TIME_LIMIT_S: Final = 1.0
TIME_LIMIT_S_MAX: Final = 3600.0

Numbers = Annotated[list[float], Meta(min_length=1, max_length=64)]


class PlanWish(Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A scene, and how to look for a path in it. As the arguments of `search_path.plan`."""

    start: Numbers
    goal: Numbers
    environment: list[float | list[float]]
    """The space from 0 to these; or its lowest and its highest corner."""
    obstacles: Annotated[list[dict[str, Any]], Meta(max_length=100_000)] = []
    """`{"position": [...], "dimensions": [...]}` is a closed box by its lowest corner and sizes,
    `{"center": [...], "radius": r}` a closed ball."""
    clearance: float = 0.0
    """Stay away from obstacles by this."""
    step_size: float | None = None
    """How far a tree grows at once; a tenth of the space's diagonal if not given."""
    time_limit: Annotated[float, Meta(gt=0, le=TIME_LIMIT_S_MAX)] = TIME_LIMIT_S
    """Seconds."""
    samples: Annotated[int, Meta(ge=1)] | None = None
    """End after so many."""
    seed: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)] = 0
    algorithm: Literal["auto", "rrt_connect", "informed_rrt_star", "rrt_star"] = "auto"
    engine: Literal["auto", "compiled", "numpy"] = "auto"


def read_wish(text: bytes, name: str) -> PlanWish:
    """A scene file: TOML if it is called so, else JSON. InvalidSceneError if it cannot be read."""
    try:
        if name.endswith(".toml"):
            return msgspec.toml.decode(text, type=PlanWish)
        return msgspec.json.decode(text, type=PlanWish)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidSceneError(what=f"file {name}", reason=str(error)) from None
    except RecursionError:
        raise InvalidSceneError(what=f"file {name}", reason="it is nested too deep") from None
