"""fit(): the only training loop.

It is a generator that stops at the points of the learning curve, so that its caller evaluates and saves there; and
it resumes from a saved state bit for bit (same machine, same threads). A method takes part in each step by its rule.
The kernel of the settings computes a step; whoever evaluates at a point computes by torch, as whatever acts does.
Where torchrun started several processes, each learns from its rows of every batch (distributed.py).
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Annotated, Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from skilltokens.distributed import Team, current
from skilltokens.machine import keep_freed_memory
from skilltokens.methods.base import Training
from skilltokens.methods.examples import Examples, Source, imitation, observation_noise
from skilltokens.methods.rule import Now, checked_examples, checked_loss, checked_state
from skilltokens.model.kernels import computing_by
from skilltokens.optimizer import JoinedAdamW
from skilltokens.settings import TrainSettings
from skilltokens.tensors import check_like
from skilltokens.types import Progress, Report, RunError, SkilltokensError, silent


@dataclass
class Record:
    """What fit() writes down every `log_every` steps."""

    iterations: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    gradients: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """What the rule's `figures` were: layer -> name -> a figure for each of `iterations`."""

    def note(self, step: int, loss: float, figures: Mapping[str, Mapping[str, float]]) -> None:
        """Appends a step.

        Raises:
            SkilltokensError: the loss is not finite, or the figures have other names than before.
        """
        check_finite(loss, step)
        if self.iterations and _names(figures) != _names(self.gradients):
            raise SkilltokensError(f"a rule's figures have other names at step {step} than before: give the same ones")
        self.iterations.append(step)
        self.loss.append(loss)
        for layer, values in figures.items():
            for name, value in values.items():
                self.gradients.setdefault(layer, {}).setdefault(name, []).append(value)


