"""export_skill(): one skill of a library in a folder of its own, to act without torch."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from skilltokens.deploy import runner
from skilltokens.deploy.arrays import arrays_of, packed, plan_of
from skilltokens.deploy.card import Card, readme
from skilltokens.deploy.onnx import set_card, write_onnx
from skilltokens.files import replacing
from skilltokens.model.actor import PolicyActor
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.proof import observations
from skilltokens.types import Array, Feature, LibraryError, SkilltokensError

To = Literal["onnx", "numpy"]
FILES: dict[To, str] = {"onnx": "skill.onnx", "numpy": "skill.npz"}
TOLERANCE = 1e-5
"""The most that an action may differ from torch's, in [-1, 1] or units of the actions' constants."""


def export_skill(library: SkillLibrary, skill: str, folder: str | Path, to: To = "onnx") -> Card:
    """Writes a skill into a folder: the file, `runner.py`, which acts by it, and README.md.

    The file is read back by the runner and compared with torch over the steps of the skill's proof, before anything is
    in its place. An export that is in the folder already is replaced.

    Args:
        skill: its name, or an older version of it by NAME@VERSION.
        to: "onnx" for ONNX Runtime; "numpy" for NumPy alone, where the skill looks at no pictures.

    Raises:
        LibraryError: there is no such skill, the folder holds other things or cannot be written.
        SettingError: the skill looks at what the form cannot read, or packages are missing.
        SkilltokensError: an action differs by more than `TOLERANCE`.
    """
    folder, file = Path(folder), FILES[to]
    record = library.state.record(skill)
    actor = library.actor_of(skill)
    _check_folder(folder)
    features = _features(actor, library.features)
    card = Card(
        skill=record.label,
        wordings=tuple(record.wordings),
        features=features,
        actions=actor.policy.shape.actions,
        units="in [-1, 1]" if actor.policy.shape.action is None else "in the robot's own units",
        history=actor.policy.settings.history,
        fingerprint=actor.policy.fingerprint(),
        base=library.identity,
        versions={name: importlib.metadata.version(name) for name in ("skilltokens", "torch", "numpy")},
        plan=plan_of(actor) if to == "numpy" else {},
    )
    with replacing(folder, LibraryError) as fresh:
        fresh.mkdir()
        _write(actor, fresh / file, card, to)
        difference, steps = compared(fresh / file, actor, library.features)
        card = dataclasses.replace(card, difference=difference, compared=steps)
        if to == "onnx":
            set_card(fresh / file, card.json())
        else:
            _write(actor, fresh / file, card, to)
        (fresh / "runner.py").write_bytes(Path(runner.__file__).read_bytes())
        (fresh / "README.md").write_text(readme(card, file), encoding="utf-8")
    return card


def compared(path: Path, actor: PolicyActor, features: Mapping[str, Feature]) -> tuple[float, int]:
    """The largest difference between an exported skill's actions and torch's, and over how many steps: those of the
    skill's proof, twice, so that a second episode begins.

    Raises:
        SkilltokensError: it is larger than `TOLERANCE`.
    """
    skill, steps = runner.Skill(path), _steps(actor, features)
    scale = actor.policy.shape.action
    unit = np.ones(actor.policy.shape.actions) if scale is None else np.asarray(scale.unit)
    worst = 0.0
    for _ in range(2):
        memory = actor.start(1)
        skill.begin()
        for step in steps:
            action = actor.act(step, memory)[0]
            other: Array = skill.act({name: value[0] for name, value in step.items()})
            worst = max(worst, float((np.abs(action - other) / unit).max()))
    if not worst <= TOLERANCE:
        raise SkilltokensError(
            f"the exported skill's actions differ from torch's by {worst:.1e}, more than {TOLERANCE:.0e}: "
            "nothing was written"
        )
    return worst, 2 * len(steps)


def _steps(actor: PolicyActor, features: Mapping[str, Feature]) -> list[dict[str, Array]]:
    """The observations of the skill's proof; sets have flags, and their full slots come first, as they must."""
    steps = observations(actor.policy, features)
    for step in steps:
        for name, value in step.items():
            if actor.policy.seen[name] == "set":
                full = value[0, :, 0] > 0.5
                step[name] = value[:, np.argsort(~full, kind="stable")]
                step[name][0, :, 0] = np.sort(full)[::-1]
    return steps


def _write(actor: PolicyActor, path: Path, card: Card, to: To) -> None:
    if to == "onnx":
        write_onnx(actor, card.features, path, card.json())
    else:
        path.write_bytes(packed(arrays_of(actor), card.json()))


def _features(actor: PolicyActor, known: Mapping[str, Feature]) -> dict[str, Feature]:
    """What the policy reads; the library may not know what only a task token reads."""
    shapes = {name: value.shape[1:] for name, value in observations(actor.policy, known)[0].items()}
    return {
        name: Feature(shapes[name], "uint8" if kind == "image" else "float32")
        for name, kind in actor.policy.seen.items()
    }


def _check_folder(folder: Path) -> None:
    if os.path.isfile(folder) or (
        os.path.isdir(folder)
        and any(folder.iterdir())
        and not any((folder / file).is_file() for file in FILES.values())
    ):
        raise LibraryError(f"{folder} exists and holds no exported skill: name another folder")
