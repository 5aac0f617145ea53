"""A library as its readers see it: the list of skills, their numbers when they are used, and the skill that an
instruction calls.

Opening reads the list; a skill's numbers are read, checked and put together when it is first used, so cost and memory
follow what is used. A reader keeps the view that it opened, whatever is written meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from msgspec import UNSET
from safetensors import SafetensorError
from safetensors.torch import load

from skilltokens.configuration import settings_of
from skilltokens.escaping import terminal
from skilltokens.language import FUNCTION, LanguageEncoder, load_encoder, recorded_encoder
from skilltokens.model.actor import PolicyActor
from skilltokens.model.policy import Policy
from skilltokens.model.settings import PolicySettings
from skilltokens.skills.assembling import assemble, standing
from skilltokens.skills.checking import check_content, check_own, features_from, policy_from, shape_from
from skilltokens.skills.disk import BASE_FILE, SKILLS, Disk
from skilltokens.skills.head import HEAD, damaged
from skilltokens.skills.ranking import Index, Ranking, ask
from skilltokens.skills.records import Record
from skilltokens.skills.scene import SceneDensity, SceneJudge
from skilltokens.skills.skill import Content, Skill, Skills
from skilltokens.skills.skillfile import unpack_skill
from skilltokens.skills.state import Event, State, history
from skilltokens.tensors import fingerprint
from skilltokens.types import (
    Array,
    Feature,
    LibraryError,
    NoSkillError,
    Observation,
    Report,
    SettingError,
    SkilltokensError,
    silent,
)

PROBLEMS = (
    LookupError,
    TypeError,
    ValueError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    SafetensorError,
    SkilltokensError,
)
"""What reading numbers that do not fit may raise."""

ACTORS = 64
"""How many actors a library keeps: each holds a copy of its policy."""


class LibraryView:
    """A library, to be read and acted with; `SkillLibrary` changes it too.

    Attributes:
        folder: its folder on disk.
        encoder: the sentence encoder's name, for `load_encoder`; set it where the library was made with a function.
    """

    def __init__(self, disk: Disk) -> None:
        self.folder, self.encoder = disk.folder, disk.head.encoder
        self._base: Policy | None = None
        self._contents: dict[str, Content] = {}
        self._whole: set[str] = set()
        self._policies: dict[str, Policy] = {}
        self._actors: dict[tuple[str, str], PolicyActor] = {}
        self._language: LanguageEncoder | None = None
        self._become(disk)

    def _become(self, disk: Disk) -> None:
        """Shows another state of the folder. What was read of files stays: they never change."""
        self._disk = disk
        self._skills: Skills | None = None
        self._index: Index | None = None
        self._scenes: SceneJudge | None = None
        self._mapped: Array | None = None
        self._by_identity: dict[str, Record] | None = None

    # ---------------------------------------------------------------- reading

    @classmethod
    def open(cls, folder: Path | str, encoder: str | None = None) -> Self:
        """Opens a library: the seals of its list are checked, and that every file is there.

        The numbers of a skill are checked when it is first used, and refused by a LibraryError before any action is
        computed from them; `verify` checks them all.

        Args:
            encoder: the sentence encoder that it was made with, where that is a folder: a file's word is not trusted.

        Raises:
            LibraryError: there is none, or it is damaged, or of another version.
        """
        folder = Path(folder)
        disk = Disk.open(folder)
        try:
            settings_of(PolicySettings, disk.head.policy["settings"])
            features_from(disk.head.features, shape_from(disk.head.policy["shape"]))
        except PROBLEMS as problem:
            raise damaged(folder / HEAD, str(problem)) from problem
        library = cls(disk)
        if encoder is not None:
            library.encoder = encoder
        return library

    @property
    def state(self) -> State:
        """The records of all skills, older versions included."""
        return self._disk.state

    @property
    def records(self) -> list[Record]:
        """What the list says of each skill, in the order learned; retired ones too."""
        return list(self.state.skills.values())

    @property
    def names(self) -> list[str]:
        """The names of the skills, in the order learned."""
        return list(self.state.skills)

    @property
    def notes(self) -> list[dict[str, Any]]:
        """For each skill what else is known: results, digests of demonstrations, ..."""
        return [record.about() for record in self.records]

    @property
    def features(self) -> dict[str, Feature]:
        """The observation features and the action that every demonstration must have."""
        return features_from(self._disk.head.features, shape_from(self._disk.head.policy["shape"]))

    @property
    def parameters(self) -> int:
        """Parameters of the base."""
        return self._disk.head.base.parameters

    @property
    def identity(self) -> str:
        """The fingerprint of the base: skills of libraries with the same one can be exchanged."""
        return self._disk.head.base.fingerprint

    @property
    def policy_settings(self) -> PolicySettings:
        """The settings of the policy."""
        return settings_of(PolicySettings, self._disk.head.policy["settings"])

    @property
    def base(self) -> Policy:
        """The frozen base policy, which is also the policy of the first skill.

        Raises:
            LibraryError: its file is damaged.
        """
        if self._base is None:
            head, path = self._disk.head, self.folder / BASE_FILE
            content = self._disk.read_base()
            try:
                tensors = load(content)
                if fingerprint(tensors) != head.base.fingerprint:
                    raise ValueError("its fingerprint differs")
                self._base = policy_from(head.policy["settings"], head.policy["shape"], tensors)
            except PROBLEMS as problem:
                raise damaged(path, str(problem)) from problem
        return self._base

    @property
    def skills(self) -> Skills:
        """The skills in the order learned; retired ones too. Their numbers are read when they are asked for."""
        if self._skills is None:
            self._skills = Skills((self.skill_of(record) for record in self.records), self.find)
        return self._skills

    def skill(self, name: str) -> Skill:
        """A skill by its name, or an older version of it by NAME@VERSION.

        Raises:
            LibraryError: there is none.
        """
        return self.skill_of(self.state.record(name))

    def skill_of(self, record: Record) -> Skill:
        """The skill of a record, older versions and kept ones included."""
        return self._stored(record, lambda: self._content(record))

    def file_of(self, record: Record) -> bytes:
        """The bytes of a skill's file, their digest checked."""
        return self._disk.read_skill(record)

    def _vectors(self) -> Array:
        if self._mapped is None:
            self._mapped = self._disk.vectors()
        return self._mapped

    def find(self, identity: str) -> Skill:
        """The skill of an identity, older versions and kept ones included, as one that another builds on.

        What it builds on itself is not read: of a long chain only what is used.

        Raises:
            LookupError: there is none.
        """
        if self._by_identity is None:
            self._by_identity = {record.identity: record for record in self.state.everything()}
        record = self._by_identity[identity]
        return self._stored(record, lambda: self._own(record))

    def _stored(self, record: Record, load: Callable[[], Content]) -> Skill:
        disk, vectors, first = self._disk, self._vectors(), record.vectors.first

        def embeddings() -> Array:
            return disk.check_rows(vectors, record)

        def key() -> Array:  # once it was reworded, its key is none of its wordings' vectors
            own = first <= record.key < first + len(record.wordings)
            return embeddings()[record.key - first] if own else load().key

        return Skill.stored(
            record.name, record.wordings, embeddings, key, record.form, record.parameters, record.identity, load
        )

    def _content(self, record: Record) -> Content:
        """The content of a skill's file, and whether what it builds on is there."""
        content = self._own(record)
        if record.file not in self._whole:
            try:
                check_content(content, self.base, self.find)
            except PROBLEMS as problem:
                raise damaged(self.folder / SKILLS / record.file, str(problem)) from problem
            self._whole.add(record.file)
        return content

    def _own(self, record: Record) -> Content:
        """The content of a skill's file, checked against the base and against what the list says of it."""
        if record.file not in self._contents:
            path = self.folder / SKILLS / record.file
            content = unpack_skill(self._disk.read_skill(record), path, self.identity)
            try:
                if content.identity != record.identity or not _said(content, record):
                    raise ValueError("it is another skill than the list says")
                if not np.array_equal(content.key, self._vectors()[record.key]):
                    raise ValueError("its language key is another than the list says")
                check_own(content, self.base)
            except PROBLEMS as problem:
                raise damaged(path, str(problem)) from problem
            self._contents[record.file] = content
        return self._contents[record.file]

    # ---------------------------------------------------------------- acting

    @property
    def index(self) -> Index:
        """The wordings of all skills and their vectors, to be searched. Raises LibraryError where one is damaged."""
        if self._index is None:
            records, vectors = self.records, self._vectors()
            for record in records:
                self._disk.check_rows(vectors, record)
            counts = [len(record.wordings) for record in records]
            places = np.concatenate([record.vectors.first + np.arange(len(record.wordings)) for record in records])
            in_order = (places == np.arange(len(places))).all()
            self._index = Index(
                self.names,
                [text for record in records for text in record.wordings],
                vectors[: len(places)] if in_order else vectors[places],
                np.repeat(np.arange(len(records)), counts),
                np.repeat([not record.retired for record in records], counts),
            )
        return self._index

    def select(self, instruction: str, threshold: float | None = None, report: Report = silent) -> Ranking:
        """The skills that an instruction may mean, the best first, and whether one is sure enough to be called.

        Args:
            threshold: the confidence in [0, 1] below which none is called; 0: one always is; None: the default, with
                which about one instruction in a hundred calls a wrong skill (docs/instructions.md).
            report: called when the sentence encoder is loaded for it.

        Raises:
            LanguageError: the instruction is empty or too long, or the threshold no confidence.
        """
        return ask(instruction, self.language(report), self.index, threshold)

    def policy(self, number: int) -> Policy:
        """The policy of one skill by its place in `skills`; the base's own where it has no tensors."""
        return self.policy_of(self.names[number])

    def policy_of(self, name: str) -> Policy:
        """The policy of a skill by its name; put together once, then kept.

        Raises:
            LibraryError: there is no such skill, or its file is damaged.
        """
        return self.policy_of_record(self.state.record(name))

    def policy_of_record(self, record: Record) -> Policy:
        """The same of a record, older versions and kept ones included."""
        if record.file not in self._policies:
            skill = self.skill_of(record)
            policy = assemble(self.base, self.find, skill) if skill.tensors else self.base
            self._policies[record.file] = policy.requires_grad_(False)
        return self._policies[record.file]

    def instruction_vector(self, number: int) -> Array:
        """The sentence vector (language,) for the policy of one skill: its own, or that of the skill that it steers."""
        return np.array(standing(self.find, self.skills[number]).key)  # what is mapped cannot be written to

    def actor(
        self,
        instruction: str | None,
        device: str = "cpu",
        threshold: float | None = None,
        scene: Observation | None = None,
    ) -> PolicyActor:
        """An actor for the skill that the instruction means. All wordings of a skill give the same actions.

        Args:
            instruction: what the robot shall do; None: whatever the scene asks for.
            device: where to act.
            threshold: as for `select`.
            scene: the first observations, each feature (n, *shape) raw; one is enough. The skill must have been taught
                in such a scene (docs/scenes.md says how sure that is); left out: nothing is asked of the scene.

        Raises:
            NoSkillError: no skill is sure enough, or the scene is none of the skill's; it names the nearest ones.
            LanguageError: the instruction is empty or too long.
            LibraryError: the skill is damaged.
            SettingError: there is neither an instruction nor a scene, or an observation is missing.
        """
        if instruction is None:
            return self.actor_of(self._seen(scene), device)
        ranking = self.select(instruction, threshold)
        if ranking.chosen is None:
            raise NoSkillError(ranking.sentence())
        name = self.names[ranking.chosen]
        if scene is not None:
            judgement = self.scenes.judge(scene)
            if not judgement.accepted[ranking.chosen]:
                best = "no skill's" if judgement.best is None else f"that of {self.names[judgement.best]!r}"
                raise NoSkillError(
                    f"{instruction[:60]!r} calls {name!r}, which was never taught in a scene like this: it is {best}"
                )
        return self.actor_of(name, device)

    def _seen(self, scene: Observation | None) -> str:
        """The skill that a scene belongs to."""
        if scene is None:
            raise SettingError("there is neither an instruction nor a scene: give one")
        best = self.scenes.judge(scene).best
        if best is None:
            raise NoSkillError("no skill was taught in a scene like this one: give an instruction")
        return self.names[best]

    def actor_of(self, name: str, device: str = "cpu") -> PolicyActor:
        """The actor of a skill by its name, or of an older version by NAME@VERSION.

        The last `ACTORS` are kept, so that switching between them costs nothing.

        Raises:
            LibraryError: there is no such skill, or its file is damaged.
        """
        record = self.state.record(name)
        kept = self._actors.pop((record.file, device), None)
        if kept is None:
            key = standing(self.find, self.skill_of(record)).key
            kept = PolicyActor(self.policy_of_record(record), key, device)
        self._actors[record.file, device] = kept  # the newest stands last
        if len(self._actors) > ACTORS:
            del self._actors[next(iter(self._actors))]
        return kept

    @property
    def scenes(self) -> SceneJudge:
        """What the skills were taught on, to judge whether one of them belongs to what is seen now; all are read."""
        if self._scenes is None:
            densities = [
                SceneDensity.from_tensors(skill.content.scene) if skill.content.scene and not record.retired else None
                for skill, record in zip(self.skills, self.records, strict=True)
            ]
            self._scenes = SceneJudge(self.base, densities)
        return self._scenes

    def fingerprints(self) -> list[str]:
        """SHA-256 of each skill's policy: equal ones act bit for bit alike."""
        return [self.policy_of(name).fingerprint() for name in self.names]

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
        if self._language is None or self._language.name != self.encoder:
            own = self.encoder == self._disk.head.encoder
            self._language = (
                recorded_encoder(self.encoder, f"library {self.folder}", report=report)
                if own
                else load_encoder(self.encoder, report=report)
            )
        return self._language

    def history(self) -> list[Event]:
        """All changes since the library was made, the oldest first."""
        return history(self._disk.changes)

    def check_features(self, features: Mapping[str, Feature], what: str) -> None:
        """Raises LibraryError unless these are the library's features."""
        own = self.features
        for name in sorted(set(own) | set(features)):
            mine, other = own.get(name), features.get(name)
            if mine is None or other is None or mine.shape != other.shape:
                shown = [None if f is None else f.shape for f in (mine, other)]
                raise LibraryError(
                    f"feature {name!r} has shape {shown[0]} in {self.folder} but {shown[1]} in {what}: "
                    "learn from demonstrations of the same robot and features"
                )

    def __repr__(self) -> str:
        retired = sum(record.retired for record in self.records)
        older = len(self.state.older)
        more = [f"{retired} retired"] * bool(retired) + [f"{older} older versions"] * bool(older)
        shown = "\n".join(f"  {record.label}: {terminal(record.wordings[0])}" for record in self.records[:20])
        rest = f"\n  and {len(self.records) - 20} more" if len(self.records) > 20 else ""
        return (
            f"SkillLibrary({str(self.folder)!r}: {len(self.records)} skills{', ' * bool(more)}{', '.join(more)}, "
            f"base of {self.parameters:,} parameters, encoder {self.encoder!r})\n{shown}{rest}"
        )


def _said(content: Content, record: Record) -> bool:
    """Whether a list says of a skill what its content is."""
    steers = UNSET if content.task_token is None else content.task_token.on
    says = (record.form, record.needs, record.parameters, record.steers)
    return says == (content.form, content.needs, content.parameters, steers)
