"""A command that has commands of its own, imported when they are called."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import click

from bellande_mesh_sync.cli import exits
from bellande_mesh_sync.cli.options import Command


class CommandGroup(Command, click.Group):
    """`bms NAME SUB`. `members` has for each SUB its `module:attribute` in this package."""

    def __init__(
        self, name: str, *, members: Mapping[str, str], section: str, help: str, examples: Sequence[str]
    ) -> None:
        super().__init__(
            name,
            section=section,
            help=help,
            examples=examples,
            no_args_is_help=False,
            subcommand_metavar="COMMAND [ARGS]...",
        )
        self._members = members

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(exits.USAGE)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._members)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self._members:
            return None
        module, _, attribute = self._members[name].partition(":")
        command = getattr(importlib.import_module(f"bellande_mesh_sync.cli.{module}"), attribute)
        assert isinstance(command, Command)
        return command

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


def described(group: CommandGroup, ctx: click.Context) -> Sequence[tuple[str, Any]]:
    """Its commands by name, for the reference."""
    return [(name, group.get_command(ctx, name)) for name in group.list_commands(ctx)]
