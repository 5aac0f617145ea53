"""Demonstrations: the memory-mapped store, training windows, scaling statistics, HDF5 in and out."""

from skilltokens.demos.store import DemonstrationStore, same_features, stores_in, write_store
from skilltokens.demos.windows import Batch, Windows

__all__ = ["Batch", "DemonstrationStore", "Windows", "same_features", "stores_in", "write_store"]
