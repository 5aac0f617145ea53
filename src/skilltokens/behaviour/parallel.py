"""The environments that PPO steps side by side: none of their processes outlives this one or is waited for without end.

Stable-Baselines3 itself waits for ever for an environment that hangs, and tells an environment's death by the exception
of a closed pipe. So a process whose environment fails leaves the sentence about it in a file, and ends.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from skilltokens.settings import STEP_LIMIT
from skilltokens.simulation.lifeline import end_with_parent
from skilltokens.simulation.processes import PATIENCE, START
from skilltokens.simulation.signs import RESET, Watch, tell
from skilltokens.types import Report, SkilltokensError, SuiteError, silent

Makes = Sequence[Callable[[], gymnasium.Env[Any, Any]]]


@dataclass(frozen=True)
class Limit:
    """How long an environment is waited for, and who is told of it."""

    step: float = STEP_LIMIT
    """Seconds that a simulator may take for a step; 0: any time. A step that ends an episode resets it as well, and may
    take RESET times as many; all steps are given that, since nobody says before which these are."""
    name: str = "the environment"
    report: Report = silent
    """Gets a line where an environment in this process takes longer."""

    @property
    def seconds(self) -> float:
        return RESET * self.step


def side_by_side(makes: Makes, processes: bool, limit: Limit) -> VecEnv:
    """The environments in one process each, or in this one.

    Those in processes raise a SuiteError where one takes longer than the limit, or ends. Nothing can end those in this
    process but the user, so a line is told.
    """
    return _Processes(makes, limit) if processes else _Here(makes, limit)


class _Processes(SubprocVecEnv):
    def __init__(self, makes: Makes, limit: Limit) -> None:
        self._limit, self._watch, self._hung, self._start = limit, Watch(), False, START
        self.processes = []  # the constructor fills it, and may hang on the way
        self._folder = tempfile.TemporaryDirectory(prefix="skilltokens-environments-")
        try:
            with self._within():
                super().__init__([functools.partial(_bound, make, self._folder.name) for make in makes])
        except BaseException:
            self._kill()
            self._watch.close()
            self._folder.cleanup()
            raise

    def step_wait(self) -> Any:
        with self._within():
            return super().step_wait()

    def reset(self) -> Any:
        with self._within():
            answer = super().reset()
        self._start = 0.0  # all have, by now
        return answer

    def close(self) -> None:
        """Ends the processes, by force where they do not end by themselves."""
        with contextlib.suppress(EOFError, OSError), self._watch.over(PATIENCE, self._kill):
            super().close()
        self._kill()
        self._watch.close()
        self._folder.cleanup()

    @contextlib.contextmanager
    def _within(self) -> Iterator[None]:
        try:
            with self._watch.over(self._limit.seconds and self._limit.seconds + self._start, self._kill_late):
                yield
        except (EOFError, OSError) as problem:
            self._kill()
            sentences = sorted(Path(self._folder.name).glob("*"))
            if sentences and not self._hung:
                raise SuiteError(sentences[0].read_text(encoding="utf-8")) from problem
            what = "ended"
            if self._hung:
                what = f"hung: no answer for {self._limit.seconds:g} s (raise adapt.step_limit if it is only slow)"
            raise SuiteError(
                f"{self._limit.name}: the process of an environment {what}; the same command resumes from what was "
                "saved last"
            ) from problem

    def _kill_late(self, _: int) -> None:
        self._hung = True
        self._kill()

    def _kill(self, _: int = 0) -> None:
        for process in self.processes:
            if process.is_alive():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.kill()


class _Here(DummyVecEnv):
    def __init__(self, makes: Makes, limit: Limit) -> None:
        self._limit, self._watch = limit, Watch()
        with self._within():
            super().__init__(list(makes))

    def step_wait(self) -> Any:
        with self._within():
            return super().step_wait()

    def reset(self) -> Any:
        with self._within():
            return super().reset()

    def close(self) -> None:
        self._watch.close()
        super().close()

    def _within(self) -> contextlib.AbstractContextManager[None]:
        return self._watch.over(self._limit.seconds, self._late)

    def _late(self, _: int) -> None:
        tell(
            self._limit.report,
            f"{self._limit.name}: no answer of an environment for {self._limit.seconds:g} s; it runs in this process, "
            "so only Ctrl-C ends it: with --ppo.workers it would be ended by itself",
        )


def _bound(make: Callable[[], gymnasium.Env[Any, Any]], folder: str) -> gymnasium.Env[Any, Any]:
    """An environment in a process that ends with its parent."""
    end_with_parent()
    with _telling(folder):
        return _Telling(make(), folder)


class _Telling(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Leaves the sentence about what its environment raises for the parent."""

    def __init__(self, env: gymnasium.Env[Any, Any], folder: str) -> None:
        super().__init__(env)
        self._folder = folder

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        with _telling(self._folder):
            return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        with _telling(self._folder):
            return self.env.step(action)

    def close(self) -> None:
        with _telling(self._folder):
            self.env.close()


@contextlib.contextmanager
def _telling(folder: str) -> Iterator[None]:
    try:
        yield
    except SkilltokensError as problem:
        (Path(folder) / str(os.getpid())).write_text(str(problem), encoding="utf-8")  # read when this process has ended
        raise SystemExit(1) from problem
