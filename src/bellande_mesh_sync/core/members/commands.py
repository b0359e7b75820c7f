"""What programs can say about members: add, remove, describe ourselves, sleep and wake."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from bellande_mesh_sync.core.effects import Effect, Reject, Resolve, SetTimer
from bellande_mesh_sync.core.events import (
    AddMember,
    AddressesChanged,
    AnnounceSelf,
    Cleanup,
    RemoveMember,
    RestoreMembers,
    SealKeyChanged,
    SetConnectionsMax,
    Sleep,
    UpdateSelf,
    Wake,
)
from bellande_mesh_sync.core.members.member import MemberState
from bellande_mesh_sync.core.members.membership import Membership
from bellande_mesh_sync.core.session.links import Links
from bellande_mesh_sync.core.session.switchboard import Switchboard
from bellande_mesh_sync.core.timers import WakeDue
from bellande_mesh_sync.ids import NodeId, Now

SLEEPING: Final = "the node sleeps, as planned"
SECOND_NS: Final = 1_000_000_000


class MemberCommands:
    def __init__(self, membership: Membership, switchboard: Switchboard, links: Links) -> None:
        self._membership = membership
        self._switchboard = switchboard
        self._links = links
        self._sleep = 0
        """The sleep that goes on, or the last one."""

    # -- others

    def add(self, command: AddMember, now: Now) -> list[Effect]:
        return [*self._switchboard.add(command.addresses, now), Resolve(command.request, None)]

    def remove(self, command: RemoveMember, now: Now) -> list[Effect]:
        member = self._membership.directory.get(command.node)
        if command.node == self._membership.me.node:
            facts = {"node": command.node.hex(), "state": MemberState.ALIVE.value}
            return [Reject(command.request, "still_member", facts)]
        if member is None:
            facts = {"what": "node", "name": command.node.hex()}
            return [Reject(command.request, "not_found", facts)]
        is_removed, effects = self._membership.remove(command.node, now)
        if not is_removed:
            facts = {"node": command.node.hex(), "state": member.state.value}
            return [*effects, Reject(command.request, "still_member", facts)]
        self._switchboard.forget(command.node)
        return [*effects, Resolve(command.request, True)]

    def clean_up(self, command: Cleanup, now: Now) -> list[Effect]:
        removed, effects = self._membership.cleanup(command.older_than_ns, now)
        for node in removed:
            self._switchboard.forget(node)
        return [*effects, Resolve(command.request, tuple(removed))]

    def restore(self, command: RestoreMembers, now: Now) -> list[Effect]:
        count, effects = self._switchboard.retry_all(now)
        return [*effects, Resolve(command.request, count)]

    # -- ourselves

    def announce(self, command: AnnounceSelf, now: Now) -> list[Effect]:
        return [*self._membership.announce(now), Resolve(command.request, None)]

    def update(self, command: UpdateSelf, now: Now) -> list[Effect]:
        fields = ("labels", "capacity", "zone")
        given: dict[str, Any] = {name: getattr(command, name) for name in fields}
        changes = {name: value for name, value in given.items() if value is not None}
        me = replace(self._membership.me, **changes)
        return [*self._membership.change_self(me, now), Resolve(command.request, None)]

    def move(self, event: AddressesChanged, now: Now) -> list[Effect]:
        """Links may lead nowhere now, so each is tried at once."""
        effects = self._membership.change_self(replace(self._membership.me, addresses=event.addresses), now)
        for link in self._links.records_links():
            effects += self._switchboard.doubt(link, now)
        return effects

    def doubt(self, node: NodeId, now: Now) -> list[Effect]:
        """It is silent, or says that it is reached elsewhere: the link with it may lead nowhere."""
        link = self._links.to(node)
        return [] if link is None else self._switchboard.doubt(link, now)

    def change_key(self, event: SealKeyChanged, now: Now) -> list[Effect]:
        me = replace(self._membership.me, seal_key=event.seal_key)
        return self._membership.change_self(me, now)

    def set_connections_max(self, command: SetConnectionsMax, now: Now) -> list[Effect]:
        self._switchboard.connections_max = command.count
        return [*self._switchboard.trim(now), Resolve(command.request, None)]

    # -- planned silence

    def sleep(self, command: Sleep, now: Now) -> list[Effect]:
        effects: list[Effect] = []
        was_asleep = self._membership.is_asleep
        effects += self._membership.sleep(-(-command.for_ns // SECOND_NS), now)
        if not was_asleep:
            self._switchboard.closed_because = SLEEPING
            effects += self._switchboard.hang_up_all("closing", SLEEPING, now)
        self._sleep += 1
        wake_ns = now.mono_ns + command.for_ns
        return [*effects, SetTimer(WakeDue(self._sleep), wake_ns), Resolve(command.request, None)]

    def wake_due(self, timer: WakeDue, now: Now) -> list[Effect]:
        return self._wake(now) if timer.sleep == self._sleep else []

    def wake(self, command: Wake, now: Now) -> list[Effect]:
        was_asleep = self._membership.is_asleep
        return [*self._wake(now), Resolve(command.request, was_asleep)]

    def _wake(self, now: Now) -> list[Effect]:
        if not self._membership.is_asleep:
            return []
        self._switchboard.closed_because = ""
        return self._membership.wake(now) + self._switchboard.retry_all(now)[1]
