"""Examples: what a training step learns from, where they come from, and a policy's loss on them.

`fit` draws them for every method; a method draws more where it replays, measures or distils (`Source`, `imitation`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skilltokens.demos.kinds import PICTURES
from skilltokens.demos.windows import Batch, Windows
from skilltokens.methods.shift import shifted
from skilltokens.model.features import precomputed
from skilltokens.model.policy import Policy
from skilltokens.settings import TrainSettings
from skilltokens.types import ACTION, Report, silent

if TYPE_CHECKING:
    from skilltokens.methods.base import Lesson

FEATURE = "feature."


@dataclass(frozen=True)
class Examples:
    """B windows of T steps as tensors."""

    observation: dict[str, Tensor]
    """Raw features, each (B, T, *shape); of a picture whose trunk is frozen, what the trunk makes of it."""
    words: Tensor
    """The sentence vector of each window's task (B, language)."""
    action: Tensor
    """(B, T, A); for a policy that predicts chunks of n actions (B, T, n, A), of each step and the n - 1 after it."""
    mask: Tensor
    """(B, T) bool; False where a window reaches back before its episode."""
    parts: tuple[int, ...]
    """How many windows each part has, one part behind the other; they sum to B. Parts weigh the same in the loss."""
    noise: Mapping[str, Tensor] | None = None
    """Noise on the scaled features, each of its feature's shape; None: not drawn yet, or none."""
    stride: Tensor | None = None
    """(B,) int64: each step of a window sees only those that lie a multiple of so many steps back, as after acting so
    many steps ahead; None: all steps are seen."""

    def __len__(self) -> int:
        return len(self.words)

    def rows(self, index: slice | NDArray[np.int64]) -> Examples:
        """Some of the windows, as one part."""
        chosen = index if isinstance(index, slice) else torch.from_numpy(index)
        noise = None if self.noise is None else {name: value[chosen] for name, value in self.noise.items()}
        observation = {name: value[chosen] for name, value in self.observation.items()}
        words, stride = self.words[chosen], None if self.stride is None else self.stride[chosen]
        return Examples(observation, words, self.action[chosen], self.mask[chosen], (len(words),), noise, stride)

    def sample(self, number: int, generator: np.random.Generator) -> Examples:
        """So many of the windows at random, with repetition, as one part."""
        return self.rows(generator.integers(len(self), size=number))

    def split(self) -> list[Examples]:
        """The parts, one by one."""
        if len(self.parts) == 1:
            return [self]
        ends = np.cumsum(self.parts)
        return [self.rows(slice(end - size, end)) for size, end in zip(self.parts, ends, strict=True)]

    def joined(self, other: Examples) -> Examples:
        """These windows with those of `other` behind them, as further parts, on this one's device.

        Where one of the two has no noise yet, the whole has none.
        """
        other = other.to(self.words.device)
        noise = None
        if self.noise is not None and other.noise is not None:
            noise = {name: torch.cat([value, other.noise[name]]) for name, value in self.noise.items()}
        stride = None
        if self.stride is not None or other.stride is not None:
            stride = torch.cat([self._strides(), other._strides()])
        return Examples(
            {name: torch.cat([value, other.observation[name]]) for name, value in self.observation.items()},
            torch.cat([self.words, other.words]),
            torch.cat([self.action, other.action]),
            torch.cat([self.mask, other.mask]),
            self.parts + other.parts,
            noise,
            stride,
        )

    def _strides(self) -> Tensor:
        usual = torch.ones(len(self), dtype=torch.int64, device=self.words.device)
        return usual if self.stride is None else self.stride

    def to(self, device: torch.device | str) -> Examples:
        """The same on another device."""
        noise = None if self.noise is None else {name: value.to(device) for name, value in self.noise.items()}
        observation = {name: value.to(device) for name, value in self.observation.items()}
        words, action, mask = (value.to(device) for value in (self.words, self.action, self.mask))
        stride = None if self.stride is None else self.stride.to(device)
        return Examples(observation, words, action, mask, self.parts, noise, stride)

    def tensors(self) -> dict[str, Tensor]:
        """As a state keeps them: one part, without noise. Read back by `of`."""
        features = {f"{FEATURE}{name}": value for name, value in self.observation.items()}
        stride = {} if self.stride is None else {"stride": self.stride}
        return {**features, "words": self.words, "action": self.action, "mask": self.mask, **stride}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Examples:
        """The reverse of `tensors`; other names are left alone."""
        observation = {n.removeprefix(FEATURE): value for n, value in tensors.items() if n.startswith(FEATURE)}
        words = tensors["words"]
        shape = (tensors["action"], tensors["mask"], (len(words),))
        return cls(observation, words, *shape, stride=tensors.get("stride"))


