"""Feeds: what happens on a node, for programs that listen. Every queue is bounded and tells."""

from __future__ import annotations

import asyncio
import fnmatch
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, TypeVar

from bellande_mesh_sync.errors import BusyError
from bellande_mesh_sync.values import Change, MeshMessage

T = TypeVar("T")

FEED_ITEMS_MAX = 100_000

NextPage = Callable[[], Awaitable[list[Change]]]


class Feed(AsyncIterator[T], Generic[T]):
    """One listener: an async iterator that ends when closed.

    A reader that falls `items_max` behind gets a BusyError instead of a silent gap, once it has
    read what was kept; it should list again and start a new feed.
    """

    def __init__(self, what: str, on_close: Callable[[Feed[T]], None], items_max: int) -> None:
        self._what = what
        self._on_close = on_close
        self._items_max = items_max
        self._items: deque[T] = deque()
        self._wake = asyncio.Event()
        self._is_open = True
        self._is_overrun = False

    def offer(self, item: T) -> None:
        if self._is_overrun or not self._is_open:
            return
        if len(self._items) >= self._items_max:
            self._is_overrun = True
        else:
            self._items.append(item)
        self._wake.set()

    def close(self) -> None:
        """End the iteration after what is waiting. May be called again."""
        if self._is_open:
            self._is_open = False
            self._on_close(self)
            self._wake.set()

    def __aiter__(self) -> Feed[T]:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._is_overrun:
                self.close()
                raise BusyError(what=self._what, limit=f"{self._items_max} items")
            if not self._is_open:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._items.popleft()

    async def __aenter__(self) -> Feed[T]:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class Watch(Feed[Change]):
    """Changes of keys that start with `prefix`.

    While a replay of what was missed goes on, what happens meanwhile is kept by key, and comes after it.
    """

    def __init__(
        self,
        prefix: str,
        on_close: Callable[[Feed[Change]], None],
        cursor_now: Callable[[], str] = lambda: "",
        cursor: str = "",
    ) -> None:
        super().__init__("the watch queue", on_close, FEED_ITEMS_MAX)
        self.prefix = prefix
        self._cursor_now = cursor_now
        self._cursor = cursor
        self._next_page: NextPage | None = None
        self._meanwhile: dict[str, Change] = {}

    def replay(self, next_page: NextPage) -> None:
        """Give these changes first, a page at a time; an empty one is the end."""
        self._next_page = next_page

    @property
    def cursor(self) -> str:
        """Where to go on if this watch ends here: never ahead of what was read from it, and up to date
        whenever nothing is waiting to be read. Cost: O(authors of writes to these keys)."""
        is_current = self._next_page is None and not self._items and not self._is_overrun
        if is_current:
            self._cursor = self._cursor_now() or self._cursor
        return self._cursor

    def offer(self, item: Change) -> None:
        if self._next_page is None:
            super().offer(item)
        elif item.key in self._meanwhile or len(self._meanwhile) < self._items_max:
            self._meanwhile[item.key] = item
        else:
            self._is_overrun = True

    async def __anext__(self) -> Change:
        while not self._items and self._next_page is not None and self._is_open:
            self._items.extend(await self._next_page())
            if not self._items:
                self._next_page = None
                self._items.extend(self._meanwhile.values())
                self._meanwhile.clear()
        return await super().__anext__()


class Subscription(Feed[MeshMessage]):
    """Messages whose topic fits `pattern`: `*` is one segment, `**` any number of them."""

    def __init__(self, pattern: str, on_close: Callable[[Feed[MeshMessage]], None]) -> None:
        super().__init__("the subscription queue", on_close, FEED_ITEMS_MAX)
        self._parts = pattern.split("/")

    def fits(self, topic: str) -> bool:
        return _fits(self._parts, topic.split("/"))


class Feeds:
    """All listeners of a node."""

    def __init__(self) -> None:
        self._watches: list[Watch] = []
        self._subscriptions: list[Subscription] = []

    def watch(self, prefix: str, cursor_now: Callable[[], str] = lambda: "", cursor: str = "") -> Watch:
        """
        Args:
            cursor_now: the cursor of a watch that has been told all that happened by now.
            cursor: where this one begins.
        """
        watch = Watch(prefix, self._closed, cursor_now, cursor)
        self._watches.append(watch)
        return watch

    def subscribe(self, pattern: str) -> Subscription:
        subscription = Subscription(pattern, self._closed)
        self._subscriptions.append(subscription)
        return subscription

    def is_watched(self, key: str) -> bool:
        return any(key.startswith(watch.prefix) for watch in self._watches)

    @property
    def has_watches(self) -> bool:
        return bool(self._watches)

    def changed(self, change: Change) -> None:
        for watch in self._watches:
            if change.key.startswith(watch.prefix):
                watch.offer(change)

    def message(self, message: MeshMessage) -> bool:
        """Give it to every subscription it fits; whether there was one."""
        fitting = [each for each in self._subscriptions if each.fits(message.topic)]
        for subscription in fitting:
            subscription.offer(message)
        return bool(fitting)

    def close(self) -> None:
        for watch in self._watches:
            watch.close()
        for subscription in self._subscriptions:
            subscription.close()

    def _closed(self, feed: Feed[Change] | Feed[MeshMessage]) -> None:
        self._watches = [each for each in self._watches if each is not feed]
        self._subscriptions = [each for each in self._subscriptions if each is not feed]


def _fits(pattern: list[str], topic: list[str]) -> bool:
    if not pattern:
        return not topic
    if pattern[0] == "**":
        return any(_fits(pattern[1:], topic[start:]) for start in range(len(topic) + 1))
    return bool(topic) and fnmatch.fnmatchcase(topic[0], pattern[0]) and _fits(pattern[1:], topic[1:])
