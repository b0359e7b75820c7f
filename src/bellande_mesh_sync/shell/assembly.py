"""Putting a node together: ground, links, core and worker threads, and taking it apart again."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version as package_version

from bellande_mesh_sync.addresses import format_address
from bellande_mesh_sync.config import PORT_OFF, Settings
from bellande_mesh_sync.config_placement import check_placement
from bellande_mesh_sync.core import effects as do
from bellande_mesh_sync.core import events as on
from bellande_mesh_sync.core.config import LocalNode
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.errors import BellandeMeshError, PortInUseError
from bellande_mesh_sync.security.identity import Identity, verify
from bellande_mesh_sync.security.statements import StatementJudge
from bellande_mesh_sync.shell.boot import Ground, advertised, core_config, new_epoch, prepare
from bellande_mesh_sync.shell.datagrams import Datagrams
from bellande_mesh_sync.shell.history_reader import HistoryReader
from bellande_mesh_sync.shell.link_config import LinkConfig
from bellande_mesh_sync.shell.links import Links
from bellande_mesh_sync.shell.merge_calls import merge_calls
from bellande_mesh_sync.shell.runner import Runner
from bellande_mesh_sync.shell.surroundings import Surroundings
from bellande_mesh_sync.shell.sweeper import Sweeper
from bellande_mesh_sync.shell.value_io import ValueIo
from bellande_mesh_sync.store.interface import Store

WORKER_THREADS = 4
VERSION = package_version("bellande-mesh-sync")
SOFTWARE = f"bellande-mesh-sync {VERSION}"


@dataclass(frozen=True, slots=True)
class News:
    """Whom a node tells what happens. None of these may block."""

    changed: Callable[[do.Changed], None]
    message: Callable[[do.Deliver], None]
    member: Callable[[do.MemberChanged], None]
    must_stop: Callable[[BellandeMeshError], None]


class Assembly:
    """A node that runs. `open` makes it, `close` ends it; nothing is left over by either."""

    def __init__(self, ground: Ground, runner: Runner, io: ValueIo, history: HistoryReader, sweeper: Sweeper,
                 tcp_address: str, exits: contextlib.AsyncExitStack) -> None:  # fmt: skip
        self.ground = ground
        self.runner = runner
        self.io = io
        self.history = history
        self.sweeper = sweeper
        self.tcp_address = tcp_address
        self._exits = exits

    @property
    def core(self) -> NodeCore:
        return self.runner.core

    @property
    def store(self) -> Store:
        return self.ground.store

    @property
    def identity(self) -> Identity:
        return self.ground.identity

    async def close(self) -> None:
        await self._exits.aclose()

    @classmethod
    async def open(cls, settings: Settings, news: News) -> Assembly:
        """Prepare the ground, open the store, listen, and bring the core to life.

        Raises:
            ConfigError and its kinds, StorageError: nothing is left running then.
        """
        async with contextlib.AsyncExitStack() as exits:
            ground = await asyncio.to_thread(prepare, settings)
            exits.push_async_callback(asyncio.to_thread, ground.leave)
            exits.push_async_callback(asyncio.to_thread, ground.store.close)
            state = await asyncio.to_thread(ground.store.open)
            check_placement(settings.spaces, state)
            executor = ThreadPoolExecutor(WORKER_THREADS, thread_name_prefix="bms-worker")
            # A thread that still reads must be done before its store is closed.
            exits.push_async_callback(asyncio.to_thread, executor.shutdown)
            runner = Runner(
                ground.store,
                executor,
                on_changed=news.changed,
                on_message=news.message,
                on_member=news.member,
                on_stop=news.must_stop,
                judge=StatementJudge(ground.identity.authority_pem),
            )
            exits.push_async_callback(runner.close)
            merges = await asyncio.to_thread(merge_calls, settings.spaces, runner.count)
            runner.links = Links(
                identity=ground.identity,
                config=LinkConfig(encrypted=settings.encryption, ciphers=settings.tls_ciphers),
                make_hello=lambda lane: runner.core.hello(lane),
                sink=runner,
            )
            host, port = await runner.links.listen(settings.listen_host, settings.tcp_port)
            runner.datagrams = Datagrams(
                node=ground.identity.node,
                mesh_id=ground.identity.mesh_id,
                on_datagram=lambda peer, datagram: runner.feed(on.DatagramReceived(peer, datagram)),
                on_new_key=lambda key: runner.feed(on.SealKeyChanged(key)),
            )
            datagram_port = await _listen_for_datagrams(runner.datagrams, settings, port)
            me = _local_node(settings, ground.identity, host, port, runner.datagrams, datagram_port)
            runner.start(core_config(settings), me, state, secrets.randbits(64), new_epoch, merges)
            surroundings = Surroundings(
                settings, mesh_id=ground.identity.mesh_id, node=ground.identity.node, host=host, port=port,
                feed=runner.feed,
            )  # fmt: skip
            exits.push_async_callback(surroundings.close)
            await surroundings.start()
            io = ValueIo(ground.store, executor, runner.chunks_added)
            history = HistoryReader(ground.store, executor)
            sweeper = Sweeper(ground.store, runner, settings.sweep_grace_s)
            exits.push_async_callback(sweeper.close)
            return cls(ground, runner, io, history, sweeper, format_address(host, port), exits.pop_all())


async def _listen_for_datagrams(datagrams: Datagrams, settings: Settings, tcp_port: int) -> int:
    """The port bound; 0 if datagrams are off."""
    wanted = settings.datagram_port
    if wanted == PORT_OFF:
        return 0
    try:
        return await datagrams.listen(settings.listen_host, tcp_port if wanted is None else wanted)
    except PortInUseError:
        if wanted is not None or settings.tcp_port:
            raise
        return await datagrams.listen(settings.listen_host, 0)  # Any was asked for, so any other will do.


def _local_node(
    settings: Settings, identity: Identity, host: str, port: int, datagrams: Datagrams, datagram_port: int
) -> LocalNode:
    return LocalNode(
        node=identity.node,
        public_key=identity.public_key,
        mesh=identity.mesh_id,
        name=settings.name,
        role=identity.role,
        boot=secrets.token_bytes(8),
        software=SOFTWARE,
        addresses=advertised(settings, host, port),
        bootstrap=settings.bootstrap,
        sign=identity.sign,
        verify=verify,
        started_ms=time.time_ns() // 1_000_000,
        datagram_port=datagram_port,
        seal_key=datagrams.seal_key if datagram_port else b"",
        labels=settings.labels,
        capacity=settings.capacity,
        zone=settings.zone,
    )
