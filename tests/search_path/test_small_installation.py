"""What a small installation goes without is not loaded before it is needed, and missed with a clear error."""

from __future__ import annotations

import subprocess
import sys

HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
"""


def run(code: str, *hidden: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", HIDE.format(hidden=hidden) + code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_package_and_the_command_load_no_numpy() -> None:
    code = "import bellande_mesh_sync, bellande_mesh_sync.cli.main, bellande_mesh_sync.api.app"
    assert run(f"{code}\nprint('numpy' in sys.modules, 'numba' in sys.modules)") == "False False"


def test_without_numpy_the_error_names_the_extra() -> None:
    code = """
from bellande_mesh_sync.errors import MissingExtraError
try:
    import bellande_mesh_sync.search_path
except MissingExtraError as error:
    print(error.code, error)
"""
    said = run(code, "numpy")
    assert said.startswith("missing_extra search_path needs numpy")
    assert "'bellande-mesh-sync[path]'" in said


def test_without_numba_everything_works() -> None:
    code = """
import numpy as np
from bellande_mesh_sync.search_path import Neighbours, limit, step
index = Neighbours(2)
for number in range(5000):
    index.add([number, 0])
print(index.nearest([4321.2, 1])[0][0], index.within([10, 0], 2).tolist(), step([0, 0], [3, 4], 2.5).tolist())
"""
    assert run(code, "numba") == "4321 [8, 9, 10, 11, 12] [1.5, 2.0]"


def test_the_compiler_is_loaded_only_for_many_points() -> None:
    code = """
from bellande_mesh_sync.search_path import Tree, limit, step
step([0, 0], [3, 4], 1)
tree = Tree([0, 0])
tree.extend([5, 5], 1)
print("numba" in sys.modules)
"""
    assert run(code) == "False"
