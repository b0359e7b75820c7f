"""Conflicts as files: versions that stand beside the visible one are shown as conflict copies.

A copy in the folder stands for its version in the mesh. Whoever takes the copy away has settled it: what
the file holds then replaces that version, too. As long as it is there, writes to the file replace
only what the file showed, so nothing that nobody has looked at is ever replaced.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final, NamedTuple

from bellande_mesh_sync.cli.reading import PIECE_BYTES
from bellande_mesh_sync.errors import BellandeMeshError, ConflictError, NotFoundError
from bellande_mesh_sync.share.agreed import Copy, State
from bellande_mesh_sync.share.folder import BusyFileError, SharedFolder
from bellande_mesh_sync.share.local_side import digest_of
from bellande_mesh_sync.share.mesh_side import MeshSide, Remote
from bellande_mesh_sync.share.metadata import metadata_of
from bellande_mesh_sync.share.names import copy_path
from bellande_mesh_sync.share.options import Options, Tell, event
from bellande_mesh_sync.share.planner import Content, plan_copies
from bellande_mesh_sync.share.scanning import Facts
from bellande_mesh_sync.share.transfers import in_parallel, place
from bellande_mesh_sync.values import Siblings, SiblingView

NODE_DIGITS_SHOWN: Final = 8
GONE_S: Final = 0.5
"""A copy is taken for removed after this long."""
HIDDEN_S: Final = 5.0
"""So long the node that wrote a delete may look after the versions that did not know of it."""


class Failure(NamedTuple):
    path: str
    error: BellandeMeshError | OSError


class Conflicts:
    """The conflicts below one prefix, as far as they are known."""

    def __init__(
        self, folder: SharedFolder, state: State, mesh: MeshSide, node: str, options: Options, tell: Tell
    ) -> None:
        self._folder = folder
        self._state = state
        self._mesh = mesh
        self._node = node
        self._options = options
        self._tell = tell
        self._paths: set[str] = set()
        """Where there may be something to do."""
        self._gone_since: dict[str, float] = {}
        """Copies that were not there at the last look."""
        self._hidden_since: dict[str, float] = {}
        """Where a delete hides other versions."""
        self.done = self.busy = 0

    def suspect(self, path: str) -> None:
        """Look at this path in the next round."""
        self._paths.add(path)

    def note(self, path: str, remote: Remote | None) -> None:
        """What the mesh has there now: several versions, or a delete that may hide one, are looked into."""
        if remote is None or remote.siblings > 1 or path in self._state.copies:
            self._paths.add(path)

    def work(self, differs: Mapping[str, Remote | None]) -> list[Failure]:
        """Show, remove and settle, once folder and mesh agree on the visible versions; what failed."""
        self.done = self.busy = 0
        self._hidden_since = {path: at for path, at in self._hidden_since.items() if path in self._paths}
        failures = []
        self._paths |= self._with_copies_gone()
        waiting = [path for path in sorted(self._paths) if path not in differs]
        for path, outcome in in_parallel(self._look, waiting):
            try:
                if isinstance(outcome, NotFoundError):
                    self._clear(path)
                elif isinstance(outcome, Siblings):
                    self._treat(path, outcome)
                else:
                    failures.append(Failure(path, outcome))
            except (BellandeMeshError, OSError) as error:
                failures.append(Failure(path, error))
        return failures

    def _with_copies_gone(self) -> set[str]:
        shown = self._state.copies.items()
        return {path for path, copies in shown for copy in copies.values() if not self._is_there(copy)}

    def _look(self, path: str) -> Siblings:
        return self._mesh.client.siblings(self._mesh.key(path))

    def _treat(self, path: str, found: Siblings) -> None:
        winner, *others = found.siblings
        values = [view for view in others if view.kind == "put"]
        if winner.kind == "delete":
            self._treat_hidden(path, found, values)
            return
        if not others:
            self._clear(path)
            return
        agreed = self._state.agreed.get(path)
        if agreed is None or agreed.version != winner.version:
            return  # Not the one we know: the next round knows more.
        losers = _distinct(agreed.content, values)
        shown = {version: self._is_there(copy) for version, copy in self._state.copies.get(path, {}).items()}
        copies = plan_copies(list(losers), shown, self._options.mode)
        for version in copies.remove:
            self._remove(path, version)
        for version in copies.show:
            self._show(path, losers[version])
        if copies.settle:
            self._resolve(path, winner.version, found)
            self._did("settled_conflict", path)
        if not losers:
            self._collapse(path, found)
        self._paths.discard(path)

    def _treat_hidden(self, path: str, found: Siblings, values: list[SiblingView]) -> None:
        """A delete is the latest, and beside it stand values that it did not know of: they outlive it,
        unless somebody here has seen them as copies and taken those away."""
        if self._options.mode != "both":
            return
        if not self._is_ours_to_bring_back(path, found.siblings[0]):
            return
        shown, busy = self._state.copies.get(path, {}), self.busy
        open_values = [
            view for view in values if view.version not in shown or self._is_there(shown[view.version])
        ]
        if self.busy > busy:
            return  # A copy is only just gone: wait until that is sure.
        kept = open_values[0] if open_values else found.siblings[0]
        self._resolve(path, kept.version, found)
        self._did("restored" if open_values else "settled_conflict", path)
        self._paths.discard(path)

    def _is_ours_to_bring_back(self, path: str, delete: SiblingView) -> bool:
        """The node that deleted knows best; another one steps in if that does nothing."""
        since = self._hidden_since.setdefault(path, time.monotonic())
        return delete.author == self._node or time.monotonic() - since >= HIDDEN_S

    def _collapse(self, path: str, found: Siblings) -> None:
        """All that stands beside the visible version is the same, or deleted: its author makes one of it.

        One node alone, for two that did it at once would have the same again.
        """
        if found.siblings[0].author == self._node and self._options.mode != "receive-only":
            self._resolve(path, found.siblings[0].version, found)

    def _resolve(self, path: str, version: str, found: Siblings) -> None:
        try:
            self._mesh.client.resolve(self._mesh.key(path), version, context=found.context)
        except (ConflictError, NotFoundError):
            return  # Somebody was quicker. The mesh tells what it is now.

    def _is_there(self, copy: Copy) -> bool:
        """Whether a copy is there. One that vanished this moment may be back the next: many programs write
        a file by putting another one in its place."""
        if self._folder.facts(copy.path) is not None:
            self._gone_since.pop(copy.path, None)
            return True
        if time.monotonic() - self._gone_since.setdefault(copy.path, time.monotonic()) >= GONE_S:
            return False
        self.busy += 1
        return True

    def _show(self, path: str, view: SiblingView) -> None:
        node = view.author_name or view.author[:NODE_DIGITS_SHOWN]
        target = copy_path(path, node, view.time_ms)
        facts = self._facts_if_same(target, view)
        if facts is None and self._folder.facts(target) is not None:
            target = copy_path(path, node, view.time_ms, int(view.version.rpartition(".")[2]))
            facts = self._facts_if_same(target, view)
        if facts is None:
            key = self._mesh.key(path)
            with self._mesh.client.open(key, version=view.version) as (entry, pieces):
                facts = place(self._folder, target, entry.content_type, entry.time_ms, pieces, None)
        self._state.add_copy(path, view.version, Copy(target, facts))
        self._did("conflict", path, copy=target, version=view.version, author=view.author)

    def _facts_if_same(self, target: str, view: SiblingView) -> Facts | None:
        """The facts of a copy that was written before a crash, or by an earlier share."""
        facts = self._folder.facts(target)
        if facts is None or facts.size != view.size:
            return None
        with self._folder.read(target) as file:
            digest = digest_of(iter(lambda: file.read(PIECE_BYTES), b""))
        return facts if digest == view.digest else None

    def _remove(self, path: str, version: str) -> None:
        """Take away a copy whose conflict is settled; what somebody wrote into it stays."""
        copy = self._state.copies[path][version]
        try:
            self._folder.delete(copy.path, copy.facts)
        except BusyFileError:
            self._tell(event("kept", copy.path, reason="it was changed, so it stays though it is settled"))
        self._state.drop_copy(path, version)
        self._gone_since.pop(copy.path, None)

    def _clear(self, path: str) -> None:
        for version in list(self._state.copies.get(path, {})):
            self._remove(path, version)
        self._paths.discard(path)

    def _did(self, name: str, path: str, **facts: object) -> None:
        self.done += 1
        self._tell(event(name, path, **facts))


def _distinct(visible: Content, values: list[SiblingView]) -> dict[str, SiblingView]:
    """By version: one of each content that is not the visible one's."""
    found: dict[Content, SiblingView] = {}
    for view in values:
        content = Content(view.digest, metadata_of(view.content_type).executable)
        if content != visible:
            found.setdefault(content, view)
    return {view.version: view for view in found.values()}
