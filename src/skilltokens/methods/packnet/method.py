"""PackNet (arXiv 1711.05769) in the form of Continual World (arXiv 2105.10919): each task owns a share of the weights.

A lesson trains all weights that nobody owns. Then, in every matrix of n weights that T tasks share, task k = 0, 1, ...
keeps the floor(n (k + 1) / T) - floor(n k / T) largest of them: equal shares but for rounding. The others become 0 and
are left to later tasks, and the optimizer starts anew to retrain those that are kept. Biases and the like are learned
with the first task and frozen after it. A skill acts by what it and the tasks before it own,

    W_k = W * [owner <= k]

so no later task changes a bit of it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from skilltokens.methods.base import Lesson, Training, count, under
from skilltokens.methods.packnet import MOST, PackNetSettings
from skilltokens.methods.rule import Now, Rule
from skilltokens.methods.skilled import SkillMethod
from skilltokens.model.lowrank import MATRICES
from skilltokens.model.policy import Policy
from skilltokens.settings import TrainSettings
from skilltokens.skills.skill import Skill
from skilltokens.types import SettingError

FREE, BASE, LATER = 0, -1, -2
"""In the place of an owner, whose number is that of its lesson from 1: nobody; the base of a library (protocol A+);
nobody, but pruned by the lesson at work."""
HEAD = "head."


class PackNet(SkillMethod):
    """One network; `owner` says for each weight of its matrices which lesson owns it, int8.

    From a library (protocol A+) the network begins as the base with the smallest weights of each matrix freed. The base
    itself is kept beside it, so that the library's own skills lose nothing.
    """

    settings: PackNetSettings

    def __init__(self, base: Policy, settings: PackNetSettings, train: TrainSettings, seed: int) -> None:
        super().__init__(base, settings, train, seed)
        self.tasks, self.network = settings.tasks, self.base
        self.owner = {name: _whole(weight, FREE) for name, weight in self._weights().items()}
        self.heads: dict[int, dict[str, Tensor]] = {}
        """Lesson -> its own head."""
        self.rule = Pack({}, {}, 0.0, {})

    def adopt(self, base: Policy, skills: Sequence[Skill]) -> None:
        super().adopt(base, skills)
        self.network = copy.deepcopy(self.base)
        for name, weight in self._weights().items():
            kept = largest(weight.detach().abs(), weight.numel() - self._freed(weight))
            self.owner[name] = _whole(weight, BASE).masked_fill_(~kept, FREE)
            weight.data.masked_fill_(~kept, 0.0)

    def check(self, lessons: int) -> None:
        self.tasks = self.settings.tasks or lessons
        if lessons > self.tasks:
            raise SettingError(
                f"method.tasks {self.tasks} makes fewer shares than the run has lessons: use {lessons} or more, or 0 "
                "for as many as there are"
            )
        if lessons > MOST:
            raise SettingError(f"packnet shares the weights among {MOST} lessons at most, not {lessons}: use --lessons")

    def begin(self, lesson: Lesson) -> Training:
        if not self.tasks:
            raise SettingError("packnet must know how many lessons share the weights: set method.tasks")
        if lesson.index >= self.tasks:
            raise SettingError(
                f"all {self.tasks} shares of the weights are taken: start anew with method.tasks {lesson.index + 1}"
            )
        fresh, weights = self.begins_fresh(lesson), self._weights()
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(fresh or name in weights or self._is_own(name))
        keep = {name: self._share(weight, lesson.index) for name, weight in weights.items()}
        self.rule = Pack(weights, self.owner, self.settings.retrain, keep)
        self.enter(lesson, self.network)
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        rate = self.train.rate if fresh else self.settings.rate
        return Training(self.network, [{"params": trained, "lr": rate}], [lesson], self.rule)

    def finish(self, lesson: Lesson) -> None:
        for name, owner in self.rule.kept.items():
            self.owner[name] = owner.masked_fill(owner == FREE, lesson.index + 1).masked_fill_(owner == LATER, FREE)
        if self.settings.own_head:
            self.heads[lesson.index] = {n: value.clone() for n, value in self.network.head.state_dict().items()}
        self.enter(lesson, self._skill(lesson.index))

    def _weights(self) -> dict[str, nn.Parameter]:
        """The matrices of the network that tasks share, by name; convolutions are such."""
        return {
            name: parameter
            for name, parameter in self.network.named_parameters()
            if name.endswith(MATRICES) and parameter.ndim > 1 and not self._is_own(name)
        }

    def _is_own(self, name: str) -> bool:
        return self.settings.own_head and name.startswith(HEAD)

    def _freed(self, weight: Tensor) -> int:
        """How many weights of a matrix the tasks share: all, or those that a library's base leaves."""
        return round(self.settings.freed * weight.numel()) if self.adopted else weight.numel()

    def _share(self, weight: Tensor, lesson: int) -> int:
        """How many weights of a matrix a lesson owns in the end."""
        shared = self._freed(weight)
        return shared * (lesson + 1) // self.tasks - shared * lesson // self.tasks

    def _skill(self, lesson: int) -> Policy:
        """The policy of a lesson, which shares nothing with the network."""
        policy = copy.deepcopy(self.network).requires_grad_(False)
        for name, weight in policy.named_parameters():
            if name in self.owner:
                owner = self.owner[name]
                weight.masked_fill_((owner == FREE) | (owner > lesson + 1), 0.0)
        if self.settings.own_head:
            policy.head.load_state_dict(self.heads[lesson])
        return policy

    def stored(self) -> int:
        """The network, each lesson's own head, and the owners, of which four take the place of a parameter; under
        protocol A+ the whole library, and of the network what is not the base's."""
        masks = (sum(owner.numel() for owner in self.owner.values()) + 3) // 4
        heads = len(self.heads) * count(self.base.head)
        if self.adopted:
            return (
                self.stored_before() + sum(self._freed(weight) for weight in self._weights().values()) + heads + masks
            )
        return count(self.base) + max(0, heads - count(self.base.head)) + masks  # the network has one of the heads

    def state(self) -> dict[str, Tensor]:
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"owner.{name}": owner for name, owner in self.owner.items()}
        return tensors | {f"{HEAD}{i}.{name}": value for i, head in self.heads.items() for name, value in head.items()}

    def restore(self, state: Mapping[str, Tensor], lessons: Sequence[Lesson]) -> None:
        self.network.load_state_dict(under("network.", state))
        self.owner = {name: owner.to(self.base.device) for name, owner in under("owner.", state).items()}
        for lesson in lessons:
            if self.settings.own_head:
                self.heads[lesson.index] = under(f"{HEAD}{lesson.index}.", state)
            self.enter(lesson, self._skill(lesson.index))