class Source:
    """Windows of one lesson as examples.

    Args:
        lesson: whose demonstrations and wordings.
        settings: batch, window and device.
        policy: of pictures that its frozen trunks see, the examples hold what the trunks make of them, computed once.
        report: told of that, where it takes long.

    Raises:
        DemonstrationError: what the trunks make does not fit where `settings` says, or cannot be written.
    """

    def __init__(
        self, lesson: Lesson, settings: TrainSettings, policy: Policy | None = None, report: Report = silent
    ) -> None:
        encoders = {} if policy is None else {path.replace("/", "."): part for path, part in policy.encoders.items()}
        instead = precomputed(encoders, lesson.stores, settings.device, settings.features_gb, report)
        self.windows = Windows(lesson.stores, settings.window, instead, lesson.chunk)
        self.embeddings, self.settings, self.chunk = lesson.embeddings, settings, lesson.chunk
        self.places = lesson.places if settings.shift else {}
        self._ends = np.cumsum([store.steps for store in lesson.stores])

    def __len__(self) -> int:
        """How many windows there are: one ends at each step of each episode."""
        return int(self._ends[-1])

    def draw(self, generator: np.random.Generator) -> Examples:
        """A batch at random, each window with one of its task's wordings at random."""
        return self._examples(self.windows.sample(self.settings.batch, generator), generator)

    def at(self, numbers: NDArray[np.int64], generator: np.random.Generator) -> Examples:
        """The windows of these numbers (B,), from 0 to len - 1, each with one of its task's wordings at random."""
        store = np.searchsorted(self._ends, numbers, side="right")
        starts = np.concatenate([[0], self._ends[:-1]])
        return self._examples(self.windows.gather(store, numbers - starts[store]), generator)

    def _examples(self, batch: Batch, generator: np.random.Generator) -> Examples:
        chosen = zip(batch.store, generator.random(len(batch.store)), strict=True)
        words = [self.embeddings[store][int(share * len(self.embeddings[store]))] for store, share in chosen]
        device = self.settings.device
        seen = shifted(batch.features, self.places, self.settings.shift, generator) if self.places else batch.features
        features = {name: torch.from_numpy(value).to(device) for name, value in seen.items()}
        action, mask = features.pop(ACTION), torch.from_numpy(batch.mask).to(device)
        stride = _strides(len(words), self.chunk, generator)
        stride = None if stride is None else torch.from_numpy(stride).to(device)
        vectors = torch.from_numpy(np.stack(words)).to(device)
        return Examples(features, vectors, action, mask, (len(words),), stride=stride)


def _strides(windows: int, chunk: int, generator: np.random.Generator) -> NDArray[np.int64] | None:
    """How far ahead the windows of a batch act: half of them a step at a time, the others any number up to a chunk.

    A policy that acts ahead remembers only the steps that it looked at. None, and nothing drawn, where it never does.
    """
    if chunk == 1:
        return None
    return np.where(generator.random(windows) < 0.5, 1, generator.integers(2, chunk + 1, size=windows))


def imitation(policy: Policy, examples: Examples, settings: TrainSettings, generator: np.random.Generator) -> Tensor:
    """The policy's loss on examples, a scalar: that of each part over its steps, averaged over the parts.

    Args:
        examples: where the policy is.
        settings: the precision, and the noise on what is seen where the examples have none of their own.
        generator: draws that noise.
    """
    if examples.noise is None:
        examples = replace(examples, noise=observation_noise(policy, examples, settings, generator))
    total = torch.zeros((), device=examples.words.device)
    for part in examples.split():
        with precision(settings):
            total = total + policy.loss(part.observation, part.words, part.action, part.mask, part.noise, part.stride)
    return total / len(examples.parts)


def observation_noise(
    policy: Policy,
    examples: Examples,
    settings: TrainSettings,
    generator: np.random.Generator,
    order: Sequence[str] | None = None,
) -> dict[str, Tensor] | None:
    """Normal noise for every feature but pictures, as `settings.observation_noise` says; None where it says 0.

    Args:
        order: the features in the order in which they draw; None: by their names, so that examples read from a file,
            whose features lie in another order, draw the same.
    """
    if not settings.observation_noise:
        return None
    noise: dict[str, Tensor] = {}
    for name in order or sorted(examples.observation):
        if name in examples.observation and policy.shape.kinds.get(name) not in PICTURES:
            value = examples.observation[name]
            normal = torch.from_numpy(generator.standard_normal(value.shape, dtype=np.float32))
            noise[name] = normal.to(value.device) * settings.observation_noise
    return noise


def precision(settings: TrainSettings) -> contextlib.AbstractContextManager[Any]:
    """Within it a policy computes in the precision of `settings`."""
    if settings.precision == "bfloat16":
        return torch.autocast(torch.device(settings.device).type, dtype=torch.bfloat16)
    return contextlib.nullcontext()
