"""skilltokens: grow one frozen robot policy, skill by skill, and never lose one.

`import skilltokens` loads neither torch nor a simulator: each public name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skilltokens.types import SkilltokensError as SkilltokensError

__version__ = "0.1.0"

_HOMES = {
    "SkilltokensError": "skilltokens.types",
}
"""Public name -> the module that defines it."""

__all__ = ["SkilltokensError", "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