@dataclass
class Point:
    """A stop of fit(): after `step` of `total` optimizer steps."""

    step: int
    total: int
    progress: float
    record: Record
    _save: Any = None

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What fit(start=...) needs to resume from here: tensors, and a part that JSON can hold."""
        return self._save()


def fit(
    training: Training,
    settings: TrainSettings,
    iterations: int,
    points: Sequence[float],
    seed: int,
    *,
    start: tuple[Mapping[str, Tensor], Mapping[str, Any]] | None = None,
    report: Report = silent,
) -> Iterator[Point]:
    """Trains by AdamW with a cosine rate, and yields at each of `points`.

    Args:
        training: the policy, its parameter groups, where batches come from and the method's rule.
        iterations: optimizer steps.
        points: rising numbers in [0, 1], the shares of training at which to stop.
        seed: of the batches, and of what the rule draws.
        start: what `Point.state` returned; training resumes behind that point. Behind the last one there is no more
            training: that point is then yielded again, with what was written down.

    Raises:
        SkilltokensError: the loss is not finite.
        RunError: `start` is not of this training, or was computed by another kernel.
        SettingError: the kernel does not work here.
        RuleError: the rule returned what cannot be learned from.
        DistributedError: another process of the team failed.
    """
    keep_freed_memory()
    sources = [Source(lesson, settings, training.ours, report) for lesson in training.lessons]
    work = _Work(training, settings, seed)
    if start is not None:
        _check_kernel(start[1], settings)
        work.load(*start)
    optimizer, rule, record, team = work.optimizer, training.rule, work.record, current()
    peaks = [group["lr"] for group in optimizer.param_groups]
    learns = bool(training.parameters())
    stops: dict[int, float] = {}
    for share in points:
        stops.setdefault(round(share * iterations), share)
    if team is not None:
        about = {"iterations": iterations, "stops": sorted(stops), "seed": seed, "step": work.step}
        team.begin(training, settings, about)

    def point() -> Point:
        return Point(work.step, iterations, stops[work.step], record, work.save)

    if start is None and 0 in stops:
        yield point()
    if start is not None and work.step == iterations and work.step in stops:
        report(Progress("train", work.step, iterations, figures={"loss": record.loss[-1]}))
        with work.average.shown():
            yield point()
    while work.step < iterations:
        if team is not None and work.step in stops:
            team.meet()  # the first process may have evaluated for hours
        now = Now(work.step, iterations, work.generator, work.batches, work.restart)
        noted = now.step % settings.log_every == 0 or now.step == iterations - 1
        loss = torch.zeros(())
        if learns:
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * rate_factor(now.step, iterations, settings.warmup)
            with computing_by(settings.kernel):
                loss = _loss(training, sources, settings, now, team)
                optimizer.zero_grad()
                loss.backward()
                if team is not None:
                    loss = team.average(training.parameters(), loss)
                rule.gradients(now)
        elif noted and sources:
            with torch.no_grad():
                loss = imitation(training.ours, _batch(sources, now), settings, now.generator)
        if noted:
            record.note(now.step, float(loss.detach()), rule.figures())
            report(Progress("train", now.step, iterations, figures={"loss": record.loss[-1]}))
        if learns:
            torch.nn.utils.clip_grad_norm_(training.parameters(), settings.clip)
            optimizer.step()
            with torch.no_grad():
                rule.stepped(now)
            work.average.update()
        work.step += 1
        if work.step in stops:
            check_finite(float(loss.detach()), now.step)  # else what nobody can go on from would be kept
            report(Progress("train", work.step, iterations, figures={"loss": record.loss[-1]}))
            with work.average.shown():
                yield point()
    work.average.keep()
    if team is not None:
        team.finish(training.parameters())


def _check_kernel(kept: Mapping[str, Any], settings: TrainSettings) -> None:
    """Raises RunError where a training was begun by another kernel: it would not end with the same bits."""
    began = kept.get("kernel", "torch")
    if began != settings.kernel:
        raise RunError(
            f"this training began with the kernel {began!r}, and {settings.kernel!r} has other last bits: resume it "
            f"with --train.kernel {began}, or start it again"
        )


def check_finite(loss: float, step: int) -> None:
    """Raises SkilltokensError where a loss is not finite."""
    if not math.isfinite(loss):
        raise SkilltokensError(f"the loss became {loss} at step {step}: lower the learning rate (--method.rate)")


def rate_factor(step: int, total: int, warmup: int) -> float:
    """Linear warm-up, then a half cosine to zero."""
    return min(1.0, (step + 1) / max(warmup, 1)) * 0.5 * (1 + math.cos(math.pi * step / max(total, 1)))


class Average:
    """A running average of the trained parameters (Polyak): what is evaluated and kept, free of the last steps' noise.

    Its memory grows to 1 / (1 - decay) steps; decay 0 is the parameters themselves.
    """

    def __init__(self, parameters: Sequence[torch.nn.Parameter], decay: float) -> None:
        self.parameters, self.decay, self.steps = parameters, decay, 0
        self.values = [parameter.detach().clone() for parameter in parameters] if decay else []

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the parameters after one more step."""
        self.steps += 1
        if self.decay:
            weight = 1 - min(self.decay, self.steps / (self.steps + 9))
            for value, parameter in zip(self.values, self.parameters, strict=True):
                value.lerp_(parameter, weight)

    @torch.no_grad()
    def _swap(self) -> None:
        for parameter, value in zip(self.parameters, self.values, strict=bool(self.decay)):
            held = parameter.detach().clone()
            parameter.copy_(value)
            value.copy_(held)

    @torch.no_grad()
    def restart(self) -> None:
        """Begins anew from the parameters as they are; its memory keeps its length."""
        for value, parameter in zip(self.values, self.parameters, strict=bool(self.decay)):
            value.copy_(parameter)

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Within it the policy has the averaged parameters."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def keep(self) -> None:
        """The policy has the averaged parameters from here on."""
        self._swap()


def _batch(sources: Sequence[Source], now: Now) -> Examples:
    """A batch of every source."""
    return reduce(Examples.joined, [source.draw(now.batches) for source in sources])


def _loss(
    training: Training, sources: Sequence[Source], settings: TrainSettings, now: Now, team: Team | None
) -> Tensor:
    """The loss of one step: on a batch of every source, as the method's rule has it; in a team on its own rows."""
    if training.loss is not None:
        return training.loss(now)
    new = _batch(sources, now)
    learned = checked_examples(training.rule, new, now)
    if settings.observation_noise:
        learned = _noisy(learned, new, training, settings, now)
    teach = imitation if team is None else team.loss
    loss = teach(training.ours, learned, settings, now.generator)
    return checked_loss(training.rule, loss, learned, now)


def _noisy(learned: Examples, new: Examples, training: Training, settings: TrainSettings, now: Now) -> Examples:
    """Examples with noise on what is seen. That of the new batch is drawn in any case: the next batch depends on it."""
    order = list(new.observation)
    noise = observation_noise(training.ours, new, settings, now.batches, order)
    if learned.noise is not None or noise is None:
        return learned
    if len(learned) > len(new):
        added = learned.rows(slice(len(new), None))
        more = observation_noise(training.ours, added, settings, now.generator, order) or {}
        noise = {name: torch.cat([noise[name], value]) for name, value in more.items()}
    return replace(learned, noise={name: value[: len(learned)] for name, value in noise.items()})


def _names(figures: Mapping[str, Mapping[str, Any]]) -> set[tuple[str, str]]:
    return {(layer, name) for layer, values in figures.items() for name in values}


