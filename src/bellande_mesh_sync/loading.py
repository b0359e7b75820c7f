"""Functions of users by name: `module:function`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bellande_mesh_sync.errors import ConfigError


def load_function(name: str, field: str, folder: Path | None = None) -> Callable[..., Any]:
    """The function that `name` stands for; `folder` is searched first.

    Raises:
        ConfigError: naming `field`, if it is not written as `module:function`, or there is no such thing.
    """
    module_name, colon, attribute = name.partition(":")
    if not colon or not all(module_name.split(".")) or not attribute:
        raise ConfigError(field=field, reason=f"{name!r}: a function is written as module:function")
    if folder is not None and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        reason = str(error) if isinstance(error, ImportError) else f"{module_name} raises {error!r}"
        raise ConfigError(field=field, reason=f"{name!r}: {reason}") from error
    function = getattr(module, attribute, None)
    if not callable(function):
        raise ConfigError(field=field, reason=f"{name!r}: {module_name} has no function {attribute}")
    loaded: Callable[..., Any] = function
    return loaded
