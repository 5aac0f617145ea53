"""Features once: what frozen trunks make of the pictures of a lesson's demonstrations, for training to learn from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from skilltokens.demos.store import DemonstrationStore
from skilltokens.model.images import CHANNELS, ImageEncoder
from skilltokens.model.kept import Entry, in_memory, kept
from skilltokens.model.trunked import TrunkEncoder
from skilltokens.types import Array, DemonstrationError, Report, silent

MEMORY = 4_000_000_000
"""Limit for features that are kept in memory, in bytes."""
_PIECE = 128  # pictures in one call of a trunk that was trained


@torch.no_grad()
def precomputed(
    encoders: Mapping[str, nn.Module],
    stores: Sequence[DemonstrationStore],
    device: str,
    limit: float = 0.0,
    report: Report = silent,
) -> dict[str, list[Array]]:
    """The features that frozen trunks give all pictures: name -> for each store (steps, rows, columns, channels) in
    float16.

    Those of a named trunk are kept on disk. A trunk that the first lesson trained is the run's own: what it says stays
    in memory, and if that would be more than MEMORY bytes, it runs in every training step.

    Args:
        limit: gigabytes on disk; 0: memory alone.

    Raises:
        DemonstrationError: the features do not fit, or cannot be written (`kept.kept`).
    """
    named = {name: encoder for name, encoder in encoders.items() if isinstance(encoder, TrunkEncoder)}
    if named:
        return _named(named, stores, device, limit, report)
    frozen = {
        name: encoder for name, encoder in encoders.items() if isinstance(encoder, ImageEncoder) and encoder.frozen
    }
    steps = sum(store.steps for store in stores)
    needed = sum(math.prod(store[name].shape[1:3]) // 64 * CHANNELS * 2 for name in frozen for store in stores[:1])
    if needed * steps > MEMORY:
        return {}
    return {name: [_through(encoder, store[name], device) for store in stores] for name, encoder in frozen.items()}


def _named(
    encoders: Mapping[str, TrunkEncoder],
    stores: Sequence[DemonstrationStore],
    device: str,
    limit: float,
    report: Report,
) -> dict[str, list[Array]]:
    entries = {
        name: [Entry(encoder.trunk, store, name, device) for store in stores] for name, encoder in encoders.items()
    }
    every = [entry for many in entries.values() for entry in many]
    on_disk = {entry.folder for entry in every if entry.store.rows is not None and limit}
    needed = sum(entry.nbytes for entry in every if entry.store.rows is None or not limit)
    if needed > MEMORY:
        raise DemonstrationError(
            f"what the trunk {every[0].trunk.name!r} makes of these pictures takes {needed / 1e9:.1f} GB of memory, "
            f"more than {MEMORY / 1e9:g}: "
            + ("set train.features-gb to keep it on disk" if not limit else "replay fewer windows")
        )

    def features(entry: Entry) -> Array:
        if entry.store.rows is None or not limit:
            return in_memory(entry, report)
        return kept(entry, limit, on_disk, report)

    return {name: [features(entry) for entry in many] for name, many in entries.items()}


def _through(encoder: ImageEncoder, pictures: Array, device: str) -> Array:
    """The trunk runs on pieces of one size, so that a picture's bits do not depend on how many pictures there are."""
    features = []
    for start in range(0, len(pictures), _PIECE):
        piece = np.asarray(pictures[start : start + _PIECE])
        whole = np.concatenate([piece, np.zeros((_PIECE - len(piece), *piece.shape[1:]), piece.dtype)])
        tensor = encoder.features(torch.from_numpy(whole).to(device))[: len(piece)]
        features.append(tensor.half().cpu().numpy())
    return np.concatenate(features)
