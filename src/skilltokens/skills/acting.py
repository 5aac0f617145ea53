"""A library that acts: which skill an instruction or a scene calls, and the policy that acts for it."""

from __future__ import annotations

import numpy as np

from skilltokens.model.actor import PolicyActor
from skilltokens.model.policy import Policy
from skilltokens.model.traced import TracedActor
from skilltokens.skills.assembling import assemble, standing
from skilltokens.skills.disk import Disk
from skilltokens.skills.records import Record
from skilltokens.skills.scene import SceneDensity, SceneJudge
from skilltokens.skills.view import LibraryView
from skilltokens.types import Array, NoSkillError, Observation, SettingError

ACTORS = 64
"""How many actors a library keeps: each holds a copy of its policy."""


class ActingLibrary(LibraryView):
    """A library that calls and acts; `SkillLibrary` changes it too."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk)
        self._policies: dict[str, Policy] = {}
        self._actors: dict[tuple[str, str, bool], PolicyActor] = {}

    def _become(self, disk: Disk) -> None:
        super()._become(disk)
        self._scenes: SceneJudge | None = None

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
        traced: bool = False,
    ) -> PolicyActor:
        """An actor for the skill that the instruction means. All wordings of a skill give the same actions.

        Args:
            instruction: what the robot shall do; None: whatever the scene asks for.
            device: where to act.
            threshold: as for `select`.
            scene: the first observations, each feature (n, *shape) raw; one is enough. The skill must have been taught
                in such a scene (docs/scenes.md says how sure that is); left out: nothing is asked of the scene.
            traced: run the step traced, in about half of the time, where its bits are the same (`TracedActor`).

        Raises:
            NoSkillError: no skill is sure enough, or the scene is none of the skill's; it names the nearest ones.
            LanguageError: the instruction is empty or too long.
            LibraryError: the skill is damaged.
            SettingError: there is neither an instruction nor a scene.
            ObservationError: the scene is not what the library's policy reads.
        """
        if instruction is None:
            return self.actor_of(self._seen(scene), device, traced)
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
        return self.actor_of(name, device, traced)

    def _seen(self, scene: Observation | None) -> str:
        """The skill that a scene belongs to."""
        if scene is None:
            raise SettingError("there is neither an instruction nor a scene: give one")
        best = self.scenes.judge(scene).best
        if best is None:
            raise NoSkillError("no skill was taught in a scene like this one: give an instruction")
        return self.names[best]

    def actor_of(self, name: str, device: str = "cpu", traced: bool = False) -> PolicyActor:
        """The actor of a skill by its name, or of an older version by NAME@VERSION.

        The last `ACTORS` are kept, so that switching between them costs nothing.

        Raises:
            LibraryError: there is no such skill, or its file is damaged.
        """
        record = self.state.record(name)
        kept = self._actors.pop((record.file, device, traced), None)
        if kept is None:
            key = standing(self.find, self.skill_of(record)).key
            kind = TracedActor if traced else PolicyActor
            kept = kind(self.policy_of_record(record), key, device, self.features)
        self._actors[record.file, device, traced] = kept  # the newest stands last
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
