"""Other people's code: objects by their path, module:name, and what installed packages offer by entry points."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

OURS = b"[skilltokens."
"""How the names of our groups of entry points begin, where a package says what it has."""


def object_at(path: str) -> Any:
    """The object at "module:name", modules in the working folder included; raises whatever the import raises."""
    module, _, name = path.partition(":")
    return getattr(module_at(module), name)


def module_at(name: str) -> ModuleType:
    """A module, also one in the working folder; raises whatever the import raises."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a command, unlike a script, does not look for modules where it is started
    return importlib.import_module(name)


def entry_points(group: str, name: str | None = None) -> Sequence[EntryPoint]:
    """The entry points of a group of ours, of all installed packages; those of that name alone, where one is given.

    Where no package has any of ours, as on most machines, importlib.metadata is not loaded: it and its look through all
    packages take as long as all else that `skilltokens list` does.
    """
    folders = tuple(
        (folder, os.stat(folder).st_mtime_ns) for folder in (path or "." for path in sys.path) if os.path.exists(folder)
    )
    if not _has_ours(folders):
        return ()
    from importlib.metadata import entry_points as of_all

    return tuple(of_all(group=group) if name is None else of_all(group=group, name=name))


@functools.lru_cache(maxsize=1)
def _has_ours(folders: Sequence[tuple[str, int]]) -> bool:
    """Whether a package in these folders may have entry points of ours; their times of change are for the cache."""
    for folder, _ in folders:
        if not os.path.isdir(folder):  # an archive, or what another finder knows of
            return True
        for name in os.listdir(folder) if os.access(folder, os.R_OK) else ():
            if name.endswith((".dist-info", ".egg-info")):
                with contextlib.suppress(OSError), open(os.path.join(folder, name, "entry_points.txt"), "rb") as text:
                    if OURS in text.read():
                        return True
    return False
