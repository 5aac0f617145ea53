"""Single-task learning: a policy of its own for each task, from scratch. No transfer, no forgetting, much to store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from skilltokens.methods.base import Lesson, Training, count, generator_of, under
from skilltokens.methods.single_task import SingleTaskSettings
from skilltokens.methods.skilled import SkillMethod
from skilltokens.model.policy import Policy


class SingleTask(SkillMethod):
    """Every lesson draws a fresh policy of the base's shape."""

    settings: SingleTaskSettings

    def begin(self, lesson: Lesson) -> Training:
        policy = self._fresh(lesson)
        self.enter(lesson, policy)
        return Training(policy, [{"params": list(policy.parameters()), "lr": self.settings.rate}], [lesson])

    def _fresh(self, lesson: Lesson) -> Policy:
        policy = Policy(self.base.shape, self.base.settings, generator_of(self.seed, lesson.index))
        return policy.to(self.base.device)

    def _policies(self) -> list[tuple[int, Policy]]:
        """The policies of the run's own skills, each once, with the number of the first skill that acts by it."""
        own = enumerate(self.entries[len(self.adopted_skills) :])
        return list({id(entry.policy): (i, entry.policy) for i, entry in reversed(list(own))}.values())[::-1]

    def stored(self) -> int:
        before = self.stored_before() if self.adopted else 0
        return before + sum(count(policy) for _, policy in self._policies())

    def state(self) -> dict[str, Tensor]:
        return {f"{i}.{name}": tensor for i, policy in self._policies() for name, tensor in policy.state_dict().items()}

    def restore(self, state: Mapping[str, Tensor], lessons: Sequence[Lesson]) -> None:
        for lesson in lessons:
            policy = self._fresh(lesson)
            policy.load_state_dict(under(f"{lesson.first}.", state))
            self.enter(lesson, policy)
