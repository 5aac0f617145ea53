"""The seed of an episode: all that is drawn in its initial state is drawn from it."""

from __future__ import annotations

import hashlib

from skilltokens.types import Split


def episode_seed(suite: str, task: str, split: Split, index: int) -> int:
    """64 bits of SHA-256 of the episode's name: the same on every machine, in every process and in any order."""
    return int.from_bytes(hashlib.sha256(f"{suite}/{task}/{split}/{index}".encode()).digest()[:8], "big")
