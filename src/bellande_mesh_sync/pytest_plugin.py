"""The pytest plug-in: `mesh_world`, a simulated mesh for a test, once for each seed.

pytest loads this for everybody who has the package installed, so it imports the simulator only where
a test asks for it.
"""

from __future__ import annotations

import shlex
from collections.abc import Generator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from bellande_mesh_sync.sim.mesh_world import MeshWorld

FIXTURE = "mesh_world"
SETTINGS = ("nodes", "seeds", "link", "links", "merge", "spaces", "core")
TRACE_LINES = 20
_LINE_CHARACTERS_MAX = 160


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("mesh_world", "simulated meshes")
    group.addoption(
        "--mesh-seed", type=int, metavar="N", help="run tests with a mesh_world with this seed only"
    )
    group.addoption(
        "--mesh-seeds", type=int, metavar="COUNT", help="run them with so many seeds, whatever they say"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "mesh_world(nodes=3, seeds=1, link='lan', merge={}, spaces={}): the mesh that the fixture mesh_world "
        "gives; seeds is a count or a list, the rest is as for bellande_mesh_sync.sim.mesh_world.MeshWorld",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if FIXTURE in metafunc.fixturenames:
        seeds = _seeds(metafunc.config, _settings(metafunc.definition))
        metafunc.parametrize(FIXTURE, seeds, indirect=True, ids=[f"seed{seed}" for seed in seeds])


@pytest.fixture
def mesh_world(request: pytest.FixtureRequest) -> Iterator[MeshWorld]:
    """A simulated mesh on virtual time; the marker `mesh_world` says of what kind."""
    from bellande_mesh_sync.sim.mesh_world import MeshWorld

    settings = _settings(request.node)
    settings.pop("seeds", None)
    with MeshWorld(settings.pop("nodes", 3), seed=request.param, **settings) as world:
        yield world


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """A promise that broke, or a call that was refused, is told from where the test stands."""
    if FIXTURE not in getattr(item, "fixturenames", ()):
        yield
        return
    from bellande_mesh_sync.errors import BellandeMeshError

    try:
        yield
    except (AssertionError, BellandeMeshError) as error:
        error.__traceback__ = _of_users(error.__traceback__)
        raise


def _of_users(trace: TracebackType | None) -> TracebackType | None:
    """Without the simulator's own steps."""
    if trace is None:
        return None
    rest = _of_users(trace.tb_next)
    if trace.tb_frame.f_globals.get("__name__", "").startswith("bellande_mesh_sync.sim."):
        return rest
    return TracebackType(rest, trace.tb_frame, trace.tb_lasti, trace.tb_lineno)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    world = getattr(item, "funcargs", {}).get(FIXTURE)
    if report.when == "call" and report.failed and world is not None:
        report.sections.append((f"mesh_world, seed {world.seed}", _told(item, world)))
    return report


def _told(item: pytest.Item, world: MeshWorld) -> str:
    """What led to it, and how to have just this again."""
    command = f"pytest {shlex.quote(item.nodeid)} --mesh-seed {world.seed}"
    lines = [_shortened(line) for line in world.story(TRACE_LINES)]
    return "\n".join([*lines, f"again: {command}"])


def _shortened(line: str) -> str:
    return line if len(line) <= _LINE_CHARACTERS_MAX else line[:_LINE_CHARACTERS_MAX] + "..."


def _settings(node: Any) -> dict[str, Any]:
    """Of the closest marker; it takes names only, so that a test reads well."""
    marker = node.get_closest_marker(FIXTURE)
    if marker is None:
        return {}
    if marker.args:
        raise pytest.UsageError(f"{node.nodeid}: the marker mesh_world takes names: mesh_world(nodes=5)")
    unknown = sorted(marker.kwargs.keys() - set(SETTINGS))
    if unknown:
        raise pytest.UsageError(
            f"{node.nodeid}: the marker mesh_world takes no {unknown[0]!r}; it takes {', '.join(SETTINGS)}"
        )
    return dict(marker.kwargs)


def _seeds(config: pytest.Config, settings: dict[str, Any]) -> list[int]:
    only, count = config.getoption("--mesh-seed"), config.getoption("--mesh-seeds")
    if only is not None:
        return [only]
    wanted = settings.get("seeds", 1) if count is None else count
    name = "seeds" if count is None else "--mesh-seeds"
    if type(wanted) is int and wanted >= 1:
        return list(range(1, wanted + 1))
    if isinstance(wanted, list | tuple | range) and wanted and all(type(seed) is int for seed in wanted):
        return list(wanted)
    raise pytest.UsageError(f"mesh_world: {name}={wanted!r} is no count from 1 on and no list of seeds")
