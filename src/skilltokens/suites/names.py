"""Names that are known before a suite is imported: sequences of Meta-World's tasks, and LIBERO's suites and tasks."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path

CW10 = (
    "hammer",
    "push-wall",
    "faucet-close",
    "push-back",
    "stick-pull",
    "handle-press-side",
    "push",
    "shelf-place",
    "window-close",
    "peg-unplug-side",
)
"""Continual World's ten tasks of Meta-World in its order (arXiv 2105.10919)."""
CW20 = CW10 * 2
"""Continual World's longer sequence: the same ten tasks twice."""

VARIANTS = {
    "lan": "instructions paraphrased",
    "swap": "positions swapped",
    "object": "other objects of the same kind",
    "task": "other tasks on the same scenes",
}
"""LIBERO-PRO's variants, made to be evaluated on, not learned."""
IMAGES = "-images"
"""Ends the name of a suite of LIBERO that is seen through cameras."""
LOOKED_AT = ("libero-spatial", "libero-object", "libero-goal", "libero-10")
"""Suites whose pictures come with other looks too: NAME-light-images, ..."""
DISTURBANCES = {
    "light": "under other lights",
    "camera": "through cameras that stand a little elsewhere",
    "room": "in a room of other surfaces",
}
"""Each way that pictures are disturbed (libero/disturbed.py), and how they are then seen."""
LEAN = "lean"
LOOKS = {**DISTURBANCES, LEAN: "with a robot of fewer triangles, which is drawn sooner"}
"""Each look, and how pictures are then seen: disturbed, or lean (libero/meshes.py)."""


@functools.cache
def libero_tasks() -> dict[str, dict[str, str]]:
    """Suite that is seen by poses -> task -> instruction."""
    return json.loads(Path(__file__).with_name("libero").joinpath("tasks.json").read_text(encoding="utf-8"))


def libero_suites() -> dict[str, str]:
    """Every suite of LIBERO, and one line about it."""
    summaries = {name: _summary(name, tasks) for name, tasks in libero_tasks().items()}
    seen = {f"{name}{IMAGES}": f"{summary}; seen through two cameras" for name, summary in summaries.items()}
    others = {
        f"{name}-{kind}{IMAGES}": f"{name}{IMAGES} {words}" for name in LOOKED_AT for kind, words in LOOKS.items()
    }
    return {**summaries, **seen, **others}


def _summary(name: str, tasks: Mapping[str, str]) -> str:
    """One line about a suite that is seen by poses."""
    what, _, variant = name.removeprefix("libero-").partition("-")
    if variant:
        return f"LIBERO-PRO: {VARIANTS[variant]}, {len(tasks)} tasks of libero-{what}"
    return f"LIBERO: {len(tasks)} tasks of a Panda arm" + (", scripted experts" if what != "90" else "")
