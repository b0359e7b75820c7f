"""The import rules of the package, checked twice: by reading the source, and by loading it.

Reading (`violations_in_source`) sees every import of every file, also those inside functions that
no test calls. Loading (`violations_when_loaded`) starts a child process in which the pure rooms
are imported under a hook that refuses them a clock, a socket or another room, however the import
is spelled. Run it as `python -m tools.import_arrows [SOURCE_DIR]`.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "bellande_mesh_sync"
SOURCE = Path(__file__).resolve().parent.parent / "src"

BASE = frozenset({"errors", "ids", "keys", "plan_wish", "shared_paths", "times", "values"})
PURE = frozenset({*BASE, "core", "wire", "search_path"})
"""Rooms whose code must give the same outputs for the same inputs."""

CLOCKED = frozenset({f"{PACKAGE}/search_path/planner.py"})
"""Their files that may read a clock, and nothing else: a search goes on for as long as there is time."""

_SETTINGS = frozenset(
    {
        "addresses",
        "config",
        "config_bellande",
        "config_file",
        "config_history",
        "config_model",
        "config_placement",
        "files",
        "home",
    }
)
_CLIENT = frozenset(
    {
        "client",
        "client_certificates",
        "client_conflicts",
        "client_errors",
        "client_history",
        "client_placement",
        "client_planning",
        "client_revocations",
        "client_transfers",
    }
)
_EVERYDAY = BASE | _SETTINGS | {"core", "wire", "store", "security", "observe", "loading"}
_MESH_PARTS = frozenset(
    {
        "mesh_certificates",
        "mesh_conflicts",
        "mesh_history",
        "mesh_keys",
        "mesh_members",
        "mesh_placement",
        "mesh_revocations",
        "mesh_sweep",
        "mesh_verify",
        "mesh_watch",
    }
)
"""What a mesh can do, a room for each kind of calls."""

ARROWS: dict[str, frozenset[str]] = {
    **dict.fromkeys(BASE, BASE),
    "search_path": BASE,
    # Questions as JSON, and their answers; what computes is loaded with the first.
    "path_questions": BASE,
    "path_answers": BASE | {"search_path", "path_questions"},
    "core": BASE,
    "wire": BASE | {"core"},
    **dict.fromkeys(_SETTINGS, BASE | _SETTINGS | {"core"}),
    "store": BASE | {"core", "files"},
    "security": BASE | _SETTINGS | {"core"},
    "observe": BASE | _SETTINGS | {"core"},
    # Programs get the very calls of `Mesh`, so what is behind these and touches nothing outside is shared.
    "sim": BASE
    | {"core", "wire", "store.memory", "store.interface", "store.chunker", "store.manifests"}
    | {"store.condemned"}
    | {"arguments", "feeds", "config_history", "config_model", "loading"}
    | {"observe.views", "observe.conflicts", "observe.past"},
    "shell": _EVERYDAY,
    # A mesh starts its own HTTP servers; they know it only by the calls in api.needs.
    **dict.fromkeys(_MESH_PARTS, _EVERYDAY | {"arguments", "feeds", "shell"}),
    "mesh": _EVERYDAY | _MESH_PARTS | {"arguments", "feeds", "shell", "api.servers"},
    "together": BASE | {"search_path"},
    "loading": BASE,
    "arguments": BASE | {"core", "store"},
    "feeds": BASE,
    # What both ends of an import or export must agree on is with the server.
    **dict.fromkeys(_CLIENT, BASE | _SETTINGS | _CLIENT | {"api.framing"}),
    "functions": _EVERYDAY | {"feeds", "shell", "mesh", "api"},
    "api": _EVERYDAY
    | {"shell", "mesh", "functions", "path_questions", "path_answers", "search_path", "together"},
    **dict.fromkeys(
        ("cli", "__main__"),
        _EVERYDAY
        | _CLIENT
        | {"shell", "mesh", "functions", "api", "cli", "share", "sim"}
        | {"path_questions", "path_answers", "search_path", "together"},
    ),
    # Of the command line it takes only what reads and lands files.
    "share": BASE | _SETTINGS | _CLIENT | {"core.data.context", "cli.landing", "cli.reading"},
    "pytest_plugin": BASE | {"sim"},
    "__init__": _EVERYDAY | {"mesh", "functions"},
}
"""Room -> what it may import of the package besides itself. The default is nothing."""

_OUTSIDE = """
asyncio concurrent ctypes fcntl glob http importlib io logging mmap multiprocessing os pathlib platform
queue sched secrets select selectors shutil signal socket socketserver sqlite3 ssl subprocess tempfile
threading time urllib uuid uvloop
"""
IMPURE = frozenset(_OUTSIDE.split())
"""Modules that bring a clock, chance, a thread or the outside world."""

_CLOCK_CALLS = frozenset({"now", "utcnow", "today"})
_OUTSIDE_CALLS = frozenset({"open", "input", "print", "__import__", "exec", "eval", "breakpoint"})


def violations(source: Path = SOURCE) -> list[str]:
    """Every broken rule under `source` (the folder that holds the package), as `file:line: sentence`."""
    return violations_in_source(source) + violations_when_loaded(source)


# -- reading -----------------------------------------------------------------------------------


def violations_in_source(source: Path) -> list[str]:
    found: list[str] = []
    for path in sorted((source / PACKAGE).rglob("*.py")):
        relative = path.relative_to(source)
        room = relative.parts[1].removesuffix(".py")
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        broken = _broken_arrows(tree, room, relative)
        if room in PURE:
            allowed = {"time"} if relative.as_posix() in CLOCKED else set()
            broken = [*broken, *_broken_purity(tree, room, allowed)]
        found += [f"{relative}:{line}: {sentence}" for line, sentence in sorted(broken)]
    return found


def _broken_arrows(tree: ast.Module, room: str, relative: Path) -> list[tuple[int, str]]:
    if room not in ARROWS:
        return [(1, f"{room} is a new room: give it a line in tools/import_arrows.py")]
    broken = []
    for line, target in _imported_modules(tree, relative):
        inside = target.partition(".")[2] if target.split(".")[0] == PACKAGE else None
        if inside is None or _may_import(room, inside):
            continue
        broken.append((line, f"{room} must not import {target}"))
    return broken


def _may_import(room: str, inside: str) -> bool:
    """Whether `room` may import the module `inside` the package ("" is the package itself)."""
    if not inside:
        return room in ("cli", "api")  # The package's own __init__ pulls in everything.
    allowed = ARROWS[room] | {room}
    return any(inside == name or inside.startswith(name + ".") for name in allowed)


def _broken_purity(tree: ast.Module, room: str, allowed: set[str]) -> Iterator[tuple[int, str]]:
    for line, target in _imported_modules(tree, None):
        if target.split(".")[0] in IMPURE - allowed:
            yield line, f"{room} must not import {target}: it is pure"
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield node.lineno, f"{room} has plain functions only, nothing async"
        elif isinstance(node, ast.ImportFrom) and node.module == "random":
            for alias in node.names:
                if alias.name != "Random":
                    yield node.lineno, f"{room} must not use random.{alias.name}: take a seeded random.Random"
        elif isinstance(node, ast.Attribute):
            sentence = _impure_attribute(node)
            if sentence:
                yield node.lineno, f"{room} must not use {sentence}"
        elif isinstance(node, ast.Call):
            sentence = _impure_call(node)
            if sentence:
                yield node.lineno, f"{room} must not call {sentence}"


def _impure_attribute(node: ast.Attribute) -> str:
    owner = node.value
    name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
    if name == "random" and node.attr != "Random":
        return f"random.{node.attr}: take a seeded random.Random"
    if name in ("datetime", "date") and node.attr in _CLOCK_CALLS:
        return f"{name}.{node.attr}: time comes in as `now`"
    return ""


def _impure_call(node: ast.Call) -> str:
    function = node.func
    if isinstance(function, ast.Name) and function.id in _OUTSIDE_CALLS:
        return f"{function.id}()"
    is_random = (isinstance(function, ast.Name) and function.id == "Random") or (
        isinstance(function, ast.Attribute) and function.attr == "Random"
    )
    if is_random and not node.args and not node.keywords:
        return "Random() without a seed"
    return ""


def _imported_modules(tree: ast.Module, relative: Path | None) -> Iterator[tuple[int, str]]:
    """(line, full module name) of every import; `from package import room` names the room."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(node, relative)
            if module == PACKAGE:
                for alias in node.names:
                    yield node.lineno, f"{module}.{alias.name}"
            else:
                # `from bellande_mesh_sync.store import memory` names a module by its last word.
                for alias in node.names if module.startswith(PACKAGE) else node.names[:1]:
                    yield node.lineno, f"{module}.{alias.name}" if module.startswith(PACKAGE) else module


