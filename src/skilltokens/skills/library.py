"""The skill library on disk: a base policy and its skills, one file each.

    library/
      library.json                schema, digests, the policy's shape and settings, the encoder, the list of skills
      base.safetensors            the base policy
      skills/<name>.safetensors   a skill's own tensors, its active rows, its wordings' vectors
      README.md                   the model card

Adding a skill writes its file and then replaces library.json atomically: a reader, or a crash, meets the library before
or after the addition, never between. Nothing is ever unpickled; the digest of every file is checked when it is read.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from skilltokens.files import LIBRARY_SCHEMA, digest, read_json, write_bytes, write_json
from skilltokens.language import FUNCTION, LanguageEncoder, load_encoder
from skilltokens.model.actor import PolicyActor
from skilltokens.model.policy import Policy, Shape
from skilltokens.model.settings import PolicySettings
from skilltokens.skills.card import model_card
from skilltokens.skills.selection import choose
from skilltokens.skills.skill import Skill, TaskTokenSpec, assemble, row_offsets, standing
from skilltokens.types import Array, Feature, LibraryError, Report, SkilltokensError, silent

FORMS = ("rows", "lora", "whole")
"""What the tensors of a skill may be (`Skill.form`)."""


@dataclass
class SkillLibrary:
    """A library in memory. `open` reads one; `create` and `add` write.

    Attributes:
        folder: its folder on disk.
        base: the frozen base policy, which is also the policy of the first skill.
        skills: in the order learned.
        features: the observation features and the action that every demonstration must have.
        encoder: the sentence encoder's name, for `load_encoder`.
        notes: for each skill further entries of library.json (results, digest of demonstrations, ...).
    """

    folder: Path
    base: Policy
    skills: list[Skill]
    features: dict[str, Feature]
    encoder: str = "minilm"
    notes: list[dict[str, Any]] = field(default_factory=list)

    # ---------------------------------------------------------------- reading

    @classmethod
    def open(cls, folder: Path | str) -> SkillLibrary:
        """Reads a library and checks the digest of every file.

        Raises:
            LibraryError: a file is missing, altered or of another format.
        """
        folder = Path(folder)
        card = read_json(folder / "library.json", LIBRARY_SCHEMA, LibraryError)
        try:
            settings, shape = PolicySettings(**card["policy"]["settings"]), Shape.fromdict(card["policy"]["shape"])
            features = {n: Feature(tuple(f["shape"]), f["dtype"]) for n, f in card["features"].items()}
            base = Policy(shape, settings)
            base.load_state_dict(_tensors(folder, card["base"]))
            skills = [_skill(folder, entry) for entry in card["skills"]]
            notes = [dict(entry["notes"]) for entry in card["skills"]]
            library = cls(folder, base.requires_grad_(False), skills, features, str(card["encoder"]), notes)
            library._check_skills()
        except LibraryError:
            raise
        except (
            LookupError,
            TypeError,
            ValueError,
            ArithmeticError,
            AttributeError,
            RuntimeError,
            SkilltokensError,
        ) as problem:
            raise LibraryError(
                f"{folder} is damaged or altered ({problem}): restore it from a copy, or learn it again"
            ) from problem
        return library

    def _check_skills(self) -> None:
        """Raises ValueError for skills that could not have been learned one after another."""
        names = [skill.name for skill in self.skills]
        if not names or len(set(names)) < len(names):
            raise ValueError("it has no skill, or two of one name")
        for number, skill in enumerate(self.skills):
            if skill.embeddings.shape != (len(skill.wordings), self.base.shape.language):
                raise ValueError(f"skill {skill.name!r} has vectors of shape {skill.embeddings.shape}")
            standing(self.skills[:number], skill)
            for path, rows in skill.active.items():
                earlier = row_offsets(self.base, self.skills[:number], path)[-1]
                if len(rows) and not 0 <= rows.min() <= rows.max() < earlier:
                    raise ValueError(f"skill {skill.name!r} reuses rows in {path} that no earlier skill has")

    def select(self, instruction: str, report: Report = silent) -> tuple[int, float]:
        """The skill that an instruction means, and the cosine to its nearest wording.

        `report` is called when the sentence encoder is loaded for it.

        Raises:
            LanguageError: the instruction is empty or too long.
        """
        vector = self.language(report)([instruction])[0]
        return choose(vector, [skill.embeddings for skill in self.skills])

    @property
    def parameters(self) -> int:
        """Parameters of the base."""
        return sum(parameter.numel() for parameter in self.base.parameters())

    def fingerprints(self) -> list[str]:
        """SHA-256 of each skill's policy: equal ones act bit for bit alike."""
        return [self.policy(number).fingerprint() for number in range(len(self.skills))]

    def policy(self, number: int) -> Policy:
        """The policy of one skill; the base's own where it has no tensors."""
        skill = self.skills[number]
        return assemble(self.base, self.skills, skill) if skill.tensors else self.base

    def instruction_vector(self, number: int) -> Array:
        """The sentence vector (language,) for the policy of one skill: its own, or that of the skill that it steers."""
        return standing(self.skills, self.skills[number]).embeddings[0]

    def actor(self, instruction: str, device: str = "cpu") -> PolicyActor:
        """An actor for the skill that the instruction means. All wordings of a skill give the same actions."""
        number, _ = self.select(instruction)
        return PolicyActor(self.policy(number), self.instruction_vector(number), device)

    def language(self, report: Report = silent) -> LanguageEncoder:
        """The encoder that the library was made with; `report` is called when it is really loaded.

        Raises:
            LibraryError: that was a Python function, which no file can hold.
        """
        if self.encoder.startswith(FUNCTION):
            raise LibraryError(
                f"{self.folder} was made with the sentence encoder {self.encoder}, a function: set `library.encoder` "
                "to the name of an installed encoder with the same vectors"
            )
        return load_encoder(self.encoder, report=report)

    # ---------------------------------------------------------------- writing

    @classmethod
    def create(
        cls,
        folder: Path | str,
        base: Policy,
        skill: Skill,
        features: Mapping[str, Feature],
        encoder: str,
        notes: Mapping[str, Any] | None = None,
    ) -> SkillLibrary:
        """A new library whose base is its first skill.

        Raises:
            LibraryError: the folder holds a library already, or cannot be written.
        """
        folder = Path(folder)
        if (folder / "library.json").exists():
            raise LibraryError(f"{folder} holds a skill library already: add to it, or choose another folder")
        library = cls(folder, base, [], dict(features), encoder)
        write_bytes(folder / "base.safetensors", save(_plain(base.state_dict())), LibraryError)
        library.add(skill, notes)
        return library

    def add(self, skill: Skill, notes: Mapping[str, Any] | None = None) -> None:
        """Adds a skill: writes its file, then README.md and library.json. Other files stay as they are.

        Raises:
            LibraryError: the name is taken or no file name, the library changed on disk, or it cannot be written.
        """
        check_name(skill.name, self)
        known = read_json(self.folder / "library.json", LIBRARY_SCHEMA, LibraryError)["skills"] if self.skills else []
        if [entry["name"] for entry in known] != [other.name for other in self.skills]:
            raise LibraryError(f"{self.folder} was changed by another process: open it again and repeat")
        tensors = {f"tensor.{name}": value for name, value in skill.tensors.items()}
        tensors |= {f"active.{path}": torch.as_tensor(np.asarray(rows)) for path, rows in skill.active.items()}
        tensors["embeddings"] = torch.as_tensor(np.ascontiguousarray(skill.embeddings, np.float32))
        path = self.folder / "skills" / f"{skill.name}.safetensors"
        write_bytes(path, save(_plain(tensors)), LibraryError)
        self.skills.append(skill)
        self.notes.append(dict(notes or {}))
        try:
            write_bytes(self.folder / "README.md", model_card(self).encode(), LibraryError)
            write_json(self.folder / "library.json", self._card(), LibraryError)
        except BaseException:
            self.skills.pop()
            self.notes.pop()
            raise

    def write_card(self) -> None:
        """Writes library.json again, after a change of `notes`."""
        write_json(self.folder / "library.json", self._card(), LibraryError)

    def _card(self) -> dict[str, Any]:
        """The content of library.json."""
        return {
            "schema": LIBRARY_SCHEMA,
            "encoder": self.encoder,
            "policy": {"settings": dataclasses.asdict(self.base.settings), "shape": self.base.shape.asdict()},
            "features": {n: {"shape": list(f.shape), "dtype": f.dtype} for n, f in self.features.items()},
            "base": _file(self.folder, Path("base.safetensors")),
            "skills": [
                {
                    "name": skill.name,
                    "wordings": list(skill.wordings),
                    "parameters": skill.parameters,
                    **({} if skill.form == "rows" else {"form": skill.form}),
                    **({} if skill.task_token is None else {"prompt": dataclasses.asdict(skill.task_token)}),
                    "file": _file(self.folder, Path("skills") / f"{skill.name}.safetensors"),
                    "notes": notes,
                }
                for skill, notes in zip(self.skills, self.notes, strict=True)
            ],
        }

    # ---------------------------------------------------------------- checking

    def check_features(self, features: Mapping[str, Feature], what: str) -> None:
        """Raises LibraryError unless these are the library's features."""
        for name in sorted(set(self.features) | set(features)):
            mine, other = self.features.get(name), features.get(name)
            if mine is None or other is None or mine.shape != other.shape:
                shown = [None if f is None else f.shape for f in (mine, other)]
                raise LibraryError(
                    f"feature {name!r} has shape {shown[0]} in {self.folder} but {shown[1]} in {what}: "
                    "learn from demonstrations of the same robot and features"
                )


