"""How a method is found, by name, before torch is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Registration:
    """A method's entry in the table. `target` is "module:Class", imported (with torch) only when the method runs."""

    summary: str
    target: str
    settings: type[Any]