class Pack(Rule):
    """Moves the weights that are free; at one step prunes those beyond the task's share.

    Args:
        weights: the matrices, by name; where nobody owns a weight before the first task, it begins as it is.
        owner: of each of their entries.
        retrain: share of the steps that come after pruning.
        keep: how many of the free weights of each matrix stay.
    """

    def __init__(
        self,
        weights: Mapping[str, nn.Parameter],
        owner: Mapping[str, Tensor],
        retrain: float,
        keep: Mapping[str, int],
    ) -> None:
        self.weights, self.retrain, self.keep = weights, retrain, keep
        self.kept = dict(owner)
        self.still = {name: w.detach().masked_fill(owner[name] == FREE, 0.0) for name, w in weights.items()}
        """What an entry is set to that is not free."""

    def gradients(self, now: Now) -> None:
        """Before they are clipped: else weights that cannot move would shorten the step of those that can."""
        for name, weight in self.weights.items():
            if weight.grad is not None:
                weight.grad.masked_fill_(self.kept[name] != FREE, 0.0)

    def stepped(self, now: Now) -> None:
        pruned = now.step + 1 == max(1, round((1 - self.retrain) * now.total)) and self._prune()
        for name, weight in self.weights.items():
            weight.copy_(torch.where(self.kept[name] == FREE, weight, self.still[name]))
        if pruned:
            now.restart()

    def _prune(self) -> bool:
        """Leaves what is beyond the task's share to later tasks; False where there is nothing, as in the last one."""
        before = sum(int((owner == LATER).sum()) for owner in self.kept.values())
        for name, weight in self.weights.items():
            free = self.kept[name] == FREE
            stays = largest(weight.abs().masked_fill(~free, -1.0), self.keep[name])
            self.kept[name] = self.kept[name].masked_fill(free & ~stays, LATER)
        return sum(int((owner == LATER).sum()) for owner in self.kept.values()) > before

    def untrained(self) -> int:
        return sum(int(((owner != FREE) & (owner != LATER)).sum()) for owner in self.kept.values())


def largest(sizes: Tensor, number: int) -> Tensor:
    """Which entries are the `number` largest, as booleans of the same shape; of equal ones the first."""
    order = sizes.flatten().argsort(descending=True, stable=True)
    return torch.zeros_like(order, dtype=torch.bool).index_fill_(0, order[:number], True).view_as(sizes)


def _whole(weight: Tensor, owner: int) -> Tensor:
    return torch.full_like(weight, owner, dtype=torch.int8)
