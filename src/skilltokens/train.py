"""fit(): the only training loop.

It is a generator that stops at the points of the learning curve, so that its caller evaluates and saves there; and
it goes on from a saved state bit for bit (same machine, same threads).
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skilltokens.demos.windows import Batch, Windows
from skilltokens.methods.base import Lesson, Training
from skilltokens.model.images import precomputed
from skilltokens.model.pattention import GrownPattention
from skilltokens.model.policy import Policy
from skilltokens.settings import TrainSettings
from skilltokens.types import ACTION, Progress, Report, SkilltokensError, silent


@dataclass
class Record:
    """What fit() writes down every `log_every` steps."""

    iterations: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    gradients: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """For each map the norms of the gradients of its shared and its specific rows."""


@dataclass
class Point:
    """A stop of fit(): after `step` of `total` optimizer steps."""

    step: int
    total: int
    progress: float
    record: Record
    _save: Any = None

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What fit(start=...) needs to go on from here: tensors, and a part that JSON can hold."""
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
        training: the policy, its parameter groups and where batches come from.
        iterations: optimizer steps.
        points: rising numbers in [0, 1], the shares of training at which to stop.
        seed: of the batches.
        start: what `Point.state` returned; training goes on behind that point. Behind the last one there is no more
            training: that point is then yielded again, with what was written down.

    Raises:
        SkilltokensError: the loss is not finite.
    """
    sources = [Source(lesson, settings, training.policy) for lesson in training.lessons]
    optimizer = torch.optim.AdamW(training.groups, weight_decay=settings.weight_decay)
    peaks = [group["lr"] for group in optimizer.param_groups]
    rng = np.random.default_rng([seed, 7])
    average = Average(training.parameters(), settings.average)
    record, step = Record(), 0
    if start is not None:
        step, record = _load(start, training, average, optimizer, rng)
    stops = [round(point * iterations) for point in points]

    def save() -> tuple[dict[str, Tensor], dict[str, Any]]:
        return _save(step, training, average, optimizer, rng, record)

    if start is None and stops and stops[0] == 0:
        yield Point(0, iterations, points[0], record, save)
    if start is not None and step == iterations and step in stops:
        report(Progress("train", step, iterations, figures={"loss": record.loss[-1]}))
        with average.shown():
            yield Point(step, iterations, points[stops.index(step)], record, save)
    while step < iterations:
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * rate_factor(step, iterations, settings.warmup)
        loss = _loss(training, sources, settings, rng)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if step % settings.log_every == 0 or step == iterations - 1:
            _note(record, step, float(loss.detach()), training.policy)
            report(Progress("train", step, iterations, figures={"loss": record.loss[-1]}))
        torch.nn.utils.clip_grad_norm_(training.parameters(), settings.clip)
        optimizer.step()
        average.update()
        step += 1
        if step in stops:
            report(Progress("train", step, iterations, figures={"loss": record.loss[-1]}))
            with average.shown():
                yield Point(step, iterations, points[stops.index(step)], record, save)
    average.keep()


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


class Source:
    """Batches of one lesson. Of pictures, what a policy's frozen trunks make of them, computed once."""

    def __init__(self, lesson: Lesson, settings: TrainSettings, policy: Policy | None = None) -> None:
        encoders = (
            {path.replace("/", "."): each for path, each in policy.encoders.items()} if policy is not None else {}
        )
        self.windows = Windows(lesson.stores, settings.window, precomputed(encoders, lesson.stores, settings.device))
        self.embeddings, self.settings = lesson.embeddings, settings

    def draw(self, rng: np.random.Generator) -> tuple[Batch, np.ndarray]:
        """A batch, and for each of its windows one of its task's wordings at random (B, language)."""
        batch = self.windows.sample(self.settings.batch, rng)
        chosen = rng.random(len(batch.store))
        words = [self.embeddings[s][int(u * len(self.embeddings[s]))] for s, u in zip(batch.store, chosen, strict=True)]
        return batch, np.stack(words)


def _loss(training: Training, sources: Sequence[Source], settings: TrainSettings, rng: np.random.Generator) -> Tensor:
    """The mean loss over one batch of every source, with the method's penalty."""
    device, total = settings.device, torch.zeros((), device=settings.device)
    for source in sources:
        batch, words = source.draw(rng)
        if training.augment is not None:
            training.augment(batch.features, rng)
        seen = {n: torch.from_numpy(v).to(device) for n, v in batch.features.items() if n != ACTION}
        noise = None
        if settings.observation_noise:
            noise = {
                name: torch.from_numpy(rng.standard_normal(value.shape, dtype=np.float32)).to(device)
                * settings.observation_noise
                for name, value in seen.items()
                if training.policy.shape.kinds.get(name) != "image"
            }
        action = torch.from_numpy(batch.features[ACTION]).to(device)
        with _precision(settings):
            total = total + training.policy.loss(
                seen, torch.from_numpy(words).to(device), action, torch.from_numpy(batch.mask).to(device), noise
            )
    total = total / len(sources)
    if training.penalty is not None:
        total = total + training.penalty()
    return total


def _precision(settings: TrainSettings) -> contextlib.AbstractContextManager[Any]:
    if settings.precision == "bfloat16":
        return torch.autocast(torch.device(settings.device).type, dtype=torch.bfloat16)
    return contextlib.nullcontext()


def _note(record: Record, step: int, loss: float, policy: Policy) -> None:
    """Appends to the record; a loss that is not finite ends the run."""
    if not math.isfinite(loss):
        raise SkilltokensError(f"the loss became {loss} at step {step}: lower the learning rate (--method.rate)")
    record.iterations.append(step)
    record.loss.append(loss)
    for path, map in policy.maps().items():
        if isinstance(map, GrownPattention):
            entry = record.gradients.setdefault(path, {"shared": [], "specific": []})
            entry["shared"].append(_norm([map.frozen_key.grad, map.frozen_value.grad]))
            entry["specific"].append(_norm([map.key.grad, map.value.grad]))


def _norm(gradients: Sequence[Tensor | None]) -> float:
    """Their common norm; none at all is exactly zero."""
    return math.sqrt(sum(float(g.square().sum()) for g in gradients if g is not None))


def _save(
    step: int,
    training: Training,
    average: Average,
    optimizer: torch.optim.Optimizer,
    rng: np.random.Generator,
    record: Record,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    # taken at a point, where the policy shows the averages and `values` holds the parameters (but at step 0)
    tensors = {f"parameter.{i}": p.detach().clone() for i, p in enumerate(training.parameters())}
    tensors |= {f"average.{i}": value.clone() for i, value in enumerate(average.values)}
    for i, entry in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{name}": value.clone() for name, value in entry.items()}
    plain = {"step": step, "rng": json.dumps(rng.bit_generator.state), "record": vars(record)}
    return tensors, json.loads(json.dumps(plain))


def _load(
    start: tuple[Mapping[str, Tensor], Mapping[str, Any]],
    training: Training,
    average: Average,
    optimizer: torch.optim.Optimizer,
    rng: np.random.Generator,
) -> tuple[int, Record]:
    tensors, plain = start
    average.steps = plain["step"]
    with torch.no_grad():
        for i, parameter in enumerate(training.parameters()):
            shown, held = tensors[f"parameter.{i}"], tensors.get(f"average.{i}")
            parameter.copy_(shown if held is None else held)
            if held is not None:
                average.values[i].copy_(shown)
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, i, key = name.split(".", 2)
            state.setdefault(int(i), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    rng.bit_generator.state = json.loads(plain["rng"])
    return plain["step"], Record(**plain["record"])