class _Work:
    """A training at work: all that changes on its way, saved and loaded bit for bit."""

    def __init__(self, training: Training, settings: TrainSettings, seed: int) -> None:
        self.training, self.record, self.step, self.kernel = training, Record(), 0, settings.kernel
        self.optimizer = JoinedAdamW(training.groups, settings.weight_decay)
        self.average = Average(training.parameters(), settings.average)
        self.batches, self.generator = np.random.default_rng([seed, 7]), np.random.default_rng([seed, 13])

    def restart(self) -> None:
        """The optimizer is as at its first step, and the average is the parameters as they are."""
        self.optimizer.restart()
        self.average.restart()

    def save(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        # taken at a point, where the policy shows the averages and `values` holds the parameters (but at step 0)
        tensors = {f"parameter.{i}": p.detach().clone() for i, p in enumerate(self.training.parameters())}
        tensors |= {f"average.{i}": value.clone() for i, value in enumerate(self.average.values)}
        for i, entry in self.optimizer.moments().items():
            tensors |= {f"optimizer.{i}.{name}": value.clone() for name, value in entry.items()}
        rule = checked_state(self.training.rule)
        tensors |= {f"{RULE}{name}": value.detach().clone() for name, value in rule.items()}
        plain = {
            "step": self.step,
            "rng": json.dumps(self.batches.bit_generator.state),
            "rule": json.dumps(self.generator.bit_generator.state),
            "record": vars(self.record),
            "kernel": self.kernel,
        }
        return tensors, json.loads(json.dumps(plain))

    def load(self, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> None:
        """Raises RunError where the state is not of this training; nothing of it has been taken over then."""
        try:
            kept = msgspec.convert(plain, _Plain)
            kept.check()
            moments = _moments(tensors)
            check_like({n: t for n, t in tensors.items() if not n.startswith(RULE)}, self._needed(moments), "a tensor")
            self._take_over(tensors, kept, moments)
        except (LookupError, ValueError, TypeError, RuntimeError, AttributeError, OverflowError, RunError) as problem:
            reason = str(problem).split("\n", 1)[0][:200]
            raise RunError(
                f"the training that was kept is altered or not of this lesson ({reason}): start it again"
            ) from problem

    def _needed(self, moments: Mapping[int, Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """What a state's tensors must be like: those of this training, and the optimizer's where it has stepped."""
        parameters = {f"parameter.{i}": p for i, p in enumerate(self.training.parameters())}
        needed = {**parameters, **{f"average.{i}": value for i, value in enumerate(self.average.values)}}
        for i in moments:
            needed[f"optimizer.{i}.step"] = torch.tensor(0.0)
            needed |= {f"optimizer.{i}.{name}": parameters[f"parameter.{i}"] for name in ("exp_avg", "exp_avg_sq")}
        return {name: value.detach().cpu() for name, value in needed.items()}

    @torch.no_grad()
    def _take_over(self, tensors: Mapping[str, Tensor], kept: _Plain, moments: dict[int, dict[str, Tensor]]) -> None:
        batches, generator = np.random.default_rng(0), np.random.default_rng(0)
        batches.bit_generator.state = json.loads(kept.rng)
        # Before there were rules there was no such state: the generator begins as it would at the start.
        generator.bit_generator.state = json.loads(kept.rule) if kept.rule else self.generator.bit_generator.state
        self.batches, self.generator, self.record = batches, generator, kept.record
        self.step = self.average.steps = kept.step
        for i, parameter in enumerate(self.training.parameters()):
            shown, held = tensors[f"parameter.{i}"], tensors.get(f"average.{i}")
            parameter.copy_(shown if held is None else held)
            if held is not None:
                self.average.values[i].copy_(shown)
        self.optimizer.load(moments)
        device = self.training.policy.device
        self.training.rule.restore({n: value.to(device) for n, value in _under(RULE, tensors).items()})


class _Plain(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What JSON holds of a training."""

    step: Annotated[int, msgspec.Meta(ge=0)]
    rng: str
    rule: str = ""
    record: Record
    kernel: str = "torch"

    def check(self) -> None:
        """Raises ValueError where what was written down cannot be: the first step of a training always is."""
        count = len(self.record.iterations)
        series = [values for layer in self.record.gradients.values() for values in layer.values()]
        if any(len(values) != count for values in (self.record.loss, *series)) or (self.step and not count):
            raise ValueError("its losses and figures are not of the same steps")


def _moments(tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """The optimizer's tensors by number of the parameter."""
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in _under("optimizer.", tensors).items():
        i, key = name.split(".", 1)
        moments.setdefault(int(i), {})[key] = value
    return moments


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


RULE = "rule."
"""Before the names of a rule's tensors."""
