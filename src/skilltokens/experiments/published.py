"""Where published experiments lie, and how they are called."""

from __future__ import annotations

from pathlib import Path

PUBLISHED = Path("results")
"""Seen from the working directory; runs are at results/EXPERIMENT/RUN/run.json."""


def published_names() -> list[str]:
    """The published experiments below the working directory."""
    return sorted({file.parent.parent.name for file in PUBLISHED.glob("*/*/run.json")})
