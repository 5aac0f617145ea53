"""How disturbed pictures look: a sheet of the first test episodes of a LIBERO task, one row a kind.

`python -m benchmarks.disturbed [--suite libero-goal] [--episodes 3] [--out docs/disturbances.webp]`
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from skilltokens.suites import load_suite
from skilltokens.suites.libero.images import CAMERAS
from skilltokens.suites.names import DISTURBANCES


def sheet(suite: str, episodes: int) -> np.ndarray:
    """Rows: not disturbed, then each kind; columns: both cameras of each episode (rows x 128, columns x 128, 3)."""
    rows = []
    for name in (f"{suite}-images", *(f"{suite}-{kind}-images" for kind in DISTURBANCES)):
        seen_by = load_suite(name)
        environment = seen_by.make(seen_by.tasks[0])
        seen = [environment.reset("test", index) for index in range(episodes)]
        rows.append(np.concatenate([step[camera] for step in seen for camera in CAMERAS], 1))
        environment.close()
    return np.concatenate(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", default="libero-goal")
    parser.add_argument("--episodes", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("docs/disturbances.webp"))
    options = parser.parse_args()
    Image.fromarray(sheet(options.suite, options.episodes)).save(options.out, quality=80)
    print(options.out)


if __name__ == "__main__":
    main()
