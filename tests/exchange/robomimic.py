"""robomimic in an environment of its own, and what its `SequenceDataset` reads from a file.

The environment sees this one's packages (torch, h5py, NumPy) through a .pth file; robomimic alone is installed into
it, without what it declares: its dataset needs no more.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from skilltokens.types import Array

REQUIREMENT = "robomimic==0.3.0"
SCRIPT = """
import json, sys
import numpy as np, torch
import robomimic.utils.obs_utils as obs_utils
from robomimic.utils.dataset import SequenceDataset

file, out, window, subset, low, rgb = sys.argv[1:7]
low, rgb = json.loads(low), json.loads(rgb)
obs_utils.initialize_obs_utils_with_obs_specs({"obs": {"low_dim": low, "rgb": rgb}})
dataset = SequenceDataset(
    hdf5_path=file, obs_keys=(*low, *rgb), dataset_keys=("actions", "rewards", "dones"), seq_length=int(window),
    pad_seq_length=True, filter_by_attribute=subset or None, hdf5_cache_mode="low_dim", load_next_obs=True,
)
batch = next(iter(torch.utils.data.DataLoader(dataset, batch_size=len(dataset), shuffle=False)))
rows = {name: batch[name].numpy() for name in ("actions", "rewards", "dones")}
for kind in ("obs", "next_obs"):
    rows.update({f"{kind}.{name}": values.numpy() for name, values in batch[kind].items()})
np.savez(out, demos=np.array(dataset.demos), **rows)
"""


def make_environment(folder: Path) -> Path:
    """Installs robomimic into a new environment in `folder` and returns its Python. Skips where pip cannot."""
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    python = folder / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (site / "parent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    words = ["-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", REQUIREMENT]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pip cannot install {REQUIREMENT} here: {done.stderr.strip().splitlines()[-1:]}")
    return python


def sequences(
    python: Path, file: Path, window: int, subset: str = "", low: Sequence[str] = (), rgb: Sequence[str] = ()
) -> dict[str, Array]:
    """Every sequence of `window` steps that SequenceDataset gives: actions, rewards, dones, obs.<key>, next_obs.<key>,
    each (sequences, window, ...), and `demos`."""
    import json

    out = file.with_suffix(".npz")
    words = [str(file), str(out), str(window), subset, json.dumps(list(low)), json.dumps(list(rgb))]
    done = subprocess.run([python, "-c", SCRIPT, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(out, allow_pickle=False) as arrays:
        return dict(arrays)
