"""`bms path step`, `limit` and the like: one algorithm each, computed here, or by the node on request."""

from __future__ import annotations

from typing import Any

import click

from bellande_mesh_sync.cli.options import Command
from bellande_mesh_sync.cli.session import Session
from bellande_mesh_sync.errors import UsageError

QUESTION_BYTES_MAX = 256 * 1024 * 1024

_REST = """QUESTION is a JSON object, with the fields of POST /v1/path/{name}; in their place --file names a
file with it. It is computed here, by the extra 'path' of this installation; with --remote by the node."""


def _command(name: str, summary: str, example: str) -> Command:
    @click.pass_obj
    def ask(session: Session, question: str | None, file: str | None, remote: bool) -> None:
        from bellande_mesh_sync.cli.output import json_text

        found = _answer(session, name, _question(question, file), remote)
        output = session.output()
        if output.as_json:
            output.result(found, "")
        else:
            output.pairs(name, ((field, json_text(value)) for field, value in found.items()))

    return Command(
        name,
        section="Paths",
        callback=ask,
        params=[
            click.Argument(["question"], metavar="[QUESTION]", required=False),
            click.Option(["--file"], metavar="F", help="Read the question from a file; - is standard input."),
            click.Option(["--remote"], is_flag=True, help="Let the node compute."),
        ],
        help=f"{summary}\n\n{_REST.format(name=name)}",
        examples=(f"bms path {name} '{example}'", f"bms path {name} --file question.json"),
    )


step = _command(
    "step",
    "Find the point at most so far from one point toward another.",
    '{"node0": [0, 0], "node1": [30, 40], "limit": 25}',
)
limit = _command(
    "limit",
    "Find how long a step may be, seen what lies ahead.",
    '{"node0": [0, 0], "node1": [90, 90], "environment": [500, 500], "size": [9, 9], "goal": [400, 9]}',
)
importance = _command(
    "importance",
    "Say whether a node is worth keeping as a landmark.",
    '{"node": {"coords": [1, 1], "segment": 1}, "grid_steps": [5, 5]}',
)
particle = _command(
    "particle",
    "Move, weigh, draw or average particles.",
    '{"action": "move", "particles": [0, 0, 0, 1], "rotation1": 45, "translation": 1}',
)
probability = _command(
    "probability",
    "Compute the density of a point, whose axes have means and deviations by formula.",
    '{"mu": "i * 0.5", "sigma": "1 + i * 0.1", "x": [1, 2, 3]}',
)
motion = _command(
    "motion",
    "Compute how well particles fit a move that odometry tells.",
    '{"particles": [9, 0, 0, 1], "previous": [0, 0, 0], "current": [10, 0, 0]}',
)
tree = _command(
    "tree",
    "Grow a search tree toward targets, around obstacles.",
    '{"root": [0, 0], "limit": 1, "environment": [9, 9], "count": 5}',
)
segment = _command(
    "segment",
    "Find the segments in which points are, and those beside them.",
    '{"environment": [800, 600], "counts": [1, 6], "points": [[50, 50]]}',
)


def _answer(session: Session, name: str, question: bytes, remote: bool) -> dict[str, Any]:
    if remote:
        with session.client() as client:
            return client.ask_path(name, question)
    from bellande_mesh_sync.path_answers import answer, read_question

    return answer(read_question(name, question))


def _question(question: str | None, file: str | None) -> bytes:
    if (question is None) == (file is None):
        raise UsageError(reason="give either a question or --file")
    if question is not None:
        return question.encode("utf-8", "surrogateescape")
    if file == "-":
        import sys

        read = sys.stdin.buffer.read(QUESTION_BYTES_MAX + 1)
    else:
        assert file is not None
        with open(file, "rb") as opened:
            read = opened.read(QUESTION_BYTES_MAX + 1)
    if len(read) > QUESTION_BYTES_MAX:
        raise UsageError(reason=f"the question may have {QUESTION_BYTES_MAX} bytes at most")
    return read
