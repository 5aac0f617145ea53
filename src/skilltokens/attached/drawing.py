"""What a policy of another make draws at random, made a function of a seed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch


@contextlib.contextmanager
def drawn_from(seed: int, devices: Iterable[torch.device]) -> Iterator[None]:
    """Within it torch draws from `seed`, on the CPU and on these devices; behind it as if nothing had been drawn."""
    with torch.random.fork_rng(list({device for device in devices if device.type != "cpu"})):
        torch.manual_seed(seed)
        yield
