"""`bms policy test`: does a merge function of yours let all nodes end with the same?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bellande_mesh_sync.cli import exits
from bellande_mesh_sync.cli.options import Command
from bellande_mesh_sync.cli.session import Session
from bellande_mesh_sync.errors import UsageError

if TYPE_CHECKING:
    from bellande_mesh_sync.cli.output import Output
    from bellande_mesh_sync.sim.merge_trial import Trial


_MEANING = {
    "total": "it must return bytes, and raise nothing",
    "deterministic": "the same siblings must give the same bytes again",
    "commutative": "the order of the siblings must not matter",
    "idempotent": "what was merged once must stay when it is merged with itself, or with a part of it, again",
    "associative": "it must not matter which of the siblings were merged beforehand",
}


@click.command(
    cls=Command,
    section="Simulate",
    examples=("bms policy test tasks:merge", "bms policy test tasks:merge --values boards.jsonl"),
)
@click.argument("action", type=click.Choice(["test"]), metavar="test")
@click.argument("function", metavar="MODULE:FUNCTION")
@click.option("--values", metavar="F", help="Values to try it on, one a line.  [default: made-up ones]")
@click.option("--count", type=click.IntRange(1), default=300, show_default=True, help="Sets of each kind.")
@click.option("--seed", type=int, default=1, show_default=True, help="Other seeds make up other values.")
@click.pass_obj
def policy(session: Session, action: str, function: str, values: str | None, count: int, seed: int) -> int:
    """Try a merge function, as in conflict = "MODULE:FUNCTION", before nodes call it.

    It is looked for here first, then where Python finds modules. It must return bytes, raise nothing, and
    give the same whatever the order of the siblings and whichever of them were merged beforehand. Exit code
    1 if it does not; then what it did is shown.
    """
    from pathlib import Path

    from bellande_mesh_sync.loading import load_function
    from bellande_mesh_sync.sim.merge_trial import try_function

    merge = load_function(function, "MODULE:FUNCTION", Path.cwd())
    lines = [] if values is None else Path(values).read_bytes().splitlines()
    if values is not None and len(lines) < 2:
        raise UsageError(reason=f"{values} holds {len(lines)} values; at least two are needed, one a line")
    trial = try_function(merge, values=lines, count=count, seed=seed)
    _show(session.output(), function, trial)
    return exits.DONE if trial.broken is None else exits.FAILED


def _show(output: Output, function: str, trial: Trial) -> None:
    if output.as_json:
        output.result(_document(function, trial), "")
    elif trial.broken is None:
        kinds = (
            "your values" if trial.kinds == ("yours",) else f"values of the kinds {', '.join(trial.kinds)}"
        )
        output.line(f"{function} keeps all laws on {trial.tried_count} sets of siblings, {kinds}")
    else:
        from bellande_mesh_sync.cli.output import shown

        law = trial.broken.law
        output.line(f"{function} is not {law}: {_MEANING[law]}. On these siblings it does not hold:")
        for number, sibling in enumerate(trial.siblings, 1):
            output.line(f"  {number}. at {sibling.time_ms} ms by {sibling.author[:8]}: {shown(sibling.data)}")
        for line in trial.broken.told.splitlines():
            output.line(f"  {shown(line)}")


def _document(function: str, trial: Trial) -> dict[str, Any]:
    broken = trial.broken
    return {
        "function": function,
        "ok": broken is None,
        "tried": trial.tried_count,
        "kinds": trial.kinds,
        "broken": None if broken is None else {
            "law": broken.law,
            "told": broken.told,
            "siblings": [
                {"text": sibling.data.decode("utf-8", "backslashreplace"), "author": sibling.author,
                 "time_ms": sibling.time_ms}
                for sibling in trial.siblings
            ],
        },
    }  # fmt: skip
