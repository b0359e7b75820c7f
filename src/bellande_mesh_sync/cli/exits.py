"""How a command ends: the exit code of each error, and the one place that prints errors."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import Any

from bellande_mesh_sync.errors import BellandeMeshError

DONE = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 3
NOT_FOUND = 4
DENIED = 5
CONFLICT = 6
TIMED_OUT = 7
INTERRUPTED = 130  # 128 + SIGINT, as shells count.
TERMINATED = 143  # 128 + SIGTERM.

# By code and not by class: an error that came over HTTP has a code, and codes are what stays stable.
_EXITS = {
    "usage": USAGE,
    "invalid_key": USAGE,
    "invalid_value": USAGE,
    "path_error": USAGE,
    "dimension_mismatch": USAGE,
    "invalid_number": USAGE,
    "invalid_expression": USAGE,
    "invalid_scene": USAGE,
    "unreachable": UNREACHABLE,
    "transport": UNREACHABLE,
    "owners_unreachable": UNREACHABLE,
    "not_running": UNREACHABLE,
    "not_found": NOT_FOUND,
    "history_gone": NOT_FOUND,
    "cursor_gone": NOT_FOUND,
    "no_path": NOT_FOUND,
    "unauthorized": DENIED,
    "forbidden": DENIED,
    "denied": DENIED,
    "invalid_token": DENIED,
    "token_expired": DENIED,
    "token_used": DENIED,
    "too_many_attempts": DENIED,
    "revoked": DENIED,
    "authentication_failed": DENIED,
    "precondition_failed": CONFLICT,
    "conflict_limit": CONFLICT,
    "conflict": CONFLICT,
    "still_member": CONFLICT,
    "reserved": CONFLICT,
    "already_a_member": CONFLICT,
    "ack_timeout": TIMED_OUT,
    "deadline": TIMED_OUT,
}


def exit_code_of(error: BellandeMeshError) -> int:
    return _EXITS.get(error.code, FAILED)


def error_document(code: str, message: str, facts: dict[str, Any] | None = None) -> dict[str, Any]:
    """The same shape as an error over HTTP."""
    return {"error": {"code": code, "message": message, "detail": facts or {}}}


def report(code: str, message: str, facts: dict[str, Any] | None = None, *, as_json: bool) -> None:
    """Tell the error on stderr: one JSON document, or a sentence with its code, red on a terminal."""
    if as_json:
        import json

        text = json.dumps(error_document(code, message, facts), ensure_ascii=False, default=str)
    else:
        from bellande_mesh_sync.cli.output import shown

        text = f"error ({code}): {shown(message)}"  # Part of it may come from elsewhere.
        if is_coloured(sys.stderr):
            text = f"\x1b[31m{text}\x1b[0m"
    # If nobody reads our stderr, the exit code still tells.
    with contextlib.suppress(OSError):
        print(text.encode("utf-8", "backslashreplace").decode(), file=sys.stderr, flush=True)


def is_coloured(stream: Any) -> bool:
    """Colours only for a person's terminal that has not asked for none (no-color.org)."""
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def sentence_of(error: OSError) -> str:
    """An error of the operating system, naming its file."""
    reason = error.strerror or str(error)
    if error.errno == errno.ENOSPC:
        reason = "the disk is full; free some space"
    return f"{os.fsdecode(error.filename)}: {reason}" if error.filename else reason
