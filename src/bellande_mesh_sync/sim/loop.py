"""An asyncio event loop on virtual time: what programs wait for is an action in the world's queue."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from itertools import count
from typing import Any, Final, NoReturn, Protocol, TypeVar, TypeVarTuple

from bellande_mesh_sync.errors import UsageError
from bellande_mesh_sync.sim.world import SECOND_NS, World

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

CLEAN_UP_ROUNDS_MAX: Final = 10_000
"""How many callbacks tasks may take to end when a world is closed."""


class Owner(Protocol):
    """Whom tasks belong to."""

    @property
    def stands_still(self) -> bool:
        """Whether none of its tasks may run now."""
        ...


_owner: ContextVar[Owner | None] = ContextVar("owner of a simulated program", default=None)


class _NumberedTask(asyncio.Task[T]):
    """Its hash is a number of its loop, not its address: task groups and programs keep tasks in sets, and
    walk them."""

    def __init__(self, number: int, coroutine: Any, **options: Any) -> None:
        self._number = number
        super().__init__(coroutine, **options)

    def __hash__(self) -> int:
        return self._number


class _NumberedFuture(asyncio.Future[T]):
    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self._number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs coroutines while the world runs; it never runs by itself, never sleeps, never polls.

    Sleeps, timeouts, queues, locks, events and task groups are built on the four calls below, so all
    of them work. Callbacks run in the order of the world's queue, between what nodes and links do.
    """

    def __init__(self, world: World) -> None:
        self._depth = 0  # Asked for by what follows.
        super().__init__()
        self._world = world
        self._numbers = count(1)
        self._tasks: dict[asyncio.Task[Any], Owner | None] = {}
        self._held: list[asyncio.Handle] = []
        """Callbacks whose owners stood still when they were due."""
        self._soon: dict[asyncio.Handle, None] = {}
        """Callbacks that are due and wait for their turn in the world's queue."""
        self._leftover: deque[asyncio.Handle] | None = None
        """Once the world stands still for good: what still has to run so that tasks can end."""
        self._thread = threading.get_ident()

    # -- time

    def time(self) -> float:
        return self._world.now_ns / SECOND_NS

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        self._check_closed()  # type: ignore[attr-defined]
        handle = asyncio.Handle(callback, args, self, context)
        if self._leftover is not None:
            self._leftover.append(handle)
        else:
            self._soon[handle] = None
            self._world.after(0, self._run, handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        if threading.get_ident() != self._thread:
            _refuse("a call from another thread")
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        self._check_closed()  # type: ignore[attr-defined]
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if self._leftover is None:
            self._world.at(round(when * SECOND_NS), self._run, handle)
        return handle

    def is_running(self) -> bool:
        """Whether a callback is being run, which is when coroutines may ask."""
        return self._depth > 0

    def _run(self, handle: asyncio.Handle) -> None:
        self._soon.pop(handle, None)
        if handle.cancelled() or self.is_closed():
            return
        owner = handle._context.get(_owner)  # type: ignore[attr-defined]
        if owner is not None and owner.stands_still and self._leftover is None:
            self._held.append(handle)
            return
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        self._depth += 1
        try:
            handle._run()
        finally:
            self._depth -= 1
            asyncio._set_running_loop(before)

    # -- tasks

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: object = None,
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Task[T]:
        """A task, which belongs to the program that makes it."""
        self._check_closed()  # type: ignore[attr-defined]
        task: asyncio.Task[T] = _NumberedTask(
            next(self._numbers), coro, loop=self, context=context, **options
        )
        if name is not None:
            task.set_name(name)
        self._tasks[task] = _owner.get() if context is None else context.get(_owner)
        task.add_done_callback(self._forget)
        return task

    def create_future(self) -> asyncio.Future[Any]:
        return _NumberedFuture(next(self._numbers), self)

    def start(self, owner: Owner | None, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task that belongs to `owner`, as will all that it starts."""
        context = copy_context()
        context.run(_owner.set, owner)
        return self.create_task(coroutine, context=context)

    def cancel_tasks(self, owner: Owner) -> None:
        for task in [task for task, its_owner in self._tasks.items() if its_owner is owner]:
            task.cancel()

    def go_on(self) -> None:
        """Some owner does not stand still any more: what was due meanwhile is due now."""
        held, self._held = self._held, []
        for handle in held:
            self._world.after(0, self._run, handle)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)

    def close(self) -> None:
        """Cancel what is left and let it end, with the world standing still."""
        if self.is_closed():
            return
        self._leftover = deque([*self._held, *self._soon])
        for task in list(self._tasks):
            task.cancel()
        for _ in range(CLEAN_UP_ROUNDS_MAX):
            if not self._leftover:
                break
            self._run(self._leftover.popleft())
        super().close()

    # -- the outside, which is not there

    def run_forever(self) -> NoReturn:
        raise UsageError(reason="the loop of a simulation runs with its world: use world.run(coroutine)")

    def run_until_complete(self, future: Any) -> NoReturn:
        self.run_forever()


def _refuse(what: str) -> NoReturn:
    raise UsageError(
        reason=f"{what}: there is no network, file, process or thread inside a simulation; give the program "
        "its answers from the test, or keep this part of it out"
    )


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refuse(*arguments: object, **options: object) -> NoReturn:
        _refuse(f"loop.{name}()")

    refuse.__name__ = name
    return refuse


_OUTSIDE: Final = """
run_in_executor set_default_executor getaddrinfo getnameinfo create_connection create_server
create_datagram_endpoint create_unix_connection create_unix_server connect_accepted_socket
connect_read_pipe connect_write_pipe subprocess_shell subprocess_exec add_reader remove_reader
add_writer remove_writer sock_recv sock_recv_into sock_recvfrom sock_recvfrom_into sock_sendall
sock_sendto sock_connect sock_accept sock_sendfile sendfile start_tls add_signal_handler
remove_signal_handler
"""
for _name in _OUTSIDE.split():
    setattr(VirtualLoop, _name, _refusal(_name))
