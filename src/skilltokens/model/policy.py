"""The policy: observation tokens and the instruction's token through a causal, banded transformer to actions.

A skill never changes the policy that it grows from: `derive` makes a policy that shares every module but those it
replaces. So what an old skill computes with stays untouched, whatever is learned later.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from skilltokens.model.encoders import ENCODERS, GoalEncoder, InstructionEncoder, kind_of
from skilltokens.model.heads import MixtureHead, RegressionHead, make_head
from skilltokens.model.images import pixels
from skilltokens.model.pattention import GrownPattention
from skilltokens.model.prompt import TaskToken
from skilltokens.model.settings import PolicySettings
from skilltokens.model.tpst import TPSTLayer, norm
from skilltokens.types import ACTION, Feature, Scale, SettingError


@dataclass(frozen=True)
class Shape:
    """What a policy sees and does: all that is needed, with its settings, to build it again."""

    scales: Mapping[str, Scale]
    """Observation features in the order of their tokens; the last one's token becomes the action."""
    actions: int
    language: int
    kinds: Mapping[str, str] = field(default_factory=dict)
    """How features are read that are no vectors: "set" or "image"."""

    @classmethod
    def of(cls, features: Mapping[str, Feature], scales: Mapping[str, Scale], language: int) -> Shape:
        """The shape for a suite's or a store's features; the robot's own state comes last."""
        names = sorted(name for name in features if name != ACTION)
        kinds = {name: kind_of(name, features[name]) for name in names}
        known = {name: pixels(features[name].shape[2]) for name, kind in kinds.items() if kind == "image"} | dict(
            scales
        )
        for name in names:
            if name not in known:
                raise SettingError(f"feature {name!r} has no scale: declare its constants in `scales`")
        special = {name: kind for name, kind in kinds.items() if kind != "vector"}
        return cls({name: known[name] for name in names}, features[ACTION].shape[0], language, special)

    def asdict(self) -> dict[str, Any]:
        """As JSON has it; read back by `fromdict`."""
        return dataclasses.asdict(self)

    @classmethod
    def fromdict(cls, content: dict[str, Any]) -> Shape:
        scales = {
            name: Scale(tuple(entry["center"]), tuple(entry["unit"])) for name, entry in content["scales"].items()
        }
        return cls(scales, content["actions"], content["language"], content.get("kinds", {}))


