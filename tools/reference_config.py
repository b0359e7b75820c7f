"""docs/reference/config.md, from the settings' own types, defaults and docstrings."""

from __future__ import annotations

import ast
import inspect
import re
from typing import Any

import msgspec
from msgspec.inspect import type_info

from bellande_mesh_sync.config_model import Config, MeshOptions, SpacePolicy

_INTRO = """# Settings

Written from the code by `make docs`; do not edit.

A node reads `node.toml` in its home. The fields of `Config` stand at its top, those of `MeshOptions`
under `[options]`, and each space's policy under `[spaces.NAME]`. From Python the same fields are keyword
arguments. Unknown names, wrong types and values out of range are refused before anything starts, with
the code `config_invalid` and the name of the field.

```toml
listen_address = "0.0.0.0:8000"
bootstrap_nodes = ["10.0.0.1:8000"]

[options]
max_connections = 200

[spaces.fleet]
ack = "quorum"
```

`load_config_file` and `load_node_file` read the same also from files named `*.json`, and `*.bellande`:

```text
listen_address: 0.0.0.0:8000
bootstrap_nodes:
    - 10.0.0.1:8000
options:
    max_connections: 200
spaces:
    fleet:
        ack: quorum
```
"""


def config_page() -> str:
    parts = [_INTRO]
    for struct, title in (
        (Config, "Config: the top of node.toml"),
        (MeshOptions, "MeshOptions: `[options]`"),
        (SpacePolicy, "SpacePolicy: `[spaces.NAME]`"),
    ):
        parts.append(f"## {title}\n\n{_class_text(struct)}\n")
        parts += [_field_text(struct, field) for field in msgspec.structs.fields(struct)]
    return "\n".join(parts)


def _class_text(struct: type) -> str:
    return _one_line(inspect.getdoc(struct) or "")


def _field_text(struct: type, field: msgspec.structs.FieldInfo) -> str:
    default = _default_text(field)
    text = _one_line(field_docstrings(struct)[field.name])
    return f"### `{field.name}`\n\n{type_text(type_info(field.type))}; default {default}.\n\n{text}\n"


def _default_text(field: msgspec.structs.FieldInfo) -> str:
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()  # type: ignore[operator,misc,unused-ignore]
    if isinstance(value, bool):  # Before anything that compares: True equals 1.
        return str(value).lower()
    if value is None:
        return "none"
    return f"`{value}`" if value or isinstance(value, int | float) else "empty"


def field_docstrings(struct: type) -> dict[str, str]:
    """The string under each field of a class; a field without one is an error."""
    body = ast.parse(inspect.getsource(struct)).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for line, following in zip(body.body, [*body.body[1:], None], strict=True):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            text = following.value if isinstance(following, ast.Expr) else None
            if not isinstance(text, ast.Constant):
                raise ValueError(f"{struct.__name__}.{line.target.id} has no docstring")
            found[line.target.id] = str(text.value)
    return found


def type_text(kind: Any) -> str:
    """A type as people say it: `number > 0, <= 31536000 (or none)`."""
    info = msgspec.inspect
    match kind:
        case info.UnionType():
            options = [type_text(option) for option in kind.types if not isinstance(option, info.NoneType)]
            joined = " or ".join(options)
            return joined + " (or none)" if len(options) < len(kind.types) else joined
        case info.IntType():
            return "whole number" + _bounds(kind)
        case info.FloatType():
            return "number" + _bounds(kind)
        case info.BoolType():
            return "true or false"
        case info.StrType():
            return "text"
        case info.LiteralType():
            return " or ".join(f'`"{value}"`' for value in kind.values)
        case info.VarTupleType() | info.ListType():
            return f"list of {type_text(kind.item_type)}"
        case info.DictType():
            return "table"
        case _:
            raise TypeError(f"no words for {kind}")


def _bounds(kind: Any) -> str:
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    bounds = [
        f"{sign} {getattr(kind, name):,}" for name, sign in signs.items() if getattr(kind, name) is not None
    ]
    return " " + ", ".join(bounds) if bounds else ""


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
