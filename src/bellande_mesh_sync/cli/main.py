"""`bms`: the command group, and what happens to the errors of every command.

Only click is imported here. Sub-commands are found by name in `COMMANDS` and imported when they are
called (or listed by `--help`); their modules in turn import what they need inside the command.
"""

from __future__ import annotations

import difflib
import importlib
import signal
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Any

import click

from bellande_mesh_sync.cli import exits
from bellande_mesh_sync.cli.options import CONTEXT_SETTINGS, SECTIONS, Command, global_options
from bellande_mesh_sync.cli.session import Session
from bellande_mesh_sync.errors import BellandeMeshError

COMMANDS = {
    "init": "mesh:init",
    "invite": "mesh:invite",
    "join": "mesh:join",
    "request": "enrolment:request",
    "sign": "enrolment:sign",
    "accept": "enrolment:accept",
    "start": "start:start",
    "status": "look:status",
    "nodes": "look:nodes",
    "topology": "topology:topology",
    "placement": "placement:placement",
    "why": "topology:why",
    "nearest": "members:nearest",
    "stats": "look:stats",
    "health": "look:health",
    "certs": "certificates:certs",
    "register": "members:register",
    "remove": "members:remove",
    "revoke": "revoking:revoke",
    "revocations": "revoking:revocations",
    "keys": "keys:keys",
    "cleanup": "members:cleanup",
    "restore-nodes": "members:restore_nodes",
    "update": "members:update",
    "announce": "members:announce",
    "max-connections": "members:max_connections",
    "sleep": "members:sleep",
    "wake": "members:wake",
    "put": "data:put",
    "get": "data:get",
    "add": "counters:add",
    "delete": "data:delete",
    "list": "data:list_keys",
    "watch": "data:watch",
    "conflicts": "conflicts:conflicts",
    "resolve": "resolving:resolve",
    "history": "history:history",
    "diff": "history:diff",
    "restore": "history:restore",
    "verify": "verify:verify",
    "repair": "verify:repair",
    "sweep": "sweep:sweep",
    "replicate": "placement:replicate",
    "import": "folders:import_folder",
    "export": "folders:export_folder",
    "share": "share:share",
    "send": "messages:send",
    "broadcast": "messages:broadcast",
    "publish": "messages:publish",
    "path": "path:path",
    "simulate": "simulate:simulate",
    "policy": "policy:policy",
}

_INTRO = """Bellande Mesh Sync: a fleet of machines shares state with no server in the middle.

A node keeps a full copy, answers while it is alone, and brings itself and the others up to date as
soon as they can reach each other. `bms start` runs one; the other commands talk to it."""


class StdoutClosedError(Exception):
    """Whoever read our output has closed it."""


class LazyGroup(click.Group):
    """Imports a sub-command when it is asked for."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Under another name: click would end the process with exit code 1.
            raise StdoutClosedError from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name].partition(":")
        command = getattr(importlib.import_module(f"bellande_mesh_sync.cli.{module}"), attribute)
        assert isinstance(command, Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else "'bms --help' lists all commands."
            raise click.UsageError(f"No such command {name!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(exits.USAGE)
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        commands = [(name, self.get_command(ctx, name)) for name in COMMANDS]
        # One width for all sections, so that the columns line up.
        width = max(len(name) for name in COMMANDS)
        for section in SECTIONS:
            rows = [
                (name.ljust(width), command.get_short_help_str(80))
                for name, command in commands
                if isinstance(command, Command) and command.section == section
            ]
            with formatter.section(section):
                formatter.write_dl(rows)


bms = LazyGroup(
    "bms",
    params=global_options(),
    help=_INTRO,
    no_args_is_help=False,
    context_settings=CONTEXT_SETTINGS,
    subcommand_metavar="COMMAND [ARGS]...",
    options_metavar="[OPTIONS]",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; errors have been told on stderr by then."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    session = Session()
    before = signal.signal(signal.SIGTERM, _terminate)
    _speak_utf8()
    try:
        code = _exit_code(bms.main(words, prog_name="bms", standalone_mode=False, obj=session))
        sys.stdout.flush()
    except click.ClickException as error:
        _report_usage(error, as_json=_wants_json(session, words))
        return error.exit_code
    except BellandeMeshError as error:
        exits.report(error.code, str(error), error.facts, as_json=_wants_json(session, words))
        return exits.exit_code_of(error)
    except (StdoutClosedError, BrokenPipeError):
        return _stdout_closed()
    except OSError as error:
        exits.report("file_error", exits.sentence_of(error), as_json=_wants_json(session, words))
        return exits.FAILED
    except UnicodeEncodeError as error:
        # A key or text from the command line that is not UTF-8, a token or media type that is not ASCII.
        reason = f"an argument holds a character that cannot be sent ({error.encoding}: {error.reason})"
        exits.report("usage", reason, as_json=_wants_json(session, words))
        return exits.USAGE
    except (click.Abort, KeyboardInterrupt):
        return exits.INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
    return code


def _speak_utf8() -> None:
    """A pipe gets UTF-8 whatever the locale, and no character can make a terminal's encoding fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")


def _exit_code(result: Any) -> int:
    """Commands return None or an exit code; click itself returns one after --help."""
    return result if isinstance(result, int) else exits.DONE


def _wants_json(session: Session, words: Sequence[str]) -> bool:
    """Also when the line could not be parsed far enough to know."""
    return session.json or "--json" in words


def _report_usage(error: click.ClickException, *, as_json: bool) -> None:
    if not as_json and isinstance(error, click.UsageError) and error.ctx is not None:
        click.echo(error.ctx.get_usage(), err=True)
    code = "usage" if error.exit_code == exits.USAGE else "failed"
    exits.report(code, error.format_message(), as_json=as_json)


def _stdout_closed() -> int:
    """The reader has what it wanted (`bms list | head`): that is no failure."""
    import os

    # Python flushes stdout once more at its exit, and would complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return exits.DONE


def _terminate(signum: int, frame: object) -> None:
    """Unwind, so that half-written temporary files are removed. `start` has its own handler."""
    raise SystemExit(exits.TERMINATED)
