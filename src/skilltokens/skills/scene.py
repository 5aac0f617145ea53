"""The scene: what a skill was taught on, as a small density, and which skills a scene that is seen now may belong to.

A density is a Gaussian over `scene_features` of the first observations of an episode: a mean, a weight for every number
and a few principal directions, so it takes a few kilobytes. It may say no to an instruction ("that skill was never
taught in such a scene"), or choose a skill where there is no instruction. docs/scenes.md has the figures.

Many numbers of a scene are the same in every demonstration of a skill (where the table is, how high things stand, how
many there are) and others in another skill's. They decide; a few demonstrations are enough to know them. Numbers that
move within the first observations do not count: they say where the robot is, or what it did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.stats import chi2
from torch import Tensor

from skilltokens.demos import DemonstrationStore
from skilltokens.demos.kinds import PICTURES
from skilltokens.model.encoders import SetEncoder
from skilltokens.model.images import ImageEncoder
from skilltokens.model.observing import Senses
from skilltokens.model.policy import Policy
from skilltokens.model.scaled import LIMIT, Scaled
from skilltokens.model.trunked import TrunkEncoder
from skilltokens.types import STATE, Array, DemonstrationError, LibraryError, Observation, SettingError

FIRST = 10
"""Observations at the start of an episode that a density is fitted to. Of pictures it is the first one alone: they show
the robot too, which stands where it was taught to begin before it moves."""
GRID, SHADES = 5, 6.0
"""A picture is seen in so many rows and columns, and in units of 1/SHADES of half the range of its colours (FLOOR is
then one of 255 shades)."""
FEWEST = 3
"""Demonstrations that a density needs: fewer do not show what differs from one to the next."""
DIRECTIONS = 8
"""Principal directions of a density."""
FLOOR = 0.05
"""Standard deviation that every number has at least, in the base's own units (3 mm on Meta-World): two robots, or two
days, never agree better."""
STILL, DRIFT = 0.02, 2.0
"""A number moves if its standard deviation within the first observations is above STILL, in the base's units, and its
variance above DRIFT times what its jitter from one observation to the next explains: a noisy reading stands still."""
WORTH = 4.0
"""Correlations between numbers count as if this many demonstrations had shown none."""
FALSE_VETO = 0.01
"""The share of a skill's own scenes that it may refuse, were they Gaussian."""
DOUBT = 5.0
"""With n demonstrations a skill accepts distances that are longer by DOUBT / n: what n of them show is uncertain."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SceneDensity:
    """The Gaussian of one skill over scene features of width d; float32 throughout, as its file keeps it."""

    mean: Array
    """(d,)"""
    weights: Array
    """(d,): one over the variance that the directions leave; 0 for a number that does not count."""
    directions: Array
    """(DIRECTIONS, d), rows of 0 where fewer are needed. The squared distance of x from the mean is
    sum(weights (x - mean)^2) - |directions (x - mean)|^2."""
    constants: Array
    """(2,): the logarithm of the covariance's determinant, and the largest squared distance that is accepted."""

    @classmethod
    def fit(cls, base: Policy, store: DemonstrationStore, first: int = FIRST) -> SceneDensity | None:
        """The density of the first `first` observations of each demonstration; None with fewer than `FEWEST` of them.

        Where the base sees pictures it is that of the first one.

        Raises:
            SettingError: `first` is below 1.
            DemonstrationError: the store lacks a feature that the base looks at.
        """
        if first < 1:
            raise SettingError(f"a scene of {first} observations is impossible: use 1 or more")
        if store.episodes < FEWEST:
            return None
        names, first = scene_names(base), _usable(base, first)
        for name in names:
            if name not in store.features:
                raise DemonstrationError(f"{store.path} lacks {name!r}, which the library's policy observes")
        starts, ends = store.offsets[:-1], np.minimum(store.offsets[:-1] + first, store.offsets[1:])
        seen = ({name: store[name][start:end] for name in names} for start, end in zip(starts, ends, strict=True))
        return cls.of([scene_features(base, observation) for observation in seen])

    @classmethod
    def of(cls, episodes: Sequence[Array]) -> SceneDensity:
        """The density of features: for each of at least `FEWEST` episodes an array (its observations, d).

        What is accepted is found by leaving out one episode after the other: their mean squared distance from the rest
        is taken for the degrees of freedom of a chi-square distribution.
        """
        seen = [np.asarray(episode, np.float64) for episode in episodes]
        means = np.stack([episode.mean(0) for episode in seen])
        jitter = np.mean([np.square(np.diff(episode, axis=0)).sum(0) / (2 * len(episode)) for episode in seen], axis=0)
        moved = np.mean([episode.var(0) for episode in seen], axis=0)
        still = (moved <= STILL**2) | (moved <= DRIFT * jitter)
        count, apart = len(seen), []
        for left, episode in enumerate(seen):
            others = _gaussian(means[np.arange(count) != left], still, jitter)
            apart.append(float(others.distances(episode).mean()))
        whole = _gaussian(means, still, jitter)
        # Of a scene that never differs the distances are all 0: one degree of freedom leaves it some centimetres.
        limit = chi2.ppf(1 - FALSE_VETO, max(float(np.mean(apart)), 1.0)) * (1 + DOUBT / count)
        return replace(whole, constants=np.array([whole.constants[0], limit], np.float32))

    @property
    def width(self) -> int:
        """How many numbers a scene has."""
        return len(self.mean)

    def distances(self, features: Array) -> Numbers:
        """Squared distances (n,) of features (n, d), in standard deviations."""
        return _distances(features, self.mean[None], self.weights[None], self.directions[None])[0]

    def score(self, base: Policy, observation: Observation) -> Numbers:
        """Logarithms of the density (n,), but for a constant, of raw observations, each feature (n, *shape).

        Raises:
            ObservationError: an observation is missing, or not what the base reads.
        """
        return -0.5 * (self.distances(scene_features(base, observation)) + float(self.constants[0]))

    def tensors(self) -> dict[str, Tensor]:
        """What a skill's file keeps of it; `from_tensors` reads it back."""
        return {part.name: torch.from_numpy(getattr(self, part.name).copy()) for part in fields(self)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> SceneDensity:
        """Raises LibraryError where these are no density's tensors: names, shapes, dtypes or values are wrong."""
        names = [part.name for part in fields(cls)]
        if sorted(tensors) != sorted(names):
            raise LibraryError(f"a skill's scene has {', '.join(sorted(tensors)) or 'nothing'}, not {', '.join(names)}")
        width = tensors["mean"].numel()
        shapes = {"mean": (width,), "weights": (width,), "directions": (DIRECTIONS, width), "constants": (2,)}
        for name, shape in shapes.items():
            tensor = tensors[name]
            if tuple(tensor.shape) != shape or tensor.dtype != torch.float32 or not width:
                raise LibraryError(
                    f"a skill's scene has {name!r} of {tensor.dtype} {tuple(tensor.shape)}: torch.float32 {shape} is "
                    "needed, and not empty"
                )
            if not tensor.isfinite().all():
                raise LibraryError(f"a skill's scene has {name!r} with numbers that are not finite")
        if (tensors["weights"] < 0).any() or tensors["constants"][1] <= 0:
            raise LibraryError("a skill's scene has a negative weight, or a limit that is not positive")
        return cls(**{name: tensors[name].detach().cpu().numpy().copy() for name in names})


@dataclass(frozen=True, eq=False)
class SceneJudgement:
    """What the densities of a library's skills say of a scene. Arrays are (skills,), in the library's order."""

    best: int | None
    """The skill of the highest density among those that accept the scene; None where no density accepts it."""
    known: NDArray[np.bool_]
    """Which skills have a density."""
    accepted: NDArray[np.bool_]
    """Which skills do not refuse it. One without a density refuses nothing."""
    scores: Numbers
    """Logarithms of the densities, but for a constant; minus infinity without one."""
    strangeness: Numbers
    """The squared distance as a share of the largest that is accepted: above 1 is refused. 0 without a density."""


class SceneJudge:
    """The densities of all skills side by side: a scene is judged by all at once.

    Args:
        base: the frozen policy that the densities were fitted with.
        densities: of each skill; None for one without.

    Raises:
        LibraryError: a density was fitted with another base.
    """

    def __init__(self, base: Policy, densities: Sequence[SceneDensity | None]) -> None:
        self.base = base
        width = scene_width(base)
        self.known = np.array([density is not None for density in densities], bool)
        there = [density for density in densities if density is not None]
        for density in there:
            if density.width != width:
                raise LibraryError(
                    f"a skill's scene has {density.width} numbers where the library's policy sees {width}: it belongs "
                    "to another library"
                )
        self._means = np.stack([d.mean for d in there]) if there else np.zeros((0, width), np.float32)
        self._weights = np.stack([d.weights for d in there]) if there else np.zeros((0, width), np.float32)
        self._directions = np.stack([d.directions for d in there]) if there else np.zeros((0, DIRECTIONS, width))
        self._constants = np.stack([d.constants for d in there]).astype(np.float64) if there else np.zeros((0, 2))

    def judge(self, observation: Observation) -> SceneJudgement:
        """Judges the first observations of one episode, each feature (n, *shape) raw: one is enough.

        Over several the mean distance counts; of pictures the first is judged.

        Raises:
            ObservationError: an observation is missing, or not what the base reads: a number that is not finite is no
                sign of another scene but of a broken sensor.
        """
        features = scene_features(self.base, observation, first=True)
        distances = _distances(features, self._means, self._weights, self._directions).mean(1)
        scores = np.full(len(self.known), -np.inf)
        scores[self.known] = -0.5 * (distances + self._constants[:, 0])
        strangeness = np.zeros(len(self.known))
        strangeness[self.known] = distances / self._constants[:, 1]
        accepted = strangeness <= 1
        candidates = np.flatnonzero(accepted & self.known)
        best = int(candidates[scores[candidates].argmax()]) if len(candidates) else None
        return SceneJudgement(best, self.known.copy(), accepted, scores, strangeness)


# ---------------------------------------------------------------- what is looked at


def scene_names(base: Policy) -> tuple[str, ...]:
    """The observations that a scene is made of: not goals, which are asked for and not seen; and not the robot's own
    state, which depends on what it did before, unless there is nothing else."""
    seen = [name for name in base.shape.scales if base.shape.kinds.get(name) != "goal"]
    return tuple(name for name in seen if name != STATE) or tuple(seen)


def scene_width(base: Policy) -> int:
    """How many numbers `scene_features` gives for an observation."""
    return sum(_width(_encoder(base, name)) for name in scene_names(base))


@torch.inference_mode()
def scene_features(base: Policy, observation: Observation, first: bool = False) -> NDArray[np.float32]:
    """The scene (n, d) of raw observations, each feature (n, *shape), in the units that the base is fed.

    Args:
        first: look at as many of the first observations as a density does.

    A vector is taken as it is, scaled. Of a set of objects it is how many of the slots they fill, and the mean of their
    scaled slots; so their order does not matter. Of a picture it is the mean colour of GRID x GRID parts.

    Raises:
        ObservationError: an observation is missing, there is none, or one is not what the base reads.
    """
    names, parts = scene_names(base), []
    seen = Senses.of(base).only(names).read(observation)
    for name in names:
        values = seen[name][: _usable(base, len(seen[name]))] if first else seen[name]
        parts.append(_features(_encoder(base, name), torch.as_tensor(values, device=base.device)))
    return torch.cat(parts, 1).float().cpu().numpy()


def _usable(base: Policy, observations: int) -> int:
    """How many of so many first observations are looked at."""
    pictured = any(base.shape.kinds.get(name) in PICTURES for name in scene_names(base))
    return min(observations, 1) if pictured else observations


def _encoder(base: Policy, name: str) -> Scaled:
    encoder = base.encoders[name.replace(".", "/")]
    assert isinstance(encoder, Scaled)
    return encoder


def _width(encoder: Scaled) -> int:
    """How many numbers `_features` gives."""
    if isinstance(encoder, ImageEncoder | TrunkEncoder):
        return len(encoder.center) * GRID**2
    return len(encoder.center)


def _features(encoder: Scaled, values: Tensor) -> Tensor:
    """The part (n, width) of one raw feature (n, *shape) in a scene."""
    if isinstance(encoder, ImageEncoder | TrunkEncoder):
        colours = encoder.scaled(values.float(), None).permute(0, 3, 1, 2)
        return SHADES * F.adaptive_avg_pool2d(colours, GRID).flatten(1)
    if isinstance(encoder, SetEncoder):
        present = (values[..., :1] > 0.5).float()
        objects = encoder.scaled(values.float(), None)[..., 1:]
        mean = (objects * present).sum(1) / present.sum(1).clamp(min=1)
        return torch.cat([present.mean(1), mean], 1)
    return encoder.scaled(values.float(), None)


# ---------------------------------------------------------------- the Gaussian


def _gaussian(means: Numbers, still: NDArray[np.bool_], jitter: Numbers) -> SceneDensity:
    """The Gaussian of episodes with these means (episodes, d), over the numbers that are still; without a limit yet.

    `jitter` (d,) is the variance of single observations around their episode's mean.
    """
    count, width = means.shape
    centre = np.where(still, means.mean(0), 0)
    apart = np.where(still, means - centre, 0)
    covariance = apart.T @ apart / (count - 1)
    spread = covariance.diagonal()
    # The directions hold what numbers have in common; what is a number's own stays in `rest`.
    values, vectors = np.linalg.eigh(covariance * count / (count + WORTH))
    values, vectors = values[::-1][:DIRECTIONS], vectors.T[::-1][:DIRECTIONS]
    kept = values > 1e-6 * FLOOR**2
    values, vectors = values[kept], vectors[kept]
    rest = np.maximum(spread - (values[:, None] * vectors**2).sum(0), 0) + jitter + FLOOR**2
    weights = still / rest
    # The inverse of diag(rest) + vectors^T diag(values) vectors, by Woodbury's identity.
    inner = np.linalg.cholesky(np.diag(1 / values) + vectors * weights @ vectors.T)
    directions = np.zeros((DIRECTIONS, width))
    directions[: len(values)] = np.linalg.solve(inner, vectors * weights)
    determinant = np.log(rest[still]).sum() + np.log(values).sum() + 2 * np.log(inner.diagonal()).sum()
    # A number that does not count is as likely anywhere in the range that scaled observations are clipped to.
    determinant += (~still).sum() * np.log((2 * LIMIT) ** 2 / (2 * np.pi))
    parts = (centre, weights, directions, np.array([determinant, np.inf]))
    return SceneDensity(*(np.ascontiguousarray(part, np.float32) for part in parts))


def _distances(features: Array, means: Array, weights: Array, directions: Array) -> Numbers:
    """Squared distances (skills, n) of features (n, d) from skills' means (skills, d)."""
    apart = np.asarray(features, np.float64)[None] - means[:, None]
    inside = apart @ directions.swapaxes(1, 2).astype(np.float64)
    return np.maximum((apart**2 * weights[:, None]).sum(2) - (inside**2).sum(2), 0)
