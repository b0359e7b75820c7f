"""The calls of `Mesh` about members: finding, adding, removing and explaining them, and planned sleep."""

from __future__ import annotations

import asyncio
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from bellande_mesh_sync.addresses import format_address, parse_address
from bellande_mesh_sync.arguments import node_id_of_text, ns_of, point_of
from bellande_mesh_sync.config import Settings
from bellande_mesh_sync.config_model import CAPACITY_MAX, CONNECTIONS_MAX, check_labels, check_zone
from bellande_mesh_sync.core import events as on
from bellande_mesh_sync.core.members.member import (
    ANSWER_BYTES,
    RECORD_BYTES_MAX,
    MemberRecord,
    record_bytes,
)
from bellande_mesh_sync.errors import ConfigError, NotFoundError, UnreachableError, UsageError
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.observe import views
from bellande_mesh_sync.observe.lookup import member_view, page_of
from bellande_mesh_sync.observe.reasons import explanation_of
from bellande_mesh_sync.observe.topology import topology_of
from bellande_mesh_sync.shell.assembly import Assembly
from bellande_mesh_sync.shell.runner import now
from bellande_mesh_sync.values import Explanation, NodeView, Topology

NEAREST_MAX: Final = 1000
ANSWER_TIMEOUT_S: Final = 10.0
RESTORE_TIMEOUT_S: Final = 5.0
SURVEY_TIMEOUT_S: Final = 2.0
SLEEP_S_MAX: Final = 30 * 86_400.0
INCARNATION_MAX: Final = 2**63 - 1
OLDER_S_MAX: Final = 366 * 86_400.0
LOOK_AGAIN_S: Final = 0.1
"""A link may come without a change of anybody's state, so that is looked for too."""

_Found = TypeVar("_Found")


