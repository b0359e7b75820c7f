"""`bms import` and `bms export`: a whole folder in and out, once."""

from __future__ import annotations

import errno
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from bellande_mesh_sync.cli import exits
from bellande_mesh_sync.cli.options import Command, ack_options
from bellande_mesh_sync.cli.session import Session
from bellande_mesh_sync.errors import BellandeMeshError, NotFoundError

if TYPE_CHECKING:
    from bellande_mesh_sync.cli.landing import Landing
    from bellande_mesh_sync.cli.output import Output
    from bellande_mesh_sync.cli.progress import Advance
    from bellande_mesh_sync.cli.walk import Skipped
    from bellande_mesh_sync.client import Client, ExportItem

_SECTION = "Folders"
_FAILURES_KEPT_MAX = 1000
"""In the JSON summary; the count is always exact."""

# On these no other file will fare better.
_HOPELESS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})


class DamagedValueError(BellandeMeshError):
    """The bytes that came do not fit the value's digest. Nothing was written."""

    code = "value_damaged"
    template = "the bytes of {key!r} do not fit its digest"


@dataclass
class Tally:
    """What was done and what went wrong. Failures are told as they happen, to a person, and kept for JSON."""

    output: Output
    files: int = 0
    size: int = 0
    failed: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)
    _start: float = field(default_factory=time.monotonic)

    def add(self, size: int) -> None:
        self.files += 1
        self.size += size

    def fail(self, path: str, code: str, reason: str) -> None:
        self.failed += 1
        if len(self.failures) < _FAILURES_KEPT_MAX:
            self.failures.append({"path": path, "code": code, "message": reason})
        self.output.note(f"failed ({code}): {path}: {reason}")

    def document(self, **more: Any) -> dict[str, Any]:
        return {
            "files": self.files,
            "bytes": self.size,
            "seconds": round(time.monotonic() - self._start, 3),
            **more,
            "failed": self.failed,
            "failures": self.failures,
        }

    def sentence(self, verb: str) -> str:
        from bellande_mesh_sync.cli.output import human_bytes

        seconds = time.monotonic() - self._start
        rate = human_bytes(self.size / max(seconds, 1e-3))
        return f"{verb} {self.files} files, {self.size} bytes, in {seconds:.2f} s ({rate}/s)"


@click.command(
    "import",
    cls=Command,
    section=_SECTION,
    examples=("bms import ./maps --as fleet/maps", "bms import /srv/photos --as photos --ack quorum"),
)
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@click.option("--as", "prefix", metavar="PREFIX", required=True, help="Keys are PREFIX/path/below/DIR.")
@ack_options
@click.pass_obj
def import_folder(session: Session, folder: str, prefix: str, ack: str | None, timeout: float | None) -> int:
    """Write every file below DIR as a key below PREFIX, once.

    Regular files only: symbolic links, sockets and devices are skipped and counted. Names become
    Unicode form NFC. What cannot be imported is listed, the rest is imported all the same, and the
    exit code is 1 then.
    """
    from bellande_mesh_sync.cli.importing import Importer, measure
    from bellande_mesh_sync.cli.progress import bar, is_shown
    from bellande_mesh_sync.cli.walk import Walk
    from bellande_mesh_sync.keys import check_prefix

    check_prefix(prefix)
    output = session.output()
    walk, tally = Walk(folder, prefix), Tally(output)
    total_files, total_bytes = measure(walk) if is_shown(session.json) else (None, None)
    with (
        session.client() as client,
        bar("import", as_json=session.json, total_bytes=total_bytes, total_files=total_files) as advance,
    ):
        importer = Importer(client, tally, advance, {"ack": ack, "timeout": timeout})
        try:
            importer.run(walk)
        except BellandeMeshError:
            output.note(f"broke off; {tally.sentence('until then imported')}")
            raise
    return _summarize_import(output, tally, walk.skipped)


@click.command(
    "export",
    cls=Command,
    section=_SECTION,
    examples=("bms export fleet/maps ./maps", "bms export photos /mnt/backup/photos"),
)
@click.argument("prefix")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False))
@click.pass_obj
def export_folder(session: Session, prefix: str, folder: str) -> int:
    """Write every key below PREFIX as a file below DIR, once.

    Files that are there are replaced, each as a whole; other files are left alone, and symbolic links
    below DIR are never followed. What cannot be a file is listed, and the exit code is 1 then.
    """
    from bellande_mesh_sync.cli.landing import Landing
    from bellande_mesh_sync.cli.progress import bar, is_shown
    from bellande_mesh_sync.client_errors import translated
    from bellande_mesh_sync.keys import check_prefix

    check_prefix(prefix)
    base = prefix.rstrip("/") + "/" if prefix else ""
    output = session.output()
    tally = Tally(output)
    # Values are read while they are written, and that is where a connection breaks.
    with session.client() as client, translated(client.api_url):
        total_files, total_bytes = _measure_keys(client, base) if is_shown(session.json) else (None, None)
        items = client.export_items(base)
        first = next(items, None)
        if first is None:
            # Before the folder is made: a typing error should leave no trace.
            raise NotFoundError(f"there is no key below {base!r}", what="key", name=base)
        with (
            Landing(folder) as landing,
            bar("export", as_json=session.json, total_bytes=total_bytes, total_files=total_files) as advance,
        ):
            _export_one(first, base, landing, tally, advance)
            for item in items:
                _export_one(item, base, landing, tally, advance)
    output.result(tally.document(), f"{tally.sentence('exported')}; failed {tally.failed}")
    return exits.FAILED if tally.failed else exits.DONE


def _export_one(item: ExportItem, base: str, landing: Landing, tally: Tally, advance: Advance) -> None:
    from blake3 import blake3

    from bellande_mesh_sync.cli.landing import PathConflictError, UnsafePathError, relative_segments

    if item.error is not None:
        tally.fail(item.key, item.error.code, str(item.error))
        return
    digest = blake3()
    try:
        with landing.file(relative_segments(item.key, base)) as file:
            for piece in item.pieces:
                file.write(piece)
                digest.update(piece)
                advance(0, len(piece))
            if digest.hexdigest() != item.digest:
                raise DamagedValueError(key=item.key)
    except (UnsafePathError, PathConflictError, DamagedValueError) as error:
        tally.fail(item.key, error.code, str(error))
    except OSError as error:
        if error.errno in _HOPELESS:
            raise
        tally.fail(item.key, "file_error", error.strerror or str(error))
    else:
        tally.add(item.size)
        advance(1, 0)


def _measure_keys(client: Client, base: str) -> tuple[int, int]:
    found = client.digest(base)
    return int(found["records"]), int(found["bytes"])


def _summarize_import(output: Output, tally: Tally, skipped: Skipped) -> int:
    if skipped.links:
        output.note(f"skipped {skipped.links} symbolic links: they are neither followed nor stored")
    if skipped.specials:
        output.note(f"skipped {skipped.specials} sockets, pipes and devices")
    total = skipped.links + skipped.specials
    document = tally.document(skipped={"links": skipped.links, "specials": skipped.specials})
    output.result(document, f"{tally.sentence('imported')}; skipped {total}; failed {tally.failed}")
    return exits.FAILED if tally.failed else exits.DONE
