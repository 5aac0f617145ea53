"""How a library refers to the frozen trunk that its base sees through. Free of torch."""

from __future__ import annotations

from msgspec import Struct


class Reference(Struct, frozen=True, forbid_unknown_fields=True):
    """What a library keeps of the trunk that its base sees through."""

    name: str
    digest: str
    """SHA-256 of all that its features depend on but the picture, in hex."""
    source: str
    """Where it comes from, in words."""
    parameters: int