def _absolute(node: ast.ImportFrom, relative: Path | None) -> str:
    if not node.level:
        return node.module or ""
    if relative is None:
        return "."  # A relative import stays in the package, so it is nothing impure.
    package = relative.parts[:-1]
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


# -- loading -----------------------------------------------------------------------------------

# Runs in the child. The package's own __init__ is left out, for it imports everything on purpose.
_CHILD = """
import builtins, importlib, json, pkgutil, sys, types
package, source, pure, impure, arrows = json.loads(sys.stdin.read())
shell = types.ModuleType(package)
shell.__path__ = [source + "/" + package]
sys.modules[package] = shell
found = []
real_import = builtins.__import__

def room_of(name):
    parts = name.split(".")
    return parts[1] if parts[0] == package and len(parts) > 1 else ""

def guarded(name, globals=None, locals=None, fromlist=(), level=0):
    importer = (globals or {}).get("__name__", "")
    room = room_of(importer)
    if room in pure and level == 0:
        target = room_of(name)
        if name.split(".")[0] in impure:
            found.append(f"{importer}: imported {name} when it was loaded; {room} is pure")
        elif target and target != room and target not in arrows[room]:
            found.append(f"{importer}: imported {name} when it was loaded; {room} must not")
    return real_import(name, globals, locals, fromlist, level)

builtins.__import__ = guarded
def load(path, prefix):
    for module in pkgutil.iter_modules(path, prefix):
        if room_of(module.name) in pure:
            loaded = importlib.import_module(module.name)
            if module.ispkg:
                load(loaded.__path__, module.name + ".")

load(shell.__path__, package + ".")
for name in sorted(sys.modules):
    if room_of(name) and room_of(name) not in pure:
        found.append(f"{name}: was loaded by loading the pure rooms alone")
json.dump(found, sys.stdout)
"""


def violations_when_loaded(source: Path) -> list[str]:
    arrows = {room: sorted(ARROWS[room]) for room in PURE}
    question = json.dumps([PACKAGE, str(source), sorted(PURE), sorted(IMPURE), arrows])
    child = subprocess.run(
        [sys.executable, "-c", _CHILD],
        input=question,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if child.returncode != 0:
        return [f"the pure rooms cannot be loaded alone:\n{child.stderr}"]
    return list(json.loads(child.stdout))


def main() -> int:
    found = violations(Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCE)
    for line in found:
        print(line)
    print(f"import rules: {len(found)} broken" if found else "import rules: kept")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
