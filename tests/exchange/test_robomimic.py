"""robomimic's own SequenceDataset reads our exports, in an environment of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.demos.making import FRONT, PUSH, make_store
from tests.exchange.robomimic import make_environment, sequences

from skilltokens.exchange.hdf5 import export_hdf5
from skilltokens.types import ACTION, ENVIRONMENT_STATE, STATE, Task

OPEN = Task("open-door", "open the door")
WINDOW = 4


@pytest.mark.slow
def test_robomimic_reads_what_we_export(tmp_path: Path) -> None:
    python = make_environment(tmp_path / "environment")
    store = make_store(tmp_path / "push", (5, 1, 8) * 4, images=True)
    other = make_store(tmp_path / "open", (3, 6), seed=50, images=True, task=OPEN)
    export_hdf5([store, other], tmp_path / "both.hdf5")
    low, rgb = ["state", "environment_state"], ["images.front"]
    arrays = sequences(python, tmp_path / "both.hdf5", WINDOW, PUSH.name, low, rgb)
    assert arrays["demos"].tolist() == [f"demo_{number}" for number in range(12)], "in the order of their numbers"
    row = 0
    for episode in store:
        steps = len(episode)
        for step in range(steps):
            rows = np.minimum(np.arange(step, step + WINDOW), steps - 1)
            following = np.minimum(rows + 1, steps - 1)
            np.testing.assert_array_equal(arrays["actions"][row], episode.features[ACTION][rows])
            assert arrays["rewards"][row].ravel().tolist() == (rows == steps - 1).tolist()
            for key, name in (("state", STATE), ("environment_state", ENVIRONMENT_STATE), ("images.front", FRONT)):
                for kind, indices in (("obs", rows), ("next_obs", following)):
                    np.testing.assert_array_equal(arrays[f"{kind}.{key}"][row], episode.features[name][indices])
            row += 1
    assert row == len(arrays["actions"])
    assert len(sequences(python, tmp_path / "both.hdf5", WINDOW, low=low)["actions"]) == store.steps + other.steps
