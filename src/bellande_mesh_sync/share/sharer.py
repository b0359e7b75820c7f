"""One share at work: what is known of both sides, and rounds that bring them to the same.

A round looks at every path on which the two may differ, plans its step, and carries the steps out: new
content first and deletes last, so that what was renamed is never gone from both names at once. What
fails stays different, and so comes up again in a later round.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from bellande_mesh_sync.cli.reading import FileChangedError, NotAFileError
from bellande_mesh_sync.errors import (
    BellandeMeshError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    NotRunningError,
    TransportError,
    UnauthorizedError,
)
from bellande_mesh_sync.share.agreed import Agreed, State
from bellande_mesh_sync.share.conflicts import Conflicts
from bellande_mesh_sync.share.first_fill import Wanted, fill, is_first_fill
from bellande_mesh_sync.share.folder import BusyFileError, SharedFolder
from bellande_mesh_sync.share.ignores import Ignores
from bellande_mesh_sync.share.local_side import Local, local_of
from bellande_mesh_sync.share.mesh_side import NOTHING_SEEN, MeshSide, Remote
from bellande_mesh_sync.share.names import folder_of_mark, mark_of
from bellande_mesh_sync.share.options import Options, Tell, event
from bellande_mesh_sync.share.planner import Step, is_emptied, plan
from bellande_mesh_sync.share.scanning import Scan
from bellande_mesh_sync.share.transfers import (
    Upload,
    download,
    in_parallel,
    upload_bulk,
    upload_one,
)
from bellande_mesh_sync.values import Change

BATCH_FILES_MAX: Final = 1_000
BATCH_BYTES_MAX: Final = 16 << 20
TOLD_MAX: Final = 10_000

# After these no other path would fare better: the caller waits for the node.
HOPELESS: Final = (TransportError, UnauthorizedError, ForbiddenError, NotRunningError)
_BUSY: Final = (BusyFileError, FileChangedError)


_VERBS: Final = {
    Step.UPLOAD: "upload",
    Step.UPLOAD_BESIDE: "upload_beside",
    Step.DOWNLOAD: "download",
    Step.DELETE_REMOTE: "delete_remote",
    Step.DELETE_LOCAL: "delete_local",
}


class EmptiedError(BellandeMeshError):
    """One side has lost everything that was agreed. Nothing was deleted on the other one."""

    code = "share_emptied"
    template = (
        "{where} has none of the {count} files any more that were shared; if that is meant, say so with "
        "--allow-empty, and if not, --start-over brings them back from the other side"
    )


class Planned(NamedTuple):
    """A step that is due."""

    path: str
    step: Step
    local: Local | None
    remote: Remote | None


class Outcome(NamedTuple):
    """How a round ended."""

    done: int
    """Steps carried out."""
    busy: int
    """Files that are being written: try again at once."""
    failed: int
    """Steps that failed: try again in a while."""


class Sharer:
    """Holds what is known of both sides; not for use by several threads."""

    def __init__(
        self,
        folder: SharedFolder,
        identity: str,
        state: State,
        mesh: MeshSide,
        node: str,
        options: Options,
        tell: Tell,
    ) -> None:
        self._folder = folder
        self._identity = identity
        self._state = state
        self._mesh = mesh
        self._options = options
        self._tell = tell
        self._differs: dict[str, Remote | None] = {}
        """What the mesh has where that is another version than the agreed one."""
        self._told: dict[str, str] = {}
        """Path -> the code of what was told about it and still holds."""
        self._conflicts = Conflicts(folder, state, mesh, node, options, tell)
        self._done = self._busy = self._failed = 0
        self.folders: list[str] = [""]
        """All folders at the last look, as on disk."""
        self._ignores = Ignores()

    # -- what the mesh has

    def list_mesh(self) -> None:
        """Compare all the mesh has with what was agreed. EmptiedError if all of it is gone."""
        self._ignores = self._folder.ignores()
        left = set(self._state.agreed)
        count = len(left)
        self._differs.clear()
        for path, remote in self._mesh.listing(self._ignores):
            left.discard(path)
            self._take(path, remote)
        if self._is_emptied(count, count - len(left)):
            raise EmptiedError(where=f"the mesh, below {self._mesh.base!r},", count=count)
        for path in left:
            self._take(path, None)
        for path in [*self._state.copies, *self._mesh.conflicts(self._ignores)]:
            self._conflicts.suspect(path)

    def note(self, change: Change) -> None:
        """A change that the mesh told of."""
        found = self._mesh.changed(change, self._ignores)
        if found is not None:
            self._take(*found)
            self._conflicts.note(*found)

    def _take(self, path: str, remote: Remote | None) -> None:
        agreed = self._state.agreed.get(path)
        if (agreed.version if agreed else None) != (remote.version if remote else None):
            self._differs[path] = remote
            return
        self._differs.pop(path, None)
        if agreed is not None and remote is not None and not agreed.context and remote.siblings == 1:
            self._state.agree(path, agreed._replace(context=remote.context))

    # -- a round

    def round(self) -> Outcome:
        """Bring both sides to the same as far as it goes now.

        Raises:
            FolderLostError, EmptiedError: nothing was changed, and no later round will do better.
            TransportError and the like: the node; what was done until then is kept.
        """
        self._done = self._busy = self._failed = 0
        self._folder.check(self._identity)
        self._ignores = self._folder.ignores()
        found = self._folder.scan(self._mesh.base, self._ignores)
        self.folders = found.folders
        if not self._options.dry_run:
            self._folder.remove_leftovers(found)
        self._tell_issues(found)
        try:
            self._work(found)
            self._settle_conflicts()
        finally:
            self._commit()
        return Outcome(self._done, self._busy, self._failed)

    def _work(self, found: Scan) -> None:
        later: list[Planned] = []
        batch: list[Upload] = []
        size = 0
        for path in self._candidates(found):
            planned = self._plan(path, found)
            if planned is None:
                continue
            upload = self._as_upload(planned) if planned.step in (Step.UPLOAD, Step.UPLOAD_BESIDE) else None
            if upload is None or not upload.is_bulk:
                # Without its bytes: memory is bounded by a batch.
                local = planned.local._replace(data=None) if planned.local is not None else None
                later.append(planned._replace(local=local))
                continue
            batch.append(upload)
            size += len(upload.local.data or b"")
            if len(batch) >= BATCH_FILES_MAX or size >= BATCH_BYTES_MAX:
                self._upload_bulk(batch)
                batch, size = [], 0
        self._upload_bulk(batch)
        self._carry_out(later)

    def _settle_conflicts(self) -> None:
        if self._options.dry_run:
            return
        self._commit()
        for failure in self._conflicts.work(self._differs):
            self._fail(*failure)
        self._done += self._conflicts.done
        self._busy += self._conflicts.busy

    def _candidates(self, found: Scan) -> list[str]:
        """Every path on which the two sides may differ. EmptiedError if the folder lost all of many files."""
        agreed = self._state.agreed
        candidates = set(self._differs)
        for path, seen in found.files.items():
            known = agreed.get(path)
            if known is None or known.facts != seen.facts:
                candidates.add(path)
        marks = {mark_of(folder) for folder in found.empty_folders}
        candidates.update(mark for mark in marks if mark not in agreed)
        missing = [path for path in agreed if path not in found.files and path not in marks]
        is_news = any(path not in self._differs for path in missing)
        if is_news and self._is_emptied(len(agreed), len(agreed) - len(missing)):
            raise EmptiedError(where=self._folder.path, count=len(missing))
        for path in missing:
            if self._is_ignored(path):
                self._state.forget(path)  # A rule is newer than the file: both sides keep what they have.
                candidates.discard(path)
            else:
                candidates.add(path)
        return sorted(candidates)

    def _is_emptied(self, agreed_count: int, left_count: int) -> bool:
        return not self._options.allow_empty and is_emptied(agreed_count, left_count)

    def _is_ignored(self, path: str) -> bool:
        folder = folder_of_mark(path)
        return (
            self._ignores.skips_below(folder, is_folder=True) if folder else self._ignores.skips_below(path)
        )

    def _remote(self, path: str) -> Remote | None:
        if path in self._differs:
            return self._differs[path]
        agreed = self._state.agreed.get(path)
        return Remote(agreed.content, agreed.version, agreed.context, 1) if agreed is not None else None

    def _context_of(self, path: str, remote: Remote) -> str | None:
        """What a write in place of this very version has seen, and no more; None if it is gone."""
        if remote.siblings == 1 and remote.context:
            return remote.context
        try:
            return self._mesh.client.head(self._mesh.key(path), version=remote.version).context
        except NotFoundError:
            self._look(path)
            return None

    def _plan(self, path: str, found: Scan) -> Planned | None:
        """The step of a path; None if nothing is left to do for it."""
        agreed, remote = self._state.agreed.get(path), self._remote(path)
        try:
            local = local_of(path, self._folder, found, agreed, must_read=remote is not None)
        except _BUSY:
            self._busy += 1
            return None
        except (OSError, NotAFileError) as error:
            self._fail(path, error)
            return None
        step = self._step(agreed, local, remote)
        if self._needs_proof(step, path, agreed):
            remote = self._look(path)
            step = self._step(agreed, local, remote)
        match step:
            case Step.NOTHING | Step.AGREE:
                self._agree_without_transfer(path, local, remote)
                return None
            case Step.FORGET:
                self._forget(path)
                return None
            case Step.HOLD:
                self._tell_once(path, "held", facts={"reason": "this share does not write there"})
                return None
        if self._options.dry_run:
            self._did(f"would_{_VERBS[step]}", path)
            return None
        return Planned(path, step, local, remote)

    def _step(self, agreed: Agreed | None, local: Local | None, remote: Remote | None) -> Step:
        return plan(
            agreed.content if agreed is not None else None,
            local.content if local is not None else None,
            remote.content if remote is not None else None,
            self._options.mode,
        )

    def _needs_proof(self, step: Step, path: str, agreed: Agreed | None) -> bool:
        """What the mesh told may be older than what we wrote since: before a step that rests on it, and
        that could do harm, it is asked again."""
        if path not in self._differs or agreed is None:
            return False
        return step in (Step.UPLOAD_BESIDE, Step.DELETE_LOCAL, Step.UPLOAD, Step.FORGET)

    def _look(self, path: str) -> Remote | None:
        remote = self._mesh.look(path)
        self._take(path, remote)
        return remote

    def _agree_without_transfer(self, path: str, local: Local | None, remote: Remote | None) -> None:
        """Both have the same: write down the version and the facts, if they are new."""
        if local is None or remote is None:
            self._forget(path)
            return
        known = self._state.agreed.get(path)
        if known is not None and (known.version, known.facts) == (remote.version, local.facts):
            self._differs.pop(path, None)
            return
        context = remote.context if remote.siblings == 1 else ""
        self._agree(path, Agreed(remote.content, remote.version, context, local.facts))

    # -- carrying out

    def _carry_out(self, later: list[Planned]) -> None:
        by_step: dict[Step, list[Planned]] = {step: [] for step in Step}
        for planned in later:
            by_step[planned.step].append(planned)
        for planned in [*by_step[Step.UPLOAD], *by_step[Step.UPLOAD_BESIDE]]:
            self._upload_one(planned)
        # Before new files come, for one may need the name of a folder that is to go, or the other way round.
        for planned in reversed(by_step[Step.DELETE_LOCAL]):
            self._delete_local(planned)
        self._download(by_step[Step.DOWNLOAD])
        self._delete_remote(by_step[Step.DELETE_REMOTE])

    def _as_upload(self, planned: Planned) -> Upload | None:
        """The write that this step is; None if what it may replace has to be asked for first."""
        assert planned.local is not None
        if planned.step is Step.UPLOAD_BESIDE:
            agreed = self._state.agreed.get(planned.path)
            return Upload(planned.path, planned.local, (agreed.context if agreed else "") or NOTHING_SEEN)
        if planned.remote is None:
            return Upload(planned.path, planned.local, None)
        context = planned.remote.context if planned.remote.siblings == 1 else ""
        return Upload(planned.path, planned.local, context) if context else None

    def _upload_bulk(self, batch: list[Upload]) -> None:
        if not batch:
            return
        for upload, outcome in upload_bulk(self._mesh, batch):
            self._uploaded(upload.path, outcome)
        self._commit()

    def _upload_one(self, planned: Planned) -> None:
        upload = self._as_upload(planned)
        if upload is None:
            context = self._context_of(planned.path, planned.remote) if planned.remote is not None else None
            if context is None or planned.local is None:
                self._busy += 1
                return
            upload = Upload(planned.path, planned.local, context)
        try:
            outcome: Agreed | BellandeMeshError | OSError = upload_one(self._mesh, self._folder, upload)
        except (BellandeMeshError, OSError) as error:
            outcome = error
        self._uploaded(planned.path, outcome)
        self._commit()

    def _uploaded(self, path: str, outcome: Agreed | BellandeMeshError | OSError) -> None:
        if isinstance(outcome, Agreed):
            self._agree(path, outcome)
            self._did("uploaded", path, size=outcome.facts.size, version=outcome.version)
        elif isinstance(outcome, ConflictError):
            # Somebody was quicker: see what is there, and plan again.
            self._look(path)
            self._busy += 1
        else:
            self._fail(path, outcome)

    def _download(self, wanted: list[Planned]) -> None:
        if is_first_fill(len(wanted), len(self._state.agreed)):
            wanted = self._fill(wanted)

        def fetch(planned: Planned) -> Agreed | None:
            return download(self._mesh, self._folder, planned.path, planned.local)

        for count, (planned, outcome) in enumerate(in_parallel(fetch, wanted), 1):
            if outcome is None:
                self._look(planned.path)
                self._busy += 1
            else:
                self._downloaded(planned.path, outcome)
            if count % BATCH_FILES_MAX == 0:
                self._commit()
        self._commit()

    def _fill(self, wanted: list[Planned]) -> list[Planned]:
        """Download as many as one stream brings; the others."""
        rest = {planned.path: planned for planned in wanted}
        files = {each.path: Wanted(each.local, each.remote) for each in wanted if each.remote is not None}
        for count, (path, outcome) in enumerate(fill(self._mesh, self._folder, files), 1):
            del rest[path]
            self._downloaded(path, outcome)
            if count % BATCH_FILES_MAX == 0:
                self._commit()
        return list(rest.values())

    def _downloaded(self, path: str, outcome: Agreed | BellandeMeshError | OSError) -> None:
        if isinstance(outcome, Agreed):
            self._agree(path, outcome)
            self._did("downloaded", path, size=outcome.facts.size, version=outcome.version)
        else:
            self._fail(path, outcome)

    def _delete_local(self, planned: Planned) -> None:
        folder = folder_of_mark(planned.path)
        try:
            if folder:
                self._folder.remove_folder(folder)
            elif planned.local is not None:
                self._folder.delete(planned.path, planned.local.facts)
        except (BellandeMeshError, OSError) as error:
            self._fail(planned.path, error)
            return
        self._forget(planned.path)
        self._did("deleted_local", planned.path)

    def _delete_remote(self, wanted: list[Planned]) -> None:
        contexts: list[tuple[Planned, str]] = []
        for planned in wanted:
            context = self._context_of(planned.path, planned.remote) if planned.remote is not None else None
            if context is None:
                self._busy += 1
            else:
                contexts.append((planned, context))

        def delete(item: tuple[Planned, str]) -> str:
            try:
                return self._mesh.client.delete(self._mesh.key(item[0].path), context=item[1]).version
            except NotFoundError:
                return ""

        for (planned, _), outcome in in_parallel(delete, contexts):
            if isinstance(outcome, str):
                self._forget(planned.path)
                self._did("deleted_remote", planned.path)
            else:
                self._fail(planned.path, outcome)
        self._commit()

    # -- writing down and telling

    def _agree(self, path: str, agreed: Agreed) -> None:
        self._state.agree(path, agreed)
        self._differs.pop(path, None)
        self._told.pop(path, None)

    def _forget(self, path: str) -> None:
        self._state.forget(path)
        self._differs.pop(path, None)
        self._told.pop(path, None)

    def _commit(self) -> None:
        if self._options.dry_run:
            return
        self._folder.sync()
        self._state.commit()

    def _did(self, name: str, path: str, **facts: object) -> None:
        self._done += 1
        self._tell(event(name, path, **facts))

    def _fail(self, path: str, error: BellandeMeshError | OSError) -> None:
        if isinstance(error, _BUSY):
            self._busy += 1
            return
        if isinstance(error, HOPELESS):
            raise error
        self._failed += 1
        code = error.code if isinstance(error, BellandeMeshError) else "file_error"
        reason = str(error) if isinstance(error, BellandeMeshError) else error.strerror or str(error)
        self._tell_once(path, "failed", facts={"code": code, "reason": reason})

    def _tell_issues(self, found: Scan) -> None:
        for issue in found.issues:
            self._tell_once(issue.path, "not_shared", facts={"code": issue.code, "reason": issue.reason})

    def _tell_once(self, path: str, name: str, *, facts: dict[str, str]) -> None:
        """Tell of something that will hold at the next look too, and then not again."""
        what = f"{name}:{facts.get('code', '')}"
        if self._told.get(path) == what:
            return
        if len(self._told) >= TOLD_MAX:
            self._told.clear()
        self._told[path] = what
        self._tell(event(name, path, **facts))