class MemberCalls(ABC):
    """What a program asks and tells a node about the members of its mesh. Node ids are text."""

    settings: Settings

    def __init__(self) -> None:
        self._members_moved = asyncio.Event()

    @abstractmethod
    def _alive(self) -> Assembly:
        """The node; NotRunningError if it does not run."""

    # -- looking

    async def nodes(self, state: str | None = None) -> list[NodeView]:
        """The members as this node sees them, itself first; those in `state` if given."""
        return views.node_views(self._alive().core, now(), state)

    async def nodes_page(self, state: str | None, offset: int, limit: int) -> tuple[list[NodeView], int]:
        """Up to `limit` members in `state` (None: in any) in order of their ids, after the first `offset`;
        and how many there are in all. Only those on the page are described.
        """
        return page_of(self._alive().core, state, offset, limit, now())

    async def node(self, node: str) -> NodeView:
        """One member. NotFoundError if this node has not heard of it."""
        view = views.node_view(self._alive().core, node_id_of_text(node), now())
        if view is None:
            raise NotFoundError(what="node", name=node)
        return view

    async def find_node(self, text: str) -> NodeView:
        """The member meant by `text`: an id, a name, or a unique start of an id (4 digits or more).

        Raises:
            NotFoundError: it fits none.
            UsageError: it fits more than one.
        """
        return member_view(self._alive().core, text, now())

    async def is_node_connected(self, node: str) -> bool:
        """Whether a link with this node is open now."""
        return self._alive().core.links.to(node_id_of_text(node)) is not None

    async def find_nearest_nodes(self, point: str | bytes, count: int = 20) -> list[NodeView]:
        """The live members (alive or suspect) nearest to a point by XOR distance, nearest first.

        Every node that knows the same members finds the same ones: a way to agree without a word on who
        is responsible for something. This node is one of them.

        Args:
            point: a node id (64 hex digits, or 32 bytes). Any other text or bytes, as a key, is hashed
                to a point with BLAKE3.
            count: 1 to 1,000; there may be fewer members.

        Cost: 0.02 ms to find 20 among 10,000, and as much again to describe them.
        """
        if not isinstance(count, int) or not 1 <= count <= NEAREST_MAX:  # type: ignore[redundant-expr]
            raise UsageError(reason=f"count={count!r} is not between 1 and {NEAREST_MAX}")
        return views.nearest_views(self._alive().core, point_of(point), count, now())

    async def topology(self, timeout: float = SURVEY_TIMEOUT_S) -> Topology:
        """Who sees whom: asks every member in reach whom it has links with, and how good these are.

        Args:
            timeout: seconds to wait for answers; who has not answered by then is shown as such.
        """
        node = self._alive()
        timeout_ns = ns_of("timeout", timeout)
        answer = await node.runner.ask(lambda request: on.Survey(request, timeout_ns))
        return topology_of(node.core.me.node.hex(), await self.nodes(), answer)

    async def why(self, node: str) -> Explanation:
        """The evidence behind this node's verdict on a member. NotFoundError if it is not known."""
        found = explanation_of(self._alive().core, node_id_of_text(node), now())
        if found is None:
            raise NotFoundError(what="node", name=node)
        return found

    # -- coming and going

    async def register_node(self, address: str, *, timeout: float = ANSWER_TIMEOUT_S) -> NodeView:
        """Tell this node where a member is reached; returns it once there is a link and it has proven
        to be one of our mesh.

        Args:
            address: HOST:PORT.
            timeout: seconds to wait for that.

        Raises:
            UnreachableError: no member was linked in time. It is not tried again by this call, and what
                it found out is kept.
        """
        node = self._alive()
        ns_of("timeout", timeout)
        names = await _names_of(address)
        if not names.isdisjoint(node.core.me.addresses):
            raise UsageError(reason=f"{address} is this node itself")
        found = views.at_address(node.core, names, now())
        if found is None:
            await node.runner.ask(lambda request: on.AddMember(request, (address,)))
            found = await self._until(lambda: views.at_address(self._alive().core, names, now()), timeout)
        if found is None:
            reason = f"no member of this mesh was linked there within {timeout:g} s"
            raise UnreachableError(address=address, reason=reason)
        return found

    async def remove_node(self, node: str) -> bool:
        """Say that a member that is down (dead, asleep or left) will not come back.

        All nodes are told: it counts as left, so no write waits for its disk. Each takes that over once the
        member has been down for a minute in its own view. It does not expel anybody: if the machine is
        reached again, it is a member again.

        Raises:
            NotFoundError: this node does not know it.
            StillMemberError: it is not down.
        """
        wanted = node_id_of_text(node)
        return bool(await self._alive().runner.ask(lambda request: on.RemoveMember(request, wanted)))

    async def restore_nodes(self, *, timeout: float = RESTORE_TIMEOUT_S) -> list[NodeView]:
        """Try all known members without a link again now, not after the pause that each has by then.

        At once: as many as there is room for links, up to 128 calls under way, of them 4 to dead members.
        The others follow by themselves, a round each second; this waits for the first round.

        Args:
            timeout: seconds to wait at most for their answers.

        Returns:
            Those that there is a link with now, and was none before.
        """
        node = self._alive()
        ns_of("timeout", timeout)
        before = set(node.core.links.linked_peers())
        tried = await node.runner.ask(lambda request: on.RestoreMembers(request))

        def restored() -> set[NodeId]:
            return set(self._alive().core.links.linked_peers()) - before

        if tried:
            await self._until(lambda: len(restored()) >= tried or None, timeout)
        core = self._alive().core
        found = (views.node_view(core, peer, now()) for peer in sorted(restored()))
        return [view for view in found if view is not None]

    async def cleanup_dead_nodes(self, older_than: float | None = None) -> list[str]:
        """Remove every member that has been dead for longer than this, as `remove_node` does; their ids.

        Args:
            older_than: seconds; the setting `node_timeout` if not given.
        """
        limit_s = self.settings.node_timeout_s if older_than is None else older_than
        limit_ns = ns_of("older_than", limit_s, OLDER_S_MAX)
        forgotten = await self._alive().runner.ask(lambda request: on.Cleanup(request, limit_ns))
        return [node.hex() for node in forgotten]

    async def broadcast_new_node(self) -> None:
        """Say who this node is to all members again, as when it was new."""
        await self._alive().runner.ask(lambda request: on.AnnounceSelf(request))

    # -- this node

    async def update_node(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        capacity: int | None = None,
        zone: str | None = None,
    ) -> NodeView:
        """Change what this node says of itself; all members hear of it. What is None stays.

        Until the node stops: its next run starts with its settings again, so put there what shall last.

        Args:
            labels: all of them; those not named are gone.

        Raises:
            UsageError: a text is too long or not printable, or all of it is too much for one datagram.
        """
        node = self._alive()
        pairs = _pairs_of(labels)
        _check_place(capacity, zone)
        _check_size(node.core.directory.own, pairs, zone)
        await node.runner.ask(lambda request: on.UpdateSelf(request, pairs, capacity, zone))
        return views.own_view(self._alive().core, now())

    async def set_max_connections(self, count: int) -> None:
        """At most this many links from now on, until the node stops; see the setting `max_connections`."""
        if not isinstance(count, int) or not 1 <= count <= CONNECTIONS_MAX:  # type: ignore[redundant-expr]
            raise UsageError(reason=f"count={count!r} is not between 1 and {CONNECTIONS_MAX}")
        await self._alive().runner.ask(lambda request: on.SetConnectionsMax(request, count))

    async def sleep(self, seconds: float) -> None:
        """Fall silent as planned: the others are told, and raise no alarm.

        This node goes on answering its own programs from what it holds. After this time, or when woken,
        it comes back and catches up. Said again during a sleep, it is heard only by datagrams: all links
        are closed then.
        """
        for_ns = ns_of("seconds", seconds, SLEEP_S_MAX)
        await self._alive().runner.ask(lambda request: on.Sleep(request, for_ns))

    async def wake(self) -> bool:
        """End a planned sleep early; whether there was one."""
        return bool(await self._alive().runner.ask(lambda request: on.Wake(request)))

    # -- waiting

    async def _until(self, question: Callable[[], _Found | None], timeout_s: float) -> _Found | None:
        """The first answer that is not None, or None after this time."""
        deadline_s = time.monotonic() + timeout_s
        while (found := question()) is None:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return None
            self._members_moved.clear()
            try:
                await asyncio.wait_for(self._members_moved.wait(), min(left_s, LOOK_AGAIN_S))
            except TimeoutError:
                continue
        return found


