"""Versions as people see and type them: shortened, as long as that names one of a key's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from bellande_mesh_sync.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from bellande_mesh_sync.values import SiblingView, Version

_ID_LENGTH_SHOWN: Final = 12
_PARTS: Final = 3


def short_version(version: str) -> str:
    """For people: who wrote it, and the how manieth of that node's writes it was."""
    node, _, rest = version.partition(".")
    return f"{node[:_ID_LENGTH_SHOWN]}.{rest.rpartition('.')[2]}"


def full_version(key: str, text: str, versions: Sequence[SiblingView | Version]) -> str:
    """The one of these that `text` names: a whole version (left as it is), or one as lists show it.

    Raises:
        NotFoundError: it names none.
        UsageError: it names several.
    """
    if text.count(".") == _PARTS - 1:
        return text
    found = [view.version for view in versions if short_version(view.version) == text]
    if not found:
        raise NotFoundError(what=f"version of {key!r}", name=text)
    if len(found) > 1:
        raise UsageError(reason=f"{text!r} names {len(found)} versions of {key!r}; give the whole one")
    return found[0]
