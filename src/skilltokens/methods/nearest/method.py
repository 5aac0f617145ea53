"""The nearest skill without training: a new task is acted by the earlier skill whose instruction is nearest to its own.

The first lesson trains the base (under protocol A+ none does). A further task is the earlier skill itself, given that
skill's own instruction: nothing is trained or stored. From one library that has many skills this asks how far choosing
among them goes; in protocol A all tasks are acted by the first one's skill.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from skilltokens.methods.base import Lesson, Training, under
from skilltokens.methods.nearest import NearestSettings
from skilltokens.methods.skilled import Entry, SkillMethod
from skilltokens.model.policy import Policy
from skilltokens.skills.skill import Skill


class Nearest(SkillMethod):
    """Each further task is acted by the nearest of the skills before it."""

    settings: NearestSettings

    def begin(self, lesson: Lesson) -> Training:
        if self.begins_fresh(lesson):
            return self.begin_base(lesson)
        self.base.requires_grad_(False)
        self._enter_nearest(lesson)
        policy = self.entries[self.first_entry(lesson)].policy
        return Training(policy, [{"params": [], "lr": self.train.rate}], [lesson])

    def finish(self, lesson: Lesson) -> None:
        self.base.requires_grad_(False)

    def _enter_nearest(self, lesson: Lesson) -> None:
        """Makes each of the lesson's tasks a skill that acts as the nearest one before the lesson."""
        before = self.first_entry(lesson)
        del self.entries[before:]
        for name, wordings, vectors in zip(lesson.names, lesson.wordings, lesson.embeddings, strict=True):
            acts = self.entries[self.nearest(vectors[0], before, -1.0)]
            self.entries.append(Entry(name, wordings, vectors, lambda s=acts: s.policy, lambda s=acts: s.instruction))

    def stored(self) -> int:
        return self.stored_before()

    def library(self, lessons: Sequence[Lesson]) -> tuple[Policy, list[Skill]]:
        """Each skill with the content of the one that it acts as."""
        skills = list(self.adopted_skills)
        for lesson in lessons:
            before = self.first_entry(lesson)
            for name, wordings, vectors in zip(lesson.names, lesson.wordings, lesson.embeddings, strict=True):
                skill = Skill(name, wordings, vectors)
                if not self.begins_fresh(lesson):
                    acts = skills[self.nearest(vectors[0], before, -1.0)]
                    skill = Skill(name, wordings, vectors, form=acts.form, key=acts.key, content=acts.content)
                skills.append(skill)
        return self.base, skills[len(self.adopted_skills) :]

    def state(self) -> dict[str, Tensor]:
        return {f"base.{name}": tensor for name, tensor in self.base.state_dict().items()}

    def restore(self, state: Mapping[str, Tensor], lessons: Sequence[Lesson]) -> None:
        self.base.load_state_dict(under("base.", state))
        self.base.requires_grad_(False)
        for lesson in lessons:
            if self.begins_fresh(lesson):
                self.enter(lesson, self.base)
            else:
                self._enter_nearest(lesson)
