"""`python -m benchmarks.peers`: as `python -m benchmarks`, with other people's code as the reference."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks import __main__ as benchmarks
from benchmarks.peers import acting, layers, lora, pictures, rewards, sources, training

PEERS: dict[str, benchmarks.Benchmark] = {
    "LIBERO training": training.run,
    "LIBERO acting": acting.run,
    "LIBERO pictures": pictures.run,
    "TokenFormer": layers.run,
    "PEFT": lora.run,
    "Stable-Baselines3": rewards.run,
}


def main(words: Sequence[str] | None = None) -> int:
    """Returns 0, or 2 where a peer is not there (its rows are then not measured; the others are)."""
    return benchmarks.main(words, PEERS, "python -m benchmarks.peers", sources.versions)


if __name__ == "__main__":
    sys.exit(main())
