"""Settings files: reading them with errors that name the line or the setting, and writing the first one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bellande_mesh_sync.config_model import Config, MeshOptions
from bellande_mesh_sync.errors import ConfigError


def load_config_file(path: str | Path) -> Config:
    """The Config in a file: TOML, or by its name JSON or `.bellande`.

    Its `[options]` are checked too, then left out: see `load_node_file`.
    """
    return load_node_file(path)[0]


def load_node_file(path: str | Path) -> tuple[Config, MeshOptions]:
    """Everything in a node.toml: Config at the top, `[spaces.NAME]` in it, MeshOptions in `[options]`.

    A file named *.json or *.bellande holds the same in that form.

    Raises:
        ConfigError: the file cannot be read, is not of its form (with the line), or holds a wrong setting.
    """
    source = str(path)
    try:
        text = Path(path).read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(field=source, reason=f"not UTF-8: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise ConfigError(field=source, reason=f"cannot be read: {error.strerror}") from None
    return settings_of_text(text, source)


def settings_of_text(text: str, source: str) -> tuple[Config, MeshOptions]:
    """Like `load_node_file` for a text; the end of `source` tells its form, and errors name it."""
    return settings_of(_table_of(text, source), source)


def _table_of(text: str, source: str) -> dict[str, Any]:
    if source.endswith(".json"):
        return _json_table(text, source)
    if source.endswith(".bellande"):
        from bellande_mesh_sync.config_bellande import parse_bellande

        return parse_bellande(text, source)
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(field=source, reason=f"not valid TOML: {error}") from None


def _json_table(text: str, source: str) -> dict[str, Any]:
    try:
        table = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigError(field=source, reason=f"not valid JSON: {error}") from None
    if not isinstance(table, dict):
        raise ConfigError(field=source, reason="a JSON object is expected")
    return table


def settings_of(table: dict[str, Any], source: str) -> tuple[Config, MeshOptions]:
    """Check the tables of a node.toml; `source` is named in errors."""
    top = dict(table)
    options = top.pop("options", {})
    try:
        if not isinstance(options, dict):
            raise ConfigError(field="options", reason="a table is expected: [options]")
        config = Config(**top)
    except ConfigError as error:
        raise ConfigError(field=error.field, reason=f"{error.reason} ({source})") from None
    try:
        return config, MeshOptions(**options)
    except ConfigError as error:
        raise ConfigError(field=f"options.{error.field}", reason=f"{error.reason} ({source})") from None


def default_node_file(
    *,
    name: str = "",
    listen_address: str = "127.0.0.1:8000",
    bootstrap_nodes: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
) -> str:
    """The text of a first node.toml: what is set, and every default as a comment."""
    text = _TEMPLATE.format(name=_quoted(name), listen_address=_quoted(listen_address))
    if bootstrap_nodes:
        text = text.replace("# bootstrap_nodes = []\n", _bootstrap_line(bootstrap_nodes))
    if labels:
        text = text.replace("# labels = {}\n", _labels_line(labels))
    return text


def with_bootstrap(text: str, addresses: Sequence[str]) -> str:
    """A node.toml that names no `bootstrap_nodes` yet, naming these; all else as it was."""
    lines = text.splitlines(keepends=True)
    emptied = [line for line in lines if not _EMPTY_BOOTSTRAP.fullmatch(line.strip())]
    return _bootstrap_line(addresses) + "".join(emptied)


def with_labels(text: str, labels: Mapping[str, str]) -> str:
    """A node.toml that names no `labels` yet, naming these; all else as it was."""
    lines = text.splitlines(keepends=True)
    emptied = [line for line in lines if not _EMPTY_LABELS.fullmatch(line.strip())]
    return _labels_line(labels) + "".join(emptied)


def _labels_line(labels: Mapping[str, str]) -> str:
    pairs = ", ".join(f"{_quoted(name)} = {_quoted(value)}" for name, value in sorted(labels.items()))
    return f"labels = {{ {pairs} }}\n"


def _bootstrap_line(addresses: Sequence[str]) -> str:
    return f"bootstrap_nodes = [{', '.join(_quoted(address) for address in addresses)}]\n"


def _quoted(text: str) -> str:
    """A TOML basic string. JSON's escapes are a part of TOML's, which wants one more."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


_EMPTY_BOOTSTRAP = re.compile(r"(# ?)?bootstrap_nodes\s*=\s*\[\s*\]")
_EMPTY_LABELS = re.compile(r"(# ?)?labels\s*=\s*\{\s*\}")
_TEMPLATE = """\
# Settings of this node. A line that starts with '#' shows a default; take the '#' away to change it.
# 'bms start' reads this file, and reads it again on SIGHUP.

name = {name}

# Where other nodes reach this one. HTTP is on the next port, HTTPS on the one after.
# Use 0.0.0.0:8000 to let other machines in.
listen_address = {listen_address}

# Members to call first: two or three that are usually up.
# bootstrap_nodes = []

# What to tell others as this node's addresses; empty: the listen address.
# advertise = []

# What others should know of this node, and what it shares with those that fail together with it.
# labels = {{}}
# zone = ""
# capacity = 100

# How quickly members judge each other: "lan", "fast" (short round trips only) or "wan" (patient).
# profile = "lan"

# Where records are kept. "": the built-in engine in this folder. Also "memory:", "sqlite:///PATH"
# and "postgresql://USER@HOST/DATABASE".
# db_url = ""

# Seconds between two comparisons with a peer.
# sync_interval = 30

# A member silent for this many seconds is dead at the latest.
# node_timeout = 300

# Writes stamped further ahead of our clock than this many seconds are held aside and reported.
# max_clock_drift_s = 60

# The plain HTTP API is for this machine only. Ports: -1 turns a server off, 0 takes any free port.
# http_host = "127.0.0.1"
# http_port = 8001
# https_port = 8002

[options]
# max_connections = 1000
# max_retries = 3
# metrics_interval = 60
# enable_discovery = true
# enable_replication = true

# A space is the first part of a key: "fleet" in "fleet/plans/dock".
# [spaces.fleet]
# replicas = "all"  # or a number
# conflict = "lww"
# ack = "local"
"""
