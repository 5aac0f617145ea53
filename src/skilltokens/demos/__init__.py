"""Demonstrations: the memory-mapped store, training windows, checks and statistics. Other formats: `exchange`."""

from skilltokens.demos.coverage import check_actions, in_own_units, outside, still_entries
from skilltokens.demos.kinds import check_readings
from skilltokens.demos.statistics import info, workspace_statistics
from skilltokens.demos.store import DemonstrationStore, check, same_features, stores_in, write_store
from skilltokens.demos.windows import Batch, Windows

__all__ = [
    "Batch",
    "DemonstrationStore",
    "Windows",
    "check",
    "check_actions",
    "check_readings",
    "in_own_units",
    "info",
    "outside",
    "same_features",
    "still_entries",
    "stores_in",
    "workspace_statistics",
    "write_store",
]
