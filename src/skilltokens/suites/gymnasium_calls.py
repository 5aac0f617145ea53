"""Calls to a user's Gymnasium environment: whatever it raises or gives amiss ends in one sentence that blames it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from skilltokens.simulation.blame import blaming, words_of
from skilltokens.suites.gymnasium_flags import shown, truth
from skilltokens.types import SkilltokensError, SuiteError

_GYMNASIUM = str(Path(gymnasium.__file__).parent)


class Calls:
    """One environment, and where it stands: what it gives is what Gymnasium asks for, or a SuiteError.

    Args:
        environment: a gymnasium.Env, or what behaves like one.
        name: what messages call it: "the environment lab/Push-v1".
    """

    def __init__(self, environment: Any, name: str) -> None:
        self.environment, self.name = environment, name
        self.steps = 0
        self._seed: int | None = None

    @property
    def moment(self) -> str:
        """Where the episode stands."""
        reset = f"reset({'' if self._seed is None else f'seed={self._seed}'})"
        return f"in step {self.steps} after {reset}" if self.steps else f"in {reset}"

    def reset(self, seed: int | None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """The first observation of an episode, and its info."""
        self.steps, self._seed = 0, seed
        with self._blaming():
            result = self.environment.reset(seed=seed, **({} if options is None else {"options": options}))
        if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[1], Mapping):
            raise self.amiss("gave no pair (observation, info)", old=True)
        return result[0], dict(result[1])

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """The observation, the reward as it is, whether the episode has ended or was cut short, and the info."""
        self.steps += 1
        with self._blaming():
            result = self.environment.step(action)
        if not isinstance(result, tuple) or len(result) != 5:
            count = f"{len(result)} values" if isinstance(result, tuple) else f"a {type(result).__name__}"
            raise self.amiss(f"gave {count}", old=True)
        observation, reward, *flags, info = result
        terminated, truncated = (truth(flag) for flag in flags)
        if terminated is None or truncated is None:
            raise self.amiss(f"gave terminated = {shown(flags[0])} and truncated = {shown(flags[1])}, no truth values")
        if not isinstance(info, Mapping):
            raise self.amiss(f"gave the info {shown(info)}, which is no dictionary")
        return observation, reward, terminated, truncated, dict(info)

    def reward(self, value: Any) -> float:
        """A reward, if it is one finite number."""
        try:
            number = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            number = np.empty(0)
        if number.size != 1 or not np.isfinite(number).all():
            raise self.amiss(f"gave the reward {shown(value)}: a finite number is needed")
        return float(number.reshape(()))

    def render(self) -> NDArray[np.uint8]:
        """The scene now, (height, width, 3)."""
        try:
            with self._blaming("in render"):
                picture = self.environment.render()
        except SuiteError as problem:
            if not isinstance(problem.__cause__, NotImplementedError):
                raise
            picture = None
        if not isinstance(picture, np.ndarray) or picture.ndim != 3 or picture.shape[2] != 3:
            raise SuiteError(f"{self.name} renders no picture: make the environment with render_mode='rgb_array'")
        return picture.astype(np.uint8, copy=False)

    def close(self) -> None:
        """Closes it."""
        with self._blaming("in close"):
            self.environment.close()

    def amiss(self, what: str, old: bool = False) -> SuiteError:
        """The sentence about something that it gave; `old`: as environments of the old Gym API do."""
        api = (
            ", where Gymnasium asks for (observation, info) from reset and (observation, reward, terminated, "
            "truncated, info) from step: is it written for the old Gym API?"
        )
        return SuiteError(f"{self.name}, {self.moment}, {what}{api * old}")

    @contextlib.contextmanager
    def _blaming(self, moment: str = "") -> Iterator[None]:
        try:
            yield
        except SkilltokensError:
            raise
        except Exception as problem:
            if isinstance(problem, ValueError) and "unpack" in str(problem) and _raised_by_gymnasium(problem):
                raise self.amiss("gave another number of values", old=True) from problem
            raise SuiteError(f"{self.name}, {moment or self.moment}, raised {words_of(problem)}") from problem


def made(make: Any, name: str) -> Any:
    """What `make()` makes; a SuiteError blames it for whatever it raises."""
    with blaming(f"{name}, when it was made"):
        environment = make()
        for needed in ("reset", "step", "close", "observation_space", "action_space"):
            if not hasattr(environment, needed):
                raise SuiteError(
                    f"{name} is a {type(environment).__name__} without {needed}: a Gymnasium environment is needed"
                )
    return environment


def limit_of(environment: Any) -> int | None:
    """The most steps of an episode that an environment, or a wrapper in it, sets; None where nothing does."""
    spec = getattr(environment, "spec", None)
    limit = getattr(spec, "max_episode_steps", None)
    while not limit and isinstance(environment, gymnasium.Wrapper):
        if isinstance(environment, gymnasium.wrappers.TimeLimit):
            limit = environment._max_episode_steps
        environment = environment.env
    return limit if limit and limit > 0 else None


def _raised_by_gymnasium(problem: BaseException) -> bool:
    """Whether it was raised in Gymnasium's own code, which unpacks what the environment gave."""
    last = problem.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return last is not None and last.tb_frame.f_code.co_filename.startswith(_GYMNASIUM)
