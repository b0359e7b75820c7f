"""Which paths are not shared: `.bmsignore` in the folder's root, with the rules of .gitignore."""

from __future__ import annotations

from collections.abc import Iterable

import pathspec

from bellande_mesh_sync.errors import BellandeMeshError
from bellande_mesh_sync.share.names import IGNORE_FILE, is_own

IGNORE_BYTES_MAX = 1 << 20


class IgnoreFileError(BellandeMeshError):
    """The ignore file cannot be read. Nothing was shared, for it might be just what must not be."""

    code = "ignore_file_invalid"
    template = "{path}: {reason}"


class Ignores:
    """Rules read from one text. The ignore file itself is shared, so that all nodes have the same rules."""

    def __init__(self, rules: Iterable[str] = ()) -> None:
        lines = list(rules)
        try:
            self._spec = pathspec.GitIgnoreSpec.from_lines(lines)
        except ValueError as error:
            raise IgnoreFileError(path=IGNORE_FILE, reason=str(error)) from None
        self._has_rules = any(line.strip() and not line.lstrip().startswith("#") for line in lines)

    @classmethod
    def of_bytes(cls, content: bytes) -> Ignores:
        if len(content) > IGNORE_BYTES_MAX:
            raise IgnoreFileError(path=IGNORE_FILE, reason=f"it is larger than {IGNORE_BYTES_MAX} bytes")
        try:
            return cls(content.decode("utf-8-sig").splitlines())
        except UnicodeDecodeError:
            raise IgnoreFileError(path=IGNORE_FILE, reason="it is not UTF-8 text") from None

    def skips(self, path: str, *, is_folder: bool = False) -> bool:
        """Whether a path below the root, with `/` between its segments, is left alone.

        Ask for each folder on the way down: what is below one that is skipped is skipped, too.
        """
        if is_own(path.rpartition("/")[2]):
            return True
        return self._has_rules and self._spec.match_file(path + "/" if is_folder else path)

    def skips_below(self, path: str, *, is_folder: bool = False) -> bool:
        """The same for what is not there yet, with all folders on its way."""
        position = path.find("/")
        while position >= 0:
            if self.skips(path[:position], is_folder=True):
                return True
            position = path.find("/", position + 1)
        return self.skips(path, is_folder=is_folder)
