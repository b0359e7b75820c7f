"""`bms path plan`: a path through the obstacles of a scene file."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from bellande_mesh_sync.cli.durations import TimeoutType
from bellande_mesh_sync.cli.options import Command
from bellande_mesh_sync.cli.progress import is_shown
from bellande_mesh_sync.cli.session import Session

if TYPE_CHECKING:
    from bellande_mesh_sync.plan_wish import PlanWish
    from bellande_mesh_sync.values import Path

_POINTS_SHOWN_MAX = 40


@click.command(
    cls=Command,
    section="Paths",
    examples=(
        "bms path plan scene.json",
        "bms path plan scene.toml --time-limit 5s --seed 7 --json",
        "bms path plan scene.json --share plans/dock --seed 2",
        "bms path plan - --remote < scene.json",
    ),
)
@click.argument("scene", metavar="SCENE")
@click.option("--time-limit", type=TimeoutType(), help="Go on for so long.  [default: the file's, or 1s]")
@click.option("--samples", type=click.IntRange(1), help="End after so many samples.  [default: the file's]")
@click.option("--seed", type=click.IntRange(0, (1 << 63) - 1), help="Of chance.  [default: the file's, or 0]")
@click.option(
    "--algorithm",
    type=click.Choice(["auto", "rrt_connect", "informed_rrt_star", "rrt_star"]),
    help="How to look.  [default: the file's, or auto]",
)
@click.option(
    "--engine", type=click.Choice(["auto", "compiled", "numpy"]), help="[default: the file's, or auto]"
)
@click.option("--plot", metavar="FILE", help="Draw the scene and the path: .svg, .png or .pdf.")
@click.option("--share", metavar="PREFIX", help="Plan together with all that plan this scene under PREFIX.")
@click.option("--remote", is_flag=True, help="Let the node plan instead of this process.")
@click.pass_obj
def plan(
    session: Session, scene: str, time_limit: float | None, samples: int | None, seed: int | None,
    algorithm: str | None, engine: str | None, plot: str | None, share: str | None, remote: bool,
) -> None:  # fmt: skip
    """Find a path through the obstacles of SCENE, and shorter ones for as long as there is time.

    SCENE is a file, JSON or TOML (- for JSON on standard input), with start, goal, environment and
    obstacles, and what else `search_path.plan` takes. The first call on a machine compiles for some
    seconds before the search; that is shown, and not part of the time limit.

    With --share the search starts with the best path that any of those nodes has found for this scene, and
    each shorter one is theirs at once; obstacles under PREFIX/obstacles/ count for all. Give each another
    --seed.
    """
    output = session.output()
    wish = _wish_of(scene, time_limit, samples, seed, algorithm, engine)
    with _told(output.as_json) as tell:
        if remote:
            with session.client() as client:
                path = client.plan(wish, share=share or "", on_progress=tell)
        elif share is not None:
            from bellande_mesh_sync.together import ClientDoor, plan_shared

            with session.client() as client:
                path = plan_shared(ClientDoor(client), share, wish, on_progress=tell)
        else:
            from bellande_mesh_sync.search_path.wishes import plan_wished

            path = plan_wished(wish, on_progress=tell)
    if plot is not None:
        _draw(wish, path, plot)
    if output.as_json:
        output.result(path, "")
    else:
        _show(session, path)


def _draw(wish: PlanWish, path: Path, plot: str) -> None:
    from bellande_mesh_sync.errors import UsageError
    from bellande_mesh_sync.search_path.plots import draw_scene
    from bellande_mesh_sync.search_path.wishes import scene_of_wish

    figure = draw_scene(scene_of_wish(wish), path)
    try:
        figure.savefig(plot)
    except ValueError as error:  # A format that there is not.
        raise UsageError(reason=f"--plot {plot}: {error}") from None


def _wish_of(
    scene: str, time_limit: float | None, samples: int | None, seed: int | None, algorithm: str | None,
    engine: str | None,
) -> PlanWish:  # fmt: skip
    """The scene file's, with what the command line says instead."""
    import pathlib

    import msgspec

    from bellande_mesh_sync.plan_wish import read_wish

    text = sys.stdin.buffer.read() if scene == "-" else pathlib.Path(scene).read_bytes()
    said = {
        "time_limit": time_limit, "samples": samples, "seed": seed, "algorithm": algorithm, "engine": engine,
    }  # fmt: skip
    given = {name: value for name, value in said.items() if value is not None}
    return msgspec.structs.replace(read_wish(text, scene), **given)


@contextlib.contextmanager
def _told(as_json: bool) -> Iterator[Callable[[Path], None]]:
    """What a person at a terminal sees meanwhile."""
    if not is_shown(as_json):
        yield lambda path: None
        return

    def tell(path: Path) -> None:
        sys.stderr.write(f"\r\x1b[K{path.seconds:.2f} s: {path.cost:g} ({path.samples} samples)")
        sys.stderr.flush()

    try:
        yield tell
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def _show(session: Session, path: Path) -> None:
    from bellande_mesh_sync.cli.output import human_seconds

    output = session.output()
    output.pairs(
        "",
        [
            ("length", f"{path.cost:.6g}"),
            ("at most longer than the best by", f"{path.gap:.2%}"),
            ("first path", f"{path.first_cost:.6g} after {human_seconds(path.first_path_s)}"),
            ("samples", str(path.samples)),
            ("time", human_seconds(path.seconds)),
            ("compiling before", human_seconds(path.compile_s)),
            ("engine", f"{path.engine}, {path.algorithm}, seed {path.seed}"),
        ],
    )
    shown = path.points[:_POINTS_SHOWN_MAX]
    rows = [[str(number), *(f"{value:.6g}" for value in point)] for number, point in enumerate(shown)]
    output.table(("#", *(f"x{axis}" for axis in range(len(path.points[0])))), rows)
    if len(path.points) > len(shown):
        output.line(f"and {len(path.points) - len(shown)} more; --json has all")
