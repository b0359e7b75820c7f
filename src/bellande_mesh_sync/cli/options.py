"""What all commands share: the global options, accepted on either side of it, and the help's shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from bellande_mesh_sync.cli.durations import TimeoutType
from bellande_mesh_sync.cli.session import Session

_F = TypeVar("_F", bound=Callable[..., Any])

ACKS = ("local", "one", "quorum", "all")

CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

SECTIONS = ("Become a mesh", "Look", "Members", "Data", "Folders", "Messages", "Paths", "Simulate")


def global_options() -> list[click.Parameter]:
    """A fresh list each time: click binds parameters to their command."""
    return [
        _global("--home", "DIR", "The node's home.  [env: BMS_HOME; default: the user's data folder]"),
        _global("--api", "URL", "Address of a node's HTTP API.  [default: the node running in the home]"),
        _global("--token", "TOKEN", "API token.  [env: BMS_TOKEN; default: the home's admin token]"),
        _global("--json", None, "Print one JSON document (one per line for streams) and nothing else."),
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            callback=_show_version,
            help="Show the version and exit.",
        ),
    ]


class Command(click.Command):
    """A command that takes the global options too, with its section of `bms --help` and examples."""

    def __init__(self, *args: Any, section: str, examples: Sequence[str] = (), **settings: Any) -> None:
        settings.setdefault("context_settings", CONTEXT_SETTINGS)
        super().__init__(*args, **settings)
        assert section in SECTIONS
        self.section = section
        self.examples = examples
        self._own_options = [param for param in self.params if isinstance(param, click.Option)]
        # An option of its own wins: `restore --version V`.
        own = {flag for option in self._own_options for flag in option.opts}
        self._global_options = [option for option in global_options() if own.isdisjoint(option.opts)]
        self.params = [*self.params, *self._global_options]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        help_option = self.get_help_option(ctx)
        own = [*self._own_options, help_option] if help_option else self._own_options
        _write_options(formatter, ctx, "Options", own)
        _write_options(formatter, ctx, "Global options", self._global_options)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"  {example}\n")


def ack_options(function: _F) -> _F:
    """--ack and --timeout of every write."""
    ack = click.option(
        "--ack",
        type=click.Choice(ACKS),
        help="Return when it is on disk here (local), on one other node, on a majority, on all."
        "  [default: the space's policy]",
    )
    timeout = click.option("--timeout", type=TimeoutType(), help="Give up waiting for --ack after this long.")
    return ack(timeout(function))


def if_version_option(function: _F) -> _F:
    return click.option(
        "--if-version",
        metavar="V",
        help="Only if this is the key's present version; '' means only if there is none.",
    )(function)


def context_option(function: _F) -> _F:
    return click.option(
        "--context",
        metavar="C",
        help="What you had read, from 'get --json': replaces just that; '' replaces nothing, and the write"
        " stands beside what is there.  [default: replaces all that the node holds]",
    )(function)


def _global(flag: str, metavar: str | None, text: str) -> click.Option:
    # Eager: read before anything that may end the command, which must know about --json.
    settings: dict[str, Any] = {"is_flag": True} if metavar is None else {"metavar": metavar}
    return click.Option([flag], is_eager=True, expose_value=False, callback=_remember, help=text, **settings)


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Given after the command it wins over given before; not given, it changes nothing."""
    if value:
        assert param.name is not None
        setattr(ctx.find_root().ensure_object(Session), param.name, value)


def _show_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from importlib.metadata import version

    from bellande_mesh_sync.cli.output import Output

    session = ctx.find_root().ensure_object(Session)
    number = version("bellande-mesh-sync")
    Output(session.json).result({"version": number}, f"bms {number}")
    ctx.exit(0)


def _write_options(
    formatter: click.HelpFormatter, ctx: click.Context, title: str, options: Sequence[click.Parameter]
) -> None:
    rows = [row for row in (option.get_help_record(ctx) for option in options) if row is not None]
    if rows:
        with formatter.section(title):
            formatter.write_dl(rows)