class Policy(nn.Module):
    """A transformer over the tokens of each time step, behind one token for the instruction.

    Args:
        shape: widths and scales of what it sees and does.
        settings: width, layers, heads, history, kind of maps and head.
        generator: draws the first weights; the same generator state gives the same policy.
    """

    head: RegressionHead | MixtureHead
    prompt: TaskToken | None
    """Makes task tokens, in front of each step's own; a fresh policy has none."""

    def __init__(self, shape: Shape, settings: PolicySettings, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if settings.width % settings.heads:
            raise SettingError(f"policy.width {settings.width} is no multiple of policy.heads {settings.heads}")
        self.shape, self.settings = shape, settings
        self.encoders = nn.ModuleDict(
            {
                name.replace(".", "/"): ENCODERS[shape.kinds.get(name, "vector")](scale, settings.width, generator)
                for name, scale in shape.scales.items()
            }
        )
        self.instruction = InstructionEncoder(shape.language, settings.width, generator)
        gain = 1 / math.sqrt(2 * settings.layers)
        self.layers = nn.ModuleList(
            TPSTLayer(settings.width, settings.heads, settings.history, settings.maps, gain, generator)
            for _ in range(settings.layers)
        )
        self.head = make_head(settings.head, settings.width, shape.actions, settings.modes, generator)
        self.register_module("prompt", None)

    @property
    def device(self) -> torch.device:
        """Where all of its numbers are."""
        return self.stack[0].distance.device

    @property
    def stack(self) -> list[TPSTLayer]:
        """The layers, first to last."""
        return cast("list[TPSTLayer]", list(self.layers))

    @property
    def per_step(self) -> int:
        """Tokens in one time step, a prompt's included, where no goal is left out."""
        own = 1 if self.settings.step == "joint" else len(self.encoders)
        return own if self.prompt is None else own + self.prompt.tokens

    @property
    def seen(self) -> dict[str, str]:
        """The features that it looks at, a prompt's included, and their kinds; goals may be left out."""
        kinds = {name: self.shape.kinds.get(name, "vector") for name in self.shape.scales}
        return kinds if self.prompt is None else {**self.prompt.kinds, **kinds}

    def tokens(
        self, observation: Mapping[str, Tensor], instruction: Tensor, noise: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Tokens (B, T, n, width), a prompt's first, of raw observations (B, T, *shape) a feature, seen with the
        instruction's token (B, 1, width) in mind; noise is added to scaled ones, where there is any."""
        found = []
        for name in self._looked_at(observation):
            encoder = self.encoders[name.replace(".", "/")]
            found.append(encoder(observation[name], instruction, None if noise is None else noise.get(name)))
        stacked = torch.stack(found, 2)
        if self.settings.step == "joint":
            stacked = stacked.sum(2, keepdim=True)
        return stacked if self.prompt is None else torch.cat([self.prompt(observation), stacked], 2)

    def weights(self, observation: Mapping[str, Tensor]) -> Tensor | None:
        """The logarithm of each of the step's tokens' weight in attention (B, T, n): a task token's own, minus infinity
        for a goal that is not given, and 0 for others; None where there are only others."""
        names = self._looked_at(observation)
        goals = {n: e for n in names if isinstance(e := self.encoders[n.replace(".", "/")], GoalEncoder)}
        if not goals and self.prompt is None:
            return None
        usual = torch.zeros(observation[names[0]].shape[:2], device=self.device)
        columns = [
            usual.masked_fill(~goals[name].given(observation[name]), float("-inf")) if name in goals else usual
            for name in (names if self.settings.step == "separate" else names[:1])
        ]
        own = [] if self.prompt is None else [usual + presence for presence in self.prompt.presence]
        return torch.stack([*own, *columns], 2)

    def _looked_at(self, observation: Mapping[str, Tensor]) -> list[str]:
        """The features that it reads of an observation, in the order of their tokens: goals may be left out."""
        names = [n for n in self.shape.scales if n in observation or self.shape.kinds.get(n) != "goal"]
        for name in names:
            if name not in observation:
                raise SettingError(f"the observation lacks {name!r}, which this policy looks at")
        return names

    def forward(
        self,
        observation: Mapping[str, Tensor],
        embedding: Tensor,
        mask: Tensor | None = None,
        noise: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """What the head reads, (B, T, width), for whole windows.

        Args:
            observation: raw features, each (B, T, *shape).
            embedding: unit sentence vectors (B, language).
            mask: (B, T), False where a window reaches back before its episode.
            noise: added to the scaled features, each of its feature's shape.
        """
        instruction = self.instruction(embedding)
        steps = self.tokens(observation, instruction, noise)
        batch, length, n, width = steps.shape
        x = torch.cat([instruction, steps.reshape(batch, length * n, width)], 1)
        weights = self._masked(mask, self.weights(observation), n)
        for layer in self.stack[:-1]:
            h = norm(x)
            x = layer.attend(x, h, *layer.keys(h), self._bias(layer, length, n, weights))
        last, h = self.stack[-1], norm(x)
        # after the last layer only the tokens that become actions are read
        bias = self._bias(last, length, n, weights)[..., n::n, :]
        x = last.attend(x[:, n::n], h[:, n::n], *last.keys(h), bias)
        return norm(x)

    def loss(
        self,
        observation: Mapping[str, Tensor],
        embedding: Tensor,
        action: Tensor,
        mask: Tensor,
        noise: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """The head's loss, averaged over the steps that are not padding. action: (B, T, A)."""
        found = self.head.loss(self(observation, embedding, mask, noise), action)
        return (found * mask).sum() / mask.sum()

    def _masked(self, mask: Tensor | None, weights: Tensor | None, n: int) -> Tensor | None:
        """The weights' logarithms for all keys of a window, (B, 1, 1, S), minus infinity for padding; the instruction's
        is 0."""
        if mask is not None:
            there = torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, float("-inf"))[:, :, None]
            weights = there.expand(-1, -1, n) if weights is None else weights + there
        if weights is None:
            return None
        return torch.cat([weights.new_zeros(len(weights), 1), weights.flatten(1)], 1)[:, None, None]

    def _bias(self, layer: TPSTLayer, length: int, n: int, weights: Tensor | None) -> Tensor:
        """The attention bias (B or 1, heads, S, S) of a window of `length` steps of `n` tokens."""
        index, outside = self._band(length)
        steps = layer.distance[:, index].masked_fill(outside, float("-inf"))
        steps = steps.repeat_interleave(n, 1).repeat_interleave(n, 2)
        rows = torch.cat([layer.prefix[:, :, None].expand(-1, steps.shape[1], 1), steps], 2)
        first = torch.full((len(steps), 1, rows.shape[2]), float("-inf"), device=rows.device)
        first[:, :, 0] = 0.0
        bias = torch.cat([first, rows], 1)[None]
        return bias if weights is None else bias + weights

    def _band(self, length: int) -> tuple[Tensor, Tensor]:
        """Distance in steps between query and key, kept inside the table, and where the key is out of the band."""
        at = torch.arange(length, device=self.stack[0].distance.device)
        distance = at[:, None] - at[None]
        history = self.settings.history
        return distance.clamp(0, history - 1), (distance < 0) | (distance >= history)

    # ---------------------------------------------------------------- growing

    def maps(self) -> dict[str, nn.Module]:
        """The transformer's maps by path ("layers.0.q", ...), as a method may replace them."""
        return {f"layers.{i}.{name}": getattr(layer, name) for i, layer in enumerate(self.stack) for name in MAPS}

    def derive(self, replaced: Mapping[str, nn.Module]) -> Policy:
        """A policy with the modules at these paths replaced; every other module is shared with this one, not copied."""
        return _replace(self, replaced)  # pyright: ignore[reportReturnType]

    def fused(self) -> Policy:
        """The same policy with every grown map as one plain map of constants: what acts."""
        grown = {path: map.fused() for path, map in self.maps().items() if isinstance(map, GrownPattention)}
        return self.derive(grown)

    def fingerprint(self) -> str:
        """SHA-256 over every number that this policy computes with: equal fingerprints act bit for bit alike."""
        found = hashlib.sha256(repr((self.shape, self.settings)).encode())
        for name, tensor in sorted(self.fused().state_dict().items()):
            found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return found.hexdigest()


MAPS = ("q", "k", "v", "o", "ffn")


def _replace(module: nn.Module, replaced: Mapping[str, nn.Module]) -> nn.Module:
    """A module with its own table of children, in which those at the given paths are others."""
    made = copy.copy(module)
    made._modules = dict(module._modules)
    below: dict[str, dict[str, nn.Module]] = {}
    for path, other in replaced.items():
        name, _, rest = path.partition(".")
        if rest:
            below.setdefault(name, {})[rest] = other
        else:
            made._modules[name] = other
    for name, part in below.items():
        child = module._modules[name]
        assert child is not None
        made._modules[name] = _replace(child, part)
    return made
