"""A full copy a task: each further skill is a copy of the base, all of it fine-tuned. No budget, nothing forgotten.

The first lesson trains the base (under protocol A+ the library's policy is the base). Unlike single-task policies the
copies begin from what the base knows; unlike sequential fine-tuning no copy changes another.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

from torch import Tensor

from skilltokens.methods.base import Lesson, Training, count, under
from skilltokens.methods.full_copy import FullCopySettings
from skilltokens.methods.skilled import SkillMethod
from skilltokens.model.policy import Policy


class FullCopy(SkillMethod):
    """Every further lesson fine-tunes a copy of the base, or of the nearest skill."""

    settings: FullCopySettings

    def begin(self, lesson: Lesson) -> Training:
        fresh = self.begins_fresh(lesson)
        policy = self.base if fresh else copy.deepcopy(self._start(lesson)).requires_grad_()
        self.base.requires_grad_(fresh)
        self.enter(lesson, policy)
        rate = self.train.rate if fresh else self.settings.rate
        training = Training(policy, [{"params": list(policy.parameters()), "lr": rate}], [lesson])
        return training if fresh else self.hold(training)

    def _start(self, lesson: Lesson) -> Policy:
        """What a new skill begins as."""
        if self.settings.start != "nearest":
            return self.base
        number = self.start_from(lesson)
        policy = None if number is None else self.start_policy(number)
        return self.base if policy is None else policy

    def start_policy(self, number: int) -> Policy | None:
        policy = self.entries[number].policy
        shapes, needed = ({n: t.shape for n, t in p.state_dict().items()} for p in (policy, self.base))
        return policy if shapes == needed else None

    def finish(self, lesson: Lesson) -> None:
        self.keep()
        self.entries[self.first_entry(lesson)].policy.requires_grad_(False)

    def _copies(self) -> list[tuple[int, Policy]]:
        """The run's own skills that do not act by the base, with their numbers."""
        own = enumerate(self.entries[len(self.adopted_skills) :])
        return [(i, entry.policy) for i, entry in own if entry.policy is not self.base]

    def stored(self) -> int:
        return self.stored_before() + sum(count(policy) for _, policy in self._copies()) + self.start_size()

    def state(self) -> dict[str, Tensor]:
        tensors = {f"base.{name}": tensor for name, tensor in self.base.state_dict().items()}
        for i, policy in self._copies():
            tensors |= {f"skill.{i}.{name}": tensor for name, tensor in policy.state_dict().items()}
        return tensors | self.start_state()

    def restore(self, state: Mapping[str, Tensor], lessons: Sequence[Lesson]) -> None:
        self.base.load_state_dict(under("base.", state))
        self.restore_start(state)
        self.base.requires_grad_(False)
        for lesson in lessons:
            policy = self.base
            if not self.begins_fresh(lesson):
                policy = copy.deepcopy(self.base)
                policy.load_state_dict(under(f"skill.{lesson.first}.", state))
            self.enter(lesson, policy)
