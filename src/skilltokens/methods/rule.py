"""Rule: how a method takes part in each training step of `fit`.

Replay, regularisers, projected gradients, pruning and masks are rules; `fit` stays the only training loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from skilltokens.methods.examples import Examples
from skilltokens.types import RuleError


@dataclass(frozen=True)
class Now:
    """Where the training stands while a rule is called."""

    step: int
    """Optimizer steps done before this one."""
    total: int
    """Optimizer steps of the whole training."""
    generator: np.random.Generator
    """The rule's own: whatever a rule draws comes from here. It is saved with the training, so an interrupted run draws
    the same, and it is apart from the batches', so the new task's batches are the same for every method."""
    batches: np.random.Generator
    """What the batches are drawn from, and then the noise on what is seen. Whoever draws from it changes every batch
    that follows, so that two methods no longer see the same ones; made for rules that have always done so."""
    restart: Callable[[], None] = lambda: None
    """For `stepped`, where a rule has just changed the parameters at one blow (pruning): the optimizer forgets its
    moments, and the running average begins anew from the parameters as they are then."""


class Rule:
    """What a method does within each step. This one does nothing; a subclass overrides what it needs.

    In the order in which a step calls them: `examples`, `loss`, backward, `gradients`, `figures` (where the step is
    written down), clipping, the optimizer, `stepped`, and then the running average of the parameters, which is what is
    evaluated and kept.
    """

    passes: float = 1.0
    """What a step costs: how many times a batch goes through the policy, forward and backward; a pass without gradients
    counts as a third. Replay of as many old windows as new ones is 2."""
    of_parameters: bool = False
    """Whether what `loss` adds depends on the parameters alone and not on the batch: then processes can share a batch.
    Where `loss` is not overridden they can in any case."""

    @cached_property
    def kept(self) -> dict[str, Tensor]:
        """What the rule changes on its way and needs after an interruption; empty until a subclass fills or sets it."""
        return {}

    def examples(self, new: Examples, now: Now) -> Examples:
        """What this step learns from: the new task's batch as it is, changed (masks), or with more behind it (replay).

        Where training adds noise to what is seen, it draws it after this: for the first windows, as many as `new` has,
        from `now.batches`, for those behind them from `now.generator`.
        """
        return new

    def loss(self, loss: Tensor, learned: Examples, now: Now) -> Tensor:
        """What this step minimises, a scalar: the loss on `learned`, with whatever is added (regularisers)."""
        return loss

    def gradients(self, now: Now) -> None:
        """Changes the gradients in place, before they are clipped (projections)."""

    def figures(self) -> Mapping[str, Mapping[str, float]]:
        """Figures to write down beside the loss, the same names each time: {layer: {name: figure}}.

        run.json keeps them under "gradients". The report draws the names "shared" and "specific".
        """
        return {}

    def stepped(self, now: Now) -> None:
        """Changes the parameters in place after the optimizer (pruning, entries that must stay as they were).

        Called where torch records no gradients. What is evaluated and kept is the parameters' running average: an entry
        that is put back after every step keeps each bit there too, one that is set to something new arrives slowly, or
        with `now.restart` at once.
        """

    def untrained(self) -> int:
        """How many entries of the trained parameters it holds still all the time (masks): these do not count as
        trained."""
        return 0

    def state(self) -> dict[str, Tensor]:
        """What is saved with the training: `kept`. What `begin` makes anew stays out.

        Called where the policy shows its averages, so nothing here may be read from the parameters.
        """
        return dict(self.kept)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """The reverse of `state`; tensors come where the policy is."""
        self.kept = dict(state)


class Around(Rule):
    """A rule around another one: what a subclass does not override is the other's, its state included.

    What a subclass overrides, it passes on: `self.inner.loss(...)`.
    """

    def __init__(self, inner: Rule) -> None:
        self.inner = inner
        self.passes = inner.passes

    def examples(self, new: Examples, now: Now) -> Examples:
        return self.inner.examples(new, now)

    def loss(self, loss: Tensor, learned: Examples, now: Now) -> Tensor:
        return self.inner.loss(loss, learned, now)

    def gradients(self, now: Now) -> None:
        self.inner.gradients(now)

    def figures(self) -> Mapping[str, Mapping[str, float]]:
        return self.inner.figures()

    def stepped(self, now: Now) -> None:
        self.inner.stepped(now)

    def untrained(self) -> int:
        return self.inner.untrained()

    def state(self) -> dict[str, Tensor]:
        return self.inner.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.inner.restore(state)


def shareable(rule: Rule) -> bool:
    """Whether processes can share this rule's batches: each then calls `loss` with its own rows' loss."""
    adds = type(rule).loss not in (Rule.loss, Around.loss)
    return (rule.of_parameters or not adds) and (not isinstance(rule, Around) or shareable(rule.inner))


def checked_examples(rule: Rule, new: Examples, now: Now) -> Examples:
    """What the rule makes of a batch.

    Raises:
        RuleError: it cannot be learned from.
    """
    learned = rule.examples(new, now)
    fault = _fault(learned, new)
    if fault:
        raise RuleError(f"the rule {type(rule).__name__} returned examples that cannot be learned from: {fault}")
    return learned


def checked_loss(rule: Rule, loss: Tensor, learned: Examples, now: Now) -> Tensor:
    """What the rule makes of a loss.

    Raises:
        RuleError: it cannot be minimised.
    """
    changed = rule.loss(loss, learned, now)
    fault = ""
    if not isinstance(changed, Tensor):
        fault = f"a {type(changed).__name__} is no tensor"
    elif changed.ndim:
        fault = f"its shape is {tuple(changed.shape)}, not (): take its mean or its sum"
    elif not changed.requires_grad:
        fault = "it has no gradient: add to the loss that the rule is given"
    if fault:
        raise RuleError(f"the rule {type(rule).__name__} returned a loss that cannot be minimised: {fault}")
    return changed


def checked_state(rule: Rule) -> dict[str, Tensor]:
    """What the rule has to be saved.

    Raises:
        RuleError: something is no tensor.
    """
    state = rule.state()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise RuleError(
                f"the rule {type(rule).__name__} cannot be saved: {name!r} of its state is a {type(value).__name__}, "
                "not a tensor"
            )
    return state


def _fault(learned: Examples, new: Examples) -> str:
    """What is wrong with examples, beside the new batch that they were made of; empty where nothing is."""
    if not isinstance(learned, Examples):
        return f"a {type(learned).__name__} is no Examples"
    parts = learned.parts
    if not parts or min(parts) < 1:
        return f"parts {parts} has an empty part, or none at all"
    for name, value, model in _beside(learned, new):
        if model is None:
            return f"the demonstrations have no {name}"
        if not isinstance(value, Tensor):
            return f"{name} is a {type(value).__name__}, not a tensor"
        shape = (sum(parts), *model.shape[1:])
        if value.shape != shape:
            return f"{name} is {tuple(value.shape)}, where parts {parts} ask for {shape}"
        if value.dtype != model.dtype:
            return f"{name} is {value.dtype}, where the policy takes {model.dtype}"
        if value.device != model.device:
            return f"{name} is on {value.device}, where the policy is on {model.device}"
    return ""


def _beside(learned: Examples, new: Examples) -> Iterator[tuple[str, Any, Tensor | None]]:
    """Every tensor of the examples: its name, itself, and one of the new batch that it must be like but for rows."""
    for field in ("words", "action", "mask"):
        yield field, getattr(learned, field), getattr(new, field)
    for name, value in learned.observation.items():
        yield f"feature {name!r}", value, new.observation.get(name)
    if learned.stride is not None:
        yield "stride", learned.stride, new.stride
    for name, value in (learned.noise or {}).items():
        model = new.observation.get(name)
        yield f"noise on feature {name!r}", value, None if model is None else model.float()
