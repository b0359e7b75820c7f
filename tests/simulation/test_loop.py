"""The event loop on virtual time: asyncio as programs know it, with nothing outside."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from bellande_mesh_sync.errors import UsageError
from bellande_mesh_sync.sim.loop import VirtualLoop
from bellande_mesh_sync.sim.world import SECOND_NS, World

T = TypeVar("T")


class Stage:
    """A world with nothing in it but programs."""

    def __init__(self) -> None:
        self.world = World(1)
        self.loop = VirtualLoop(self.world)
        self.log: list[tuple[float, str]] = []

    def say(self, text: str) -> None:
        self.log.append((self.loop.time(), text))

    def play(self, coroutine: Coroutine[Any, Any, T], seconds: float = 100) -> T:
        task = self.loop.create_task(coroutine)
        self.world.run_until(self.world.now_ns + round(seconds * SECOND_NS))
        assert task.done(), "it still waits"
        return task.result()


class Awake:
    stands_still = False


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.loop.close()


def test_sleeps_take_virtual_time_only(stage: Stage) -> None:
    async def program() -> float:
        await asyncio.sleep(60)
        return asyncio.get_running_loop().time()

    assert stage.play(program()) == 60


def test_callbacks_run_between_the_other_actions_of_the_world(stage: Stage) -> None:
    async def program() -> None:
        for _ in range(2):
            await asyncio.sleep(2)
            stage.say("program")

    stage.world.after(1 * SECOND_NS, stage.say, "world")
    stage.world.after(3 * SECOND_NS, stage.say, "world")
    stage.play(program())
    assert stage.log == [(1, "world"), (2, "program"), (3, "world"), (4, "program")]


def test_timeouts_come_in_virtual_time(stage: Stage) -> None:
    async def program() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.sleep(50)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 2)
        return asyncio.get_running_loop().time()

    assert stage.play(program()) == 7


def test_queues_events_and_task_groups_work(stage: Stage) -> None:
    async def produce(queue: asyncio.Queue[int]) -> None:
        for number in range(3):
            await asyncio.sleep(1)
            await queue.put(number)

    async def program() -> list[int]:
        queue: asyncio.Queue[int] = asyncio.Queue(1)
        async with asyncio.TaskGroup() as group:
            group.create_task(produce(queue))
            return [await queue.get() for _ in range(3)]

    assert stage.play(program()) == [0, 1, 2]


def test_a_failing_task_of_a_group_cancels_its_siblings(stage: Stage) -> None:
    async def fail() -> None:
        await asyncio.sleep(1)
        raise ValueError("no")

    async def wait() -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            stage.say("cancelled")
            raise

    async def program() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(wait())
            group.create_task(fail())

    with pytest.raises(ExceptionGroup):
        stage.play(program())
    assert stage.log == [(1, "cancelled")]


def test_sets_of_tasks_are_walked_in_the_same_order_in_every_process(stage: Stage) -> None:
    """A task group cancels its tasks in the order of a set of them."""

    async def wait(number: int) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            stage.say(f"{number:02}")

    async def fail() -> None:
        await asyncio.sleep(1)
        raise ValueError("no")

    async def program() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(wait(number))
            group.create_task(fail())

    with pytest.raises(ExceptionGroup):
        stage.play(program())
    assert [text for _, text in stage.log] == [f"{number:02}" for number in range(20)]


def test_all_tasks_of_an_owner_are_cancelled_also_those_that_its_tasks_made(stage: Stage) -> None:
    async def inner(name: str) -> None:
        try:
            await asyncio.sleep(50)
        finally:
            stage.say(name)

    async def outer(name: str) -> None:
        child = asyncio.create_task(inner(f"child of {name}"))
        await inner(name)
        await child

    crane, dock = Awake(), Awake()
    stage.loop.start(crane, outer("crane"))
    stage.loop.start(dock, outer("dock"))
    stage.world.after(5 * SECOND_NS, stage.loop.cancel_tasks, crane)
    stage.world.run_until(100 * SECOND_NS)
    assert sorted(stage.log) == [(5, "child of crane"), (5, "crane"), (50, "child of dock"), (50, "dock")]


@pytest.mark.parametrize(
    ("what", "name"),
    [
        (lambda: asyncio.to_thread(print), "run_in_executor"),
        (lambda: asyncio.open_connection("localhost", 1), "create_connection"),
        (lambda: asyncio.start_server(lambda reader, writer: None, "localhost", 0), "create_server"),
        (lambda: asyncio.create_subprocess_exec("true"), "subprocess_exec"),
        (lambda: asyncio.get_running_loop().getaddrinfo("localhost", 1), "getaddrinfo"),
    ],
)
def test_the_outside_is_refused_by_name(stage: Stage, what: Any, name: str) -> None:
    async def program() -> None:
        await what()

    with pytest.raises(UsageError, match=rf"loop\.{name}\(\).*inside a simulation"):
        stage.play(program())


def test_calls_from_other_threads_are_refused(stage: Stage) -> None:
    import threading

    caught: list[Exception] = []

    def call() -> None:
        try:
            stage.loop.call_soon_threadsafe(print)
        except UsageError as error:
            caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert len(caught) == 1


def test_the_loop_cannot_be_run_by_itself(stage: Stage) -> None:
    with pytest.raises(UsageError, match=r"world\.run"):
        stage.loop.run_forever()


def test_closing_ends_what_still_waits(stage: Stage) -> None:
    async def program() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0)
            stage.say("ended")

    stage.loop.create_task(program())
    stage.world.run_until(SECOND_NS)
    stage.loop.close()
    assert stage.log == [(1, "ended")]
    assert stage.loop.is_closed()