async def _names_of(address: str) -> set[str]:
    """The address, and as it is written in numbers. UsageError if it is none that can be called."""
    try:
        host, port = parse_address(address)
    except (ValueError, AttributeError) as error:
        raise UsageError(reason=str(error)) from None
    if port == 0:
        raise UsageError(reason=f"{address!r}: port 0 cannot be called")
    names = {address, format_address(host, port)}
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return names  # The dial will say so.
    return names | {format_address(str(place[0]), port) for *_, place in found}


def _pairs_of(labels: Mapping[str, str] | None) -> tuple[tuple[str, str], ...] | None:
    if labels is None:
        return None
    pairs: list[Any] = [text for pair in labels.items() for text in pair]
    if not all(isinstance(text, str) for text in pairs):
        raise UsageError(reason="names and values of labels are text")
    try:
        check_labels(labels)
    except ConfigError as error:
        raise UsageError(reason=str(error)) from None
    return tuple(sorted(labels.items()))


def _check_size(own: MemberRecord, labels: tuple[tuple[str, str], ...] | None, zone: str | None) -> None:
    """UsageError if the record would not fit a datagram, whatever its numbers become."""
    record = msgspec.structs.replace(
        own,
        labels=own.labels if labels is None else labels,
        zone=own.zone if zone is None else zone,
        capacity=CAPACITY_MAX,
        incarnation=INCARNATION_MAX,
        more=bytes(ANSWER_BYTES),
    )
    size = record_bytes(record)
    if size > RECORD_BYTES_MAX:
        raise UsageError(reason=f"the member record would take {size} bytes; {RECORD_BYTES_MAX} are allowed")


def _check_place(capacity: int | None, zone: str | None) -> None:
    if capacity is not None and not (type(capacity) is int and 0 <= capacity <= CAPACITY_MAX):
        raise UsageError(reason=f"capacity={capacity!r} is no whole number from 0 to {CAPACITY_MAX}")
    if not isinstance(zone, str | None):
        raise UsageError(reason="a zone is text")
    try:
        check_zone(zone or "")
    except ConfigError as error:
        raise UsageError(reason=str(error)) from None
