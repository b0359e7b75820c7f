"""`bms path`: the search path's algorithms, computed here; no node is needed."""

from __future__ import annotations

import click

from bellande_mesh_sync.cli.options import Command
from bellande_mesh_sync.cli.session import Session
from bellande_mesh_sync.errors import UsageError

ALGORITHMS = ("step", "limit", "importance", "particle", "probability", "motion", "tree", "segment")
QUESTION_BYTES_MAX = 256 * 1024 * 1024


@click.command(
    cls=Command,
    section="Search path",
    examples=(
        """bms path step '{"node0": [0, 0], "node1": [30, 40], "limit": 25}'""",
        """bms path probability '{"mu": "i * 0.5", "sigma": "1 + i * 0.1", "x": [1, 2, 3]}'""",
        "bms path limit --file question.json",
        "bms path tree --file - < question.json",
    ),
)
@click.argument("algorithm", metavar="ALGORITHM", type=click.Choice(ALGORITHMS))
@click.argument("question", metavar="[QUESTION]", required=False)
@click.option("--file", "file", metavar="F", help="Read the question from a file; - is standard input.")
@click.pass_obj
def path(session: Session, algorithm: str, question: str | None, file: str | None) -> None:
    """Ask one of the search path's algorithms: JSON in, JSON out.

    ALGORITHM is step, limit, importance, particle, probability, motion, tree or segment. QUESTION is a JSON
    object, with the fields of POST /v1/path/ALGORITHM. It is computed here, by the extra 'path' of this
    installation.
    """
    from bellande_mesh_sync.path_answers import answer, read_question

    found = answer(read_question(algorithm, _question(question, file)))
    output = session.output()
    if output.as_json:
        output.result(found, "")
        return
    from bellande_mesh_sync.cli.output import json_text

    output.pairs(algorithm, ((name, json_text(value)) for name, value in found.items()))


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
