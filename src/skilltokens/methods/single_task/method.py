"""Single-task learning: a policy of its own for each task, from scratch. No transfer, no forgetting, much to store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from skilltokens.methods.base import Lesson, SkillMethod, Training, count, generator
from skilltokens.methods.single_task import SingleTaskSettings
from skilltokens.model.policy import Policy


class SingleTask(SkillMethod):
    """Every lesson draws a fresh policy of the base's shape."""

    settings: SingleTaskSettings

    def begin(self, lesson: Lesson) -> Training:
        policy = self._fresh(lesson)
        self.enter(lesson, policy)
        return Training(policy, [{"params": list(policy.parameters()), "lr": self.settings.rate}], [lesson])

    def _fresh(self, lesson: Lesson) -> Policy:
        made = Policy(self.base.shape, self.base.settings, generator(self.seed, lesson.index))
        return made.to(self.base.device)

    def stored(self) -> int:
        return sum(count(entry.policy) for entry in self.entries)

    def state(self) -> dict[str, Tensor]:
        return {f"{i}.{n}": t for i, entry in enumerate(self.entries) for n, t in entry.policy.state_dict().items()}

    def restore(self, state: Mapping[str, Tensor], lessons: Sequence[Lesson]) -> None:
        for lesson in lessons:
            policy, prefix = self._fresh(lesson), f"{lesson.index}."
            policy.load_state_dict({n[len(prefix) :]: t for n, t in state.items() if n.startswith(prefix)})
            self.enter(lesson, policy)