def check_name(name: str, library: SkillLibrary | None = None) -> None:
    """Raises LibraryError unless a new skill may have this name: a file name, and not taken in `library`."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise LibraryError(f"skill name {name!r} is no file name: use letters, digits, '-', '_' and '.'")
    if library is not None and name in {skill.name for skill in library.skills}:
        raise LibraryError(f"{library.folder} has a skill {name!r} already: choose another name")


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}


def _file(folder: Path, path: Path) -> dict[str, str]:
    return {"path": path.as_posix(), "sha256": digest(folder / path)}


def _tensors(folder: Path, entry: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensors of the file that `entry` of library.json names, after a check of its digest."""
    path = folder / entry["path"]
    if not path.resolve().is_relative_to(folder.resolve()):
        raise LibraryError(f"{folder}/library.json points out of its folder ({entry['path']}): do not trust it")
    if not path.exists():
        raise LibraryError(f"{path} is missing: restore it from a copy")
    if digest(path) != entry["sha256"]:
        raise LibraryError(f"{path} is truncated or altered (its digest differs): restore it from a copy")
    try:
        return load(path.read_bytes())
    except SafetensorError as problem:
        raise LibraryError(f"{path} is no safetensors file ({problem}): restore it from a copy") from problem


def _skill(folder: Path, entry: Mapping[str, Any]) -> Skill:
    tensors = _tensors(folder, entry["file"])
    embeddings: Array = tensors.pop("embeddings").numpy()
    active = {name[7:]: value.numpy() for name, value in tensors.items() if name.startswith("active.")}
    own = {name[7:]: value for name, value in tensors.items() if name.startswith("tensor.")}
    spec = entry.get("prompt")
    if spec is not None:
        widths = {str(name): int(width) for name, width in spec["features"].items()}
        hidden, pictures = (int(n) for n in spec["hidden"]), (str(name) for name in spec["pictures"])
        spec = TaskTokenSpec(str(spec["on"]), widths, int(spec["tokens"]), tuple(hidden), tuple(pictures))
    form = entry.get("form", "rows")
    if form not in FORMS:
        raise LibraryError(
            f"{folder} has a skill of the form {form!r}, which this version cannot read: update skilltokens"
        )
    return Skill(entry["name"], tuple(entry["wordings"]), embeddings, own, active, spec, form)
