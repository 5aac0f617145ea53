"""Writes names.json: an embedding of the name of everything that stands on a scene of LIBERO.

    python -m skilltokens.suites.libero.names

The names are those of all categories in the suites' scene files, and of the joints of their fixtures. Their MiniLM
sentence vectors are centred and turned onto their 32 principal axes, with the signs fixed: what is left of 384
numbers still holds 95 % of the variance, and a policy need not learn what a name stands for.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from skilltokens.suites.libero.imports import import_libero
from skilltokens.suites.libero.observation import NAME, part_name
from skilltokens.suites.names import libero_suites

TARGET = Path(__file__).with_name("names.json")
FLAT = ("table", "floor", "kitchen_table", "living_room_table", "study_table", "coffee_table")
"""Categories that are the scene itself."""


def thing_names() -> list[str]:
    """The names of all things, sorted."""
    import_libero()
    from libero.libero import get_default_path_dict
    from libero.libero.envs.bddl_utils import robosuite_parse_problem
    from libero.libero.envs.objects import get_object_fn

    root, names = Path(get_default_path_dict()["bddl_files"]), set()
    for suite in libero_suites():
        for file in sorted((root / suite.replace("-", "_")).glob("*.bddl")):
            problem = robosuite_parse_problem(str(file))
            for category in problem["objects"]:
                names.add(category.replace("_", " "))
            for category in problem["fixtures"]:
                if category in FLAT:
                    continue
                label = category.replace("_", " ")
                names.add(label)
                thing = get_object_fn(category)(name="it", joints=None)
                names |= {part_name(label, joint.removeprefix("it_")) for joint in thing.joints}
    return sorted(names)


def embed(names: list[str]) -> dict[str, list[float]]:
    """Name -> 32 numbers, largest differences first."""
    from skilltokens.language import load_encoder

    vectors = load_encoder("minilm")(names).astype(np.float64)
    vectors -= vectors.mean(0)
    _, sizes, axes = np.linalg.svd(vectors, full_matrices=False)
    axes = axes[:NAME]
    largest = axes[np.arange(NAME), np.abs(axes).argmax(1)]
    axes = axes * np.sign(largest)[:, None]  # an axis and its opposite are equally good: take one, always the same
    print(f"{len(names)} names; {NAME} axes keep {(sizes[:NAME] ** 2).sum() / (sizes**2).sum():.1%} of the variance")
    return {name: [round(float(x), 5) for x in row] for name, row in zip(names, vectors @ axes.T, strict=True)}


if __name__ == "__main__":
    rows = embed(thing_names())
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    TARGET.write_text("{\n" + lines + "\n}\n", encoding="utf-8")
