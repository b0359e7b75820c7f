"""`bms start`: run a node in the foreground, until a signal."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import click

from bellande_mesh_sync.cli import exits
from bellande_mesh_sync.cli.labels import LabelType
from bellande_mesh_sync.cli.options import Command
from bellande_mesh_sync.cli.session import Session
from bellande_mesh_sync.errors import BellandeMeshError

if TYPE_CHECKING:
    import asyncio

    from bellande_mesh_sync.config_model import Config, MeshOptions, Profile
    from bellande_mesh_sync.home import Home
    from bellande_mesh_sync.mesh import Mesh

PROFILES = ("lan", "fast", "wan")
_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@dataclass(frozen=True)
class Plan:
    """How to run: the home's node.toml, and what the command line puts in its place."""

    home: Home | None
    """None: a dev node without a home of its own choice."""
    listen: str | None
    bootstrap: tuple[str, ...]
    dev: bool
    http_port: int | None
    https_port: int | None
    profile: Profile | None
    zone: str | None
    label: tuple[tuple[str, str], ...]
    """Added to those of the file; of one name the option wins."""

    def settings(self) -> tuple[Config, MeshOptions]:
        """Read and check; ConfigError names the file's line, the setting or the option's field."""
        from bellande_mesh_sync.config_model import Config, MeshOptions, changed

        config, options = (Config(), MeshOptions()) if self.home is None else self.home.load_settings()
        if self.listen is not None:
            config = changed(config, listen_address=self.listen)
            options = changed(options, tcp_port=None)
        if self.http_port is not None:
            config = changed(config, http_port=self.http_port)
        if self.https_port is not None:
            config = changed(config, https_port=self.https_port)
        if self.profile is not None:
            config = changed(config, profile=self.profile)
        if self.zone is not None:
            config = changed(config, zone=self.zone)
        if self.label:
            config = changed(config, labels={**config.labels, **dict(self.label)})
        if self.bootstrap:
            options = changed(options, bootstrap_nodes=self.bootstrap)
        if self.dev:
            options = changed(options, dev_mode=True)
        if self.home is None:
            return config, changed(options, enable_persistence=True)
        return config, changed(options, persistence_path=str(self.home.path))


@click.command(
    cls=Command,
    section="Become a mesh",
    examples=(
        "bms start",
        "bms start --listen 0.0.0.0:8000 --bootstrap 10.0.0.5:8000",
        "bms start --dev --listen 127.0.0.1:0",
    ),
)
@click.option(
    "--listen", metavar="HOST:PORT", help="Where other nodes reach this one; port 0 takes a free one."
)
@click.option(
    "--bootstrap", metavar="HOST:PORT", multiple=True, help="A member to call first; may be repeated."
)
@click.option("--dev", is_flag=True, help="Try things out: a throwaway identity, on this machine only.")
@click.option("--http-port", type=click.IntRange(-1, 65535), metavar="N", help="0: any free one; -1: off.")
@click.option("--https-port", type=click.IntRange(-1, 65535), metavar="N", help="0: any free one; -1: off.")
@click.option("--profile", type=click.Choice(PROFILES), help="How quickly members judge each other.")
@click.option("--zone", metavar="ZONE", help="What this node shares with others that fail together with it.")
@click.option(
    "--label", type=LabelType(), multiple=True, help="What others should know of it; may be repeated."
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    help="How much to say on standard error.  [default: info]",
)
@click.pass_obj
def start(session: Session, /, log_level: str, **given: Any) -> int:
    """Run this home's node in the foreground.

    Settings are node.toml's, and options win over them. When the node is ready, one line of JSON on
    standard output says where it listens; logs go to standard error. SIGTERM or Ctrl-C stops it
    cleanly, a second Ctrl-C at once. SIGHUP reads node.toml again.
    """
    # Until the loop runs nothing is open, so being told to stop is no failure either.
    signal.signal(signal.SIGTERM, _stop_early)
    import asyncio
    import logging

    logging.basicConfig(stream=sys.stderr, level=log_level.upper(), format=_LOG_FORMAT)
    # A dev node never touches the user's real home unless told to.
    is_homeless = given["dev"] and session.home is None and not os.environ.get("BMS_HOME")
    plan = Plan(home=None if is_homeless else session.open_home(), **given)
    config, options = plan.settings()
    if plan.home is not None and not plan.dev and options.cert_path is None:
        from bellande_mesh_sync.security.identity import load_identity

        load_identity(plan.home.identity_dir)  # Refuse before anything is made or bound.
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(plan, config, options))
    return exits.DONE


async def _serve(plan: Plan, config: Config, options: MeshOptions) -> None:
    """One node's life: start, tell that it is ready, reload when asked, stop when told."""
    import asyncio
    import logging

    from bellande_mesh_sync.mesh import init_with_options

    log = logging.getLogger("bellande_mesh_sync.cli")
    signals: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for handled in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(handled, signals.put_nowait, handled)
    mesh = await init_with_options(config, options)
    try:
        starting = asyncio.ensure_future(mesh.start())
        while (number := await _signal_before(starting, signals)) == signal.SIGHUP:
            pass  # It has just read the file.
        if number is not None:
            starting.cancel()
            await asyncio.wait((starting,))
            return
        starting.result()
        await _announce(mesh)
        # For a dev node nobody chose the home, and other commands need it.
        log.info("ready; its home is %s", mesh.settings.home)
        ended = asyncio.ensure_future(mesh.wait_stopped())
        while await _signal_before(ended, signals) == signal.SIGHUP:
            _reload(mesh, plan)
        if ended.done():
            ended.result()  # It stopped by itself: this raises what made it.
        ended.cancel()
    finally:
        # The next Ctrl-C ends the process where it stands; the store is made for that.
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        await mesh.stop()


async def _signal_before(work: asyncio.Future[None], signals: asyncio.Queue[int]) -> int | None:
    """The next signal, or None if `work` is done first."""
    import asyncio

    told = asyncio.ensure_future(signals.get())
    await asyncio.wait((work, told), return_when=asyncio.FIRST_COMPLETED)
    if told.done():
        return told.result()
    told.cancel()
    return None


async def _announce(mesh: Mesh) -> None:
    from bellande_mesh_sync.cli.output import json_text

    status = await mesh.status()
    ready = {
        "event": "ready",
        "node": status.node,
        "tcp": status.tcp,
        "http": status.http,
        "https": status.https,
    }
    # If nobody reads it, the node serves its peers all the same.
    with contextlib.suppress(OSError):
        print(json_text(ready), flush=True)


def _reload(mesh: Mesh, plan: Plan) -> None:
    """A broken file never stops a node that runs."""
    import logging

    from bellande_mesh_sync.config import resolve

    log = logging.getLogger("bellande_mesh_sync.cli")
    try:
        settings = resolve(*plan.settings())
    except BellandeMeshError as error:
        log.error("config not reloaded, the node goes on with the old one: %s", error)
        return
    names = [name for name in settings.__slots__ if getattr(settings, name) != getattr(mesh.settings, name)]
    if not names:
        log.info("config reloaded: nothing changed")
        return
    log.warning("config is valid; restart the node to apply: %s", ", ".join(names))


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return None  # The standard loop: slower, otherwise the same.
    return uvloop.new_event_loop


def _stop_early(signum: int, frame: object) -> NoReturn:
    raise SystemExit(exits.DONE)
