"""The policy: a causal, banded transformer from the tokens of observations and of the instruction to actions.

A skill never changes the policy that it grows from: `derive` makes a new policy, which replaces some modules and shares
the others. So all that an old skill computes with stays as it is, whatever is learned later.
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

from skilltokens.demos.kinds import PICTURES
from skilltokens.model.encoders import ENCODERS, GoalEncoder, InstructionEncoder, kind_of
from skilltokens.model.heads import MixtureHead, RegressionHead, make_head
from skilltokens.model.images import pixels
from skilltokens.model.pattention import GrownPattention
from skilltokens.model.scaled import ActionUnits
from skilltokens.model.settings import PolicySettings
from skilltokens.model.task_token import TaskToken
from skilltokens.model.tpst import TPSTLayer, norm
from skilltokens.model.trunked import TrunkEncoder
from skilltokens.model.trunks.naming import NONE
from skilltokens.model.trunks.trunk import FrozenTrunk
from skilltokens.types import ACTION, Feature, Scale, SettingError

LINEAR_MAPS = ("q", "k", "v", "o", "ffn")
"""The linear maps of a transformer layer, which a method may replace."""
TASK_TOKEN = "prompt"
"""The path of the task token's encoder in a policy. Files and fingerprints contain it, so it keeps its old name."""
ACTION_UNITS = "units"
"""The path of the constants of actions in the robot's own units."""


@dataclass(frozen=True)
class Shape:
    """What a policy observes and does. With its settings, this is all that is needed to build it again."""

    scales: Mapping[str, Scale]
    """Observation features in the order of their tokens; the last one's token becomes the action."""
    actions: int
    """Width of an action."""
    language: int
    """Width of a sentence vector."""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """The kinds of the features that are no vectors: "set", "image", "float image" or "goal" (demos/kinds.py)."""
    action: Scale | None = field(default=None, repr=False)
    """Constants of actions in the robot's own units; None for actions in [-1, 1]. No part of `repr`, which fingerprints
    hash: those of policies without it stay as they were, and with it its numbers are hashed as tensors."""

    @classmethod
    def of(cls, features: Mapping[str, Feature], scales: Mapping[str, Scale], language: int) -> Shape:
        """The shape for the features of a suite or a store, in alphabetical order: the robot's own state comes last.

        Raises:
            SettingError: a feature has no scale, or no encoder reads it.
        """
        names = sorted(name for name in features if name != ACTION)
        kinds = {name: kind_of(name, features[name]) for name in names}
        pictures = {name: features[name] for name, kind in kinds.items() if kind in PICTURES}
        known = {name: pixels(f.shape[2], f.dtype) for name, f in pictures.items()} | dict(scales)
        for name in names:
            if name not in known:
                raise SettingError(f"feature {name!r} has no scale: declare its constants in `scales`")
        special = {name: kind for name, kind in kinds.items() if kind != "vector"}
        return cls(
            {name: known[name] for name in names}, features[ACTION].shape[0], language, special, scales.get(ACTION)
        )

    def asdict(self) -> dict[str, Any]:
        """In JSON's types; `fromdict` reads it back."""
        content = dataclasses.asdict(self)
        if self.action is None:
            del content["action"]
        return content

    @classmethod
    def fromdict(cls, content: dict[str, Any]) -> Shape:
        def scale(entry: dict[str, Any]) -> Scale:
            return Scale(tuple(entry["center"]), tuple(entry["unit"]))

        scales = {name: scale(entry) for name, entry in content["scales"].items()}
        action = scale(content["action"]) if "action" in content else None
        return cls(scales, content["actions"], content["language"], content.get("kinds", {}), action)


