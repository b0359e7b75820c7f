"""Watching keys: the part of `Mesh` that tells of changes as they happen, and of those that were missed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress

from bellande_mesh_sync.core import effects as do
from bellande_mesh_sync.core.data.record import Record, order_of
from bellande_mesh_sync.errors import CursorGoneError, NotRunningError
from bellande_mesh_sync.feeds import Feeds, Watch
from bellande_mesh_sync.keys import check_prefix
from bellande_mesh_sync.observe import views
from bellande_mesh_sync.observe.cursors import Cursor, cursor_text, known_under, parse_cursor
from bellande_mesh_sync.shell.assembly import Assembly
from bellande_mesh_sync.shell.replaying import Replay
from bellande_mesh_sync.shell.runner import now
from bellande_mesh_sync.values import Change, Entry


class WatchCalls(ABC):
    """Changes of keys, wherever made, once they are durable here."""

    _feeds: Feeds

    @abstractmethod
    def _alive(self) -> Assembly:
        """The node; NotRunningError if it does not run."""

    @abstractmethod
    def _entry(self, siblings: tuple[Record, ...], wall_ms: int) -> tuple[Record, Entry] | None:
        """What a reader of these siblings sees."""

    def watch(self, prefix: str = "", *, cursor: str | None = None) -> Watch:
        """Changes of keys with this prefix, wherever made, once they are durable here.

        Args:
            cursor: go on from where another watch was: `cursor` of that one, of this node or another one of
                the mesh. Each key that was written or deleted since is told once, as it is now and in no
                order, then what happens. "": from the beginning, so all there is. None: from now on.

        Raises:
            CursorGoneError: what was missed since is no longer known; go on with "".
            UsageError: it is no cursor, or one of other keys.
        """
        node = self._alive()
        check_prefix(prefix)
        mesh_id = node.identity.mesh_id
        told = "" if cursor is None else cursor
        since = None if cursor is None else parse_cursor(cursor, mesh_id, prefix)
        if since is not None:
            self._check_deletes(node, since, prefix)
        watch = self._feeds.watch(prefix, lambda: self._cursor_now(prefix), told)
        if since is not None:
            known = known_under(prefix, node.core.replica)
            missed = [(shard, since.missing_from(shard, delta)) for shard, delta in known]

            def show(records: Sequence[Record]) -> list[Change]:
                return self._shown(node, prefix, records, tells_deletes=bool(since.seen))

            watch.replay(
                Replay(node.store, node.runner.executor, [each for each in missed if each[1]], show).page
            )
        return watch

    def _check_deletes(self, node: Assembly, since: Cursor, prefix: str) -> None:
        replica = node.core.replica
        for shard, _ in known_under(prefix, replica):
            if since.may_lack_deletes(shard, replica.shard(shard).collected):
                raise CursorGoneError(reason="deletes since it was made have been forgotten")

    def _cursor_now(self, prefix: str) -> str:
        """Of a watch that has been told all that happened; "" once the node is stopped."""
        with suppress(NotRunningError):
            node = self._alive()
            return cursor_text(node.identity.mesh_id, prefix, node.core.replica)
        return ""

    def _shown(
        self, node: Assembly, prefix: str, records: Sequence[Record], *, tells_deletes: bool
    ) -> list[Change]:
        keys = list(dict.fromkeys(record.key for record in records if record.key.startswith(prefix)))
        wall_ms = now().wall_ms
        changes: list[Change] = []
        for siblings in node.store.siblings(keys):
            found = self._entry(siblings, wall_ms)
            if siblings and (found or tells_deletes):
                changes.append(views.change_of(max(siblings, key=order_of), found[1] if found else None))
        return changes

    def _changed(self, effect: do.Changed) -> None:
        if not self._feeds.has_watches:
            return
        keys = {record.key: record for record in effect.records if self._feeds.is_watched(record.key)}
        wall_ms = now().wall_ms
        stored = self._alive().store.siblings(list(keys))
        for record, siblings in zip(keys.values(), stored, strict=True):
            found = self._entry(siblings, wall_ms)
            self._feeds.changed(views.change_of(record, found[1] if found else None))
