"""docs/reference/cli.md, from the commands' own help."""

from __future__ import annotations

import click

from bellande_mesh_sync.cli.groups import CommandGroup, described
from bellande_mesh_sync.cli.main import bms
from bellande_mesh_sync.cli.options import SECTIONS, Command, global_options

_INTRO = """# Command line

Written from the code by `make docs`; do not edit.

`bms COMMAND [ARGUMENTS] [OPTIONS]`. `bms COMMAND --help` shows the same as this page. With `--json`,
standard output is one JSON document (one per line for streams) and nothing else.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 node not reachable, 4 not found, 5 denied, 6 conflict,
7 timed out.
"""


def cli_page() -> str:
    context = click.Context(bms, info_name="bms")
    commands = [(name, bms.get_command(context, name)) for name in bms.list_commands(context)]
    parts = [
        _INTRO,
        "## Global options\n",
        "Accepted before or after the command.\n",
        _table(global_options()),
    ]
    for section in SECTIONS:
        parts.append(f"\n## {section}\n")
        for name, command in commands:
            if isinstance(command, Command) and command.section == section:
                parts.append(_command_text(name, command))
                if isinstance(command, CommandGroup):
                    parts += [
                        _command_text(f"{name} {sub}", each) for sub, each in described(command, context)
                    ]
    return "\n".join(parts).rstrip() + "\n"


def _command_text(name: str, command: Command) -> str:
    context = click.Context(command, info_name=f"bms {name}")
    shared = {option.name for option in global_options()}
    own = [option for option in command.params if option.name not in shared]
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f"### `bms {name}`\n", f"```text\nbms {name} {usage}\n```\n", _prose(command.help or "")]
    options = _table(own)
    if options:
        lines += ["", options]
    if command.examples:
        lines += ["", "```text", *command.examples, "```"]
    return "\n".join(lines) + "\n"


def _prose(text: str) -> str:
    """Click's help: paragraphs wrapped by hand, with `\\b` before those to keep as they are."""
    paragraphs = []
    for paragraph in text.strip().split("\n\n"):
        if paragraph.startswith("\b"):
            paragraphs.append("```text\n" + paragraph.removeprefix("\b").strip("\n") + "\n```")
        else:
            paragraphs.append(" ".join(line.strip() for line in paragraph.splitlines()))
    return "\n\n".join(paragraphs)


def _table(params: list[click.Parameter]) -> str:
    context = click.Context(bms, info_name="bms")
    records = [record for param in params if (record := param.get_help_record(context)) is not None]
    if not records:
        return ""
    rows = [f"| `{flags}` | {_cell(text)} |" for flags, text in records]
    return "\n".join(["| option | |", "| --- | --- |", *rows])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
