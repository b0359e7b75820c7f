"""Two real nodes with one identity, as after copying a disk, and what the others see of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from bellande_mesh_sync.errors import IdentityConflictError
from tests.mesh.conftest import MeshMaker, Scenario, eventually, linked


def test_who_stops_for_its_double_says_no_goodbye_in_its_name(
    play: Callable[[Scenario], None], caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(make: MeshMaker) -> None:
        others = [await make.node("a")]
        others.append(await make.node("c", others[0]))
        older = await make.node("b", *others, persistent=True)
        await older.stop()
        shutil.copytree(make.folder / "b", make.folder / "copy")
        await older.start()
        await linked(*others, older)
        core = older._started().core
        caplog.clear()
        newer = await make.node("copy", *others, persistent=True)
        assert newer.node_id == older.node_id

        async def has_stopped() -> bool:
            return not older.is_running()

        await eventually(has_stopped, 60)
        with pytest.raises(IdentityConflictError):
            await older.wait_stopped()
        assert not core.directory.own.left, "it has signed that its identity leaves"
        address = (await newer.status()).tcp

        async def know_the_newer() -> bool:
            views = [await mesh.node(newer.node_id) for mesh in others]
            return all(view.addresses == (address,) for view in views)

        await eventually(know_the_newer)
        await linked(*others, newer)
        assert newer.is_running()
        assert [(await mesh.node(newer.node_id)).state for mesh in others] == ["alive", "alive"]
        assert "-> left" not in caplog.text

    with caplog.at_level("INFO", logger="bellande_mesh_sync"):
        play(scenario)
