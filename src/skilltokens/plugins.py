"""Objects of other people's code, by their path, module:name."""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import Any


def object_at(path: str) -> Any:
    """The object at "module:name", modules in the working folder included; raises whatever the import raises."""
    module, _, name = path.partition(":")
    return getattr(module_at(module), name)


def module_at(name: str) -> ModuleType:
    """A module, also one in the working folder; raises whatever the import raises."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a command, unlike a script, does not look for modules where it is started
    return importlib.import_module(name)