class Policy(nn.Module):
    """A transformer over one token for the instruction and then the tokens of each time step.

    Args:
        shape: widths and scales of what it observes and does.
        settings: width, layers, heads, history, kind of linear maps and of head.
        generator: for the initial weights; equal states of it give equal policies.
    """

    head: RegressionHead | MixtureHead

    def __init__(self, shape: Shape, settings: PolicySettings, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if settings.width % settings.heads:
            raise SettingError(f"policy.width {settings.width} is no multiple of policy.heads {settings.heads}")
        if settings.trunk != NONE and not set(shape.kinds.values()) & set(PICTURES):
            raise SettingError(
                f"policy.trunk {settings.trunk!r} is for pictures, and this policy sees none "
                f"({', '.join(shape.scales)}): use none, or a suite with pictures"
            )
        self.shape, self.settings = shape, settings
        self.encoders = nn.ModuleDict(
            {name.replace(".", "/"): self._encoder(name, scale, generator) for name, scale in shape.scales.items()}
        )
        self.instruction = InstructionEncoder(shape.language, settings.width, generator)
        gain = 1 / math.sqrt(2 * settings.layers)
        self.layers = nn.ModuleList(
            TPSTLayer(settings.width, settings.heads, settings.history, settings.maps, gain, generator)
            for _ in range(settings.layers)
        )
        self.head = make_head(settings.head, settings.width, shape.actions * settings.chunk, settings.modes, generator)
        self.register_module(TASK_TOKEN, None)
        self.register_module(ACTION_UNITS, None if shape.action is None else ActionUnits(shape.action))

    def _encoder(self, name: str, scale: Scale, generator: torch.Generator | None) -> nn.Module:
        kind = self.shape.kinds.get(name, "vector")
        if kind in PICTURES and self.settings.trunk != NONE:
            return TrunkEncoder(name, scale, self.settings, generator)
        return ENCODERS[kind](scale, self.settings.width, generator)

    @property
    def trunk(self) -> FrozenTrunk | None:
        """The frozen trunk that pictures are seen through; None where there is none."""
        return next((part.trunk for part in self.encoders.values() if isinstance(part, TrunkEncoder)), None)

    @property
    def task_token(self) -> TaskToken | None:
        """The encoder of the task tokens, which stand in front of each step's other tokens; a new policy has none."""
        return cast("TaskToken | None", self._modules[TASK_TOKEN])

    @property
    def action_units(self) -> ActionUnits | None:
        """The constants of actions in the robot's own units; None for actions in [-1, 1]."""
        return cast("ActionUnits | None", self._modules[ACTION_UNITS])

    @property
    def device(self) -> torch.device:
        """The device of all its tensors."""
        return self.stack[0].distance.device

    @property
    def stack(self) -> list[TPSTLayer]:
        """The layers, first to last."""
        return cast("list[TPSTLayer]", list(self.layers))

    @property
    def per_step(self) -> int:
        """Tokens in one time step where every goal is given, task tokens included."""
        own = 1 if self.settings.step == "joint" else len(self.encoders)
        return own if self.task_token is None else own + self.task_token.tokens

    @property
    def seen(self) -> dict[str, str]:
        """The features that it reads, those of its task token included, and their kinds. Goals may be left out."""
        kinds = {name: self.shape.kinds.get(name, "vector") for name in self.shape.scales}
        return kinds if self.task_token is None else {**self.task_token.kinds, **kinds}

    def looked(self, observation: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same observation, each feature (B, T, *shape), with what the frozen trunk makes of its pictures in their
        place."""
        looked = dict(observation)
        for path, encoder in self.encoders.items():
            name = path.replace("/", ".")
            if isinstance(encoder, TrunkEncoder) and name in looked:
                looked[name] = encoder.look(looked[name])
        return looked

    def tokens(
        self, observation: Mapping[str, Tensor], instruction: Tensor, noise: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """The tokens (B, T, n, width) of raw observations, each feature (B, T, *shape); task tokens come first.

        Encoders also get the instruction's token (B, 1, width). `noise` is added to scaled features.
        """
        seen = self.observed(observation, instruction, noise)
        return seen if self.task_token is None else torch.cat([self.task_token(observation), seen], 2)

    def observed(
        self, observation: Mapping[str, Tensor], instruction: Tensor, noise: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """`tokens` without the task tokens."""
        tokens = []
        for name in self._read(observation):
            encoder = self.encoders[name.replace(".", "/")]
            token = encoder(observation[name], instruction, None if noise is None else noise.get(name))
            if self.settings.step == "joint" and isinstance(encoder, GoalEncoder):
                token = token * encoder.given(observation[name])[..., None]  # one that is not given adds nothing
            tokens.append(token)
        stacked = torch.stack(tokens, 2)
        return stacked.sum(2, keepdim=True) if self.settings.step == "joint" else stacked

    def weights(self, observation: Mapping[str, Tensor]) -> Tensor | None:
        """Logarithms of the weights that the tokens of each step have in attention, (B, T, n).

        A task token has a learned one (`TaskToken.presence`), the token of a goal that is not given has minus infinity,
        and all others have 0. None stands for zeros.
        """
        names = self._read(observation)
        goals = {n: e for n in names if isinstance(e := self.encoders[n.replace(".", "/")], GoalEncoder)}
        if self.settings.step == "joint":
            goals = {}
        if not goals and self.task_token is None:
            return None
        usual = torch.zeros(observation[names[0]].shape[:2], device=self.device)
        columns = [
            usual.masked_fill(~goals[name].given(observation[name]), float("-inf")) if name in goals else usual
            for name in (names if self.settings.step == "separate" else names[:1])
        ]
        own = [] if self.task_token is None else [usual + presence for presence in self.task_token.presence]
        return torch.stack([*own, *columns], 2)

    def _read(self, observation: Mapping[str, Tensor]) -> list[str]:
        """The features to read of this observation, in the order of their tokens: goals may be left out."""
        names = [n for n in self.shape.scales if n in observation or self.shape.kinds.get(n) != "goal"]
        for name in names:
            if name not in observation:
                raise SettingError(f"the observation lacks {name!r}, which this policy reads")
        return names

    def forward(
        self,
        observation: Mapping[str, Tensor],
        embedding: Tensor,
        mask: Tensor | None = None,
        noise: Mapping[str, Tensor] | None = None,
        stride: Tensor | None = None,
    ) -> Tensor:
        """The normed output of the last layer, (B, T, width), for whole windows; `actions` are made of it.

        Args:
            observation: raw features, each (B, T, *shape).
            embedding: unit sentence vectors (B, language).
            mask: (B, T), False for the steps before the start of the episode.
            noise: added to the scaled features; of the same shapes.
            stride: (B,) whole numbers from 1: a step attends to those alone that lie a multiple of so many steps back,
                as where each look is followed by so many actions; None: to all.
        """
        instruction = self.instruction(embedding)
        steps = self.tokens(observation, instruction, noise)
        batch, length, n, width = steps.shape
        x = torch.cat([instruction, steps.reshape(batch, length * n, width)], 1)
        weights = self.masked(mask, self.weights(observation), n)
        if stride is not None:
            gaps = self._gaps(stride, length, n)
            weights = gaps if weights is None else weights + gaps
        for layer in self.stack[:-1]:
            h = norm(x)
            x = layer.attend(x, h, *layer.keys(h), self.bias(layer, length, n, weights))
        last, h = self.stack[-1], norm(x)
        # of the last layer's tokens only those that become actions are computed
        bias = self.bias(last, length, n, weights)[..., n::n, :]
        x = last.attend(x[:, n::n], h[:, n::n], *last.keys(h), bias)
        return norm(x)

    def loss(
        self,
        observation: Mapping[str, Tensor],
        embedding: Tensor,
        action: Tensor,
        mask: Tensor,
        noise: Mapping[str, Tensor] | None = None,
        stride: Tensor | None = None,
    ) -> Tensor:
        """The head's loss, averaged over the steps that are not padding.

        Args:
            action: as it was done, (B, T, A); of a policy that predicts chunks (B, T, chunk, A), the step's own first.

        Raises:
            SettingError: the actions are of another number than the policy predicts.
        """
        numbers, chunk = math.prod(action.shape[2:]), self.settings.chunk
        if numbers != chunk * self.shape.actions:
            raise SettingError(
                f"each step's target has {numbers} numbers, where this policy predicts {chunk} actions of "
                f"{self.shape.actions}: make its lesson with chunk={chunk}"
            )
        if self.action_units is not None:
            action = self.action_units.scaled(action, None)
        losses = self.head.loss(self(observation, embedding, mask, noise, stride), action.flatten(2))
        return (losses * mask).sum() / mask.sum()

    def actions(self, x: Tensor) -> Tensor:
        """The actions (..., A) that are done for tokens (..., width): in [-1, 1], or in the robot's own units."""
        return self.chunks(x)[..., 0, :]

    def chunks(self, x: Tensor) -> Tensor:
        """These and those of the next steps, (..., policy.chunk, A)."""
        return self.restored(self.predicted(x))

    def predicted(self, x: Tensor) -> Tensor:
        """What the head gives for tokens (..., width), as (..., policy.chunk, A): see `restored`."""
        return self.head(x).unflatten(-1, (self.settings.chunk, self.shape.actions))

    def restored(self, x: Tensor) -> Tensor:
        """The actions that are done for what is predicted (..., A): clipped, and in the robot's own units."""
        return x.clamp(-1.0, 1.0) if self.action_units is None else self.action_units.restored(x)

    def masked(self, mask: Tensor | None, weights: Tensor | None, n: int) -> Tensor | None:
        """Logarithms of the weights of all keys of a window, (B, 1, 1, S): 0 for the instruction, minus infinity for
        padding; None stands for zeros."""
        if mask is not None:
            padding = torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, float("-inf"))[:, :, None]
            weights = padding.expand(-1, -1, n) if weights is None else weights + padding
        if weights is None:
            return None
        return torch.cat([weights.new_zeros(len(weights), 1), weights.flatten(1)], 1)[:, None, None]

    def bias(self, layer: TPSTLayer, length: int, n: int, weights: Tensor | None) -> Tensor:
        """The attention bias (B or 1, heads, S, S) of a window of `length` steps of `n` tokens."""
        index, outside = self._band(length)
        steps = layer.distance[:, index].masked_fill(outside, float("-inf"))
        steps = steps.repeat_interleave(n, 1).repeat_interleave(n, 2)
        rows = torch.cat([layer.prefix[:, :, None].expand(-1, steps.shape[1], 1), steps], 2)
        first = torch.full((len(steps), 1, rows.shape[2]), float("-inf"), device=rows.device)
        first[:, :, 0] = 0.0
        bias = torch.cat([first, rows], 1)[None]
        return bias if weights is None else bias + weights

    def _gaps(self, stride: Tensor, length: int, n: int) -> Tensor:
        """What a stride takes out of attention, (B, 1, S, S): minus infinity between steps that do not see each other,
        else 0."""
        at = torch.arange(length, device=stride.device)
        apart = (at[:, None] - at[None]) % stride[:, None, None] != 0
        steps = torch.zeros(apart.shape, device=stride.device).masked_fill_(apart, float("-inf"))
        return nn.functional.pad(steps.repeat_interleave(n, 1).repeat_interleave(n, 2), (1, 0, 1, 0))[:, None]

    def _band(self, length: int) -> tuple[Tensor, Tensor]:
        """Distances in steps from query to key (length, length), clamped to the history, and which were outside."""
        at = torch.arange(length, device=self.stack[0].distance.device)
        distance = at[:, None] - at[None]
        history = self.settings.history
        return distance.clamp(0, history - 1), (distance < 0) | (distance >= history)

    # ---------------------------------------------------------------- growing

    def maps(self) -> dict[str, nn.Module]:
        """The transformer's linear maps by path ("layers.0.q", ...), which a method may replace."""
        return {
            f"layers.{i}.{name}": getattr(layer, name) for i, layer in enumerate(self.stack) for name in LINEAR_MAPS
        }

    def derive(self, replaced: Mapping[str, nn.Module]) -> Policy:
        """A policy with the modules at these paths replaced. All other modules are shared with this one, not copied."""
        return _replace(self, replaced)  # pyright: ignore[reportReturnType]

    def with_task_token(self, token: TaskToken) -> Policy:
        """This policy with a task token; nothing else is replaced."""
        return self.derive({TASK_TOKEN: token})

    def fused(self) -> Policy:
        """The same policy for acting: every linear map that grew is a plain one without gradients."""
        maps = self.maps().items()
        return self.derive(
            {path: linear_map.fused() for path, linear_map in maps if isinstance(linear_map, GrownPattention)}
        )

    def fingerprint(self) -> str:
        """SHA-256 of all numbers that this policy computes with. Equal fingerprints mean equal actions, bit for bit."""
        sha256 = hashlib.sha256(repr((self.shape, self.settings)).encode())
        for name, tensor in sorted(self.fused().state_dict().items()):
            sha256.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            sha256.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return sha256.hexdigest()


def _replace(module: nn.Module, replaced: Mapping[str, nn.Module]) -> nn.Module:
    """A shallow copy of a module with the submodules at these paths replaced; `module` itself stays as it is."""
    copied = copy.copy(module)
    copied._modules = dict(module._modules)
    below: dict[str, dict[str, nn.Module]] = {}
    for path, other in replaced.items():
        name, _, rest = path.partition(".")
        if rest:
            below.setdefault(name, {})[rest] = other
        else:
            copied._modules[name] = other
    for name, part in below.items():
        child = module._modules[name]
        assert child is not None
        copied._modules[name] = _replace(child, part)
    return copied
