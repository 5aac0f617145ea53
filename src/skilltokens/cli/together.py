"""The command under torchrun: the first process does what is typed, and calls the others to each training.

Nothing here imports torch before there are several processes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from skilltokens.cli.batch import Job, View, stopping
from skilltokens.cli.saying import complain
from skilltokens.types import SettingError, SkilltokensError

if TYPE_CHECKING:
    from skilltokens.cli.planned import Plan
    from skilltokens.distributed import Team

SHARED = ("learn", "run")
"""Verbs whose trainings are shared; their modules have a function `follow(words, word)` for the other processes."""

_team: Team | None = None


def team() -> Team | None:
    """The processes that torchrun started; None: this one is alone."""
    return _team


def together(words: list[str], answer: Callable[[list[str]], int]) -> int:
    """Runs one command line in several processes, and returns the exit status: the first one's is the command's.

    Args:
        answer: does it in one process.
    """
    global _team
    verb = words[0] if words else ""
    if verb not in SHARED and "TORCHELASTIC_RUN_ID" not in os.environ:
        return answer(words)  # WORLD_SIZE says something of the place: nobody started several processes of this
    from skilltokens.distributed import join

    try:
        _team = join()
        return _lead(_team, verb, words, answer) if _team.leads else _follow(_team, verb, words[1:])
    except SkilltokensError as mistake:
        complain(str(mistake))
        return 2
    except KeyboardInterrupt:  # while it waits for the others
        return 130
    finally:
        _team = None


def _lead(team: Team, verb: str, words: list[str], answer: Callable[[list[str]], int]) -> int:
    try:
        if verb not in SHARED:
            raise SettingError(f"torchrun shares the trainings of {' and '.join(SHARED)} alone: leave it out")
        with stopping([]):  # SIGTERM is Ctrl-C
            return answer(words)
    finally:
        team.end()


def _follow(team: Team, verb: str, words: Sequence[str]) -> int:
    """Does what the first process calls for, without a word, until that one ends; mistakes are told to it."""
    from skilltokens.distributed import Left

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the first process, which decides
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        while (word := team.hear()) is not None:
            try:
                with team.at_work():
                    import_module(f"skilltokens.cli.verbs.{verb}").follow(words, word)
            except (Left, SkilltokensError):
                pass
            except Exception:
                traceback.print_exc(file=sys.stderr)  # a fault of the program: its place is needed too
    team.end()
    return 0


@contextlib.contextmanager
def called(word: str) -> Iterator[None]:
    """Within it the other processes do the part of the verb that a word names; where there are none, nothing happens.

    Raises:
        DistributedError: one of them failed or is gone.
    """
    if _team is None:
        yield
        return
    _team.tell(word)
    with _team.at_work():
        yield


def check_plan(plan: Plan) -> None:
    """Raises SettingError where the runs of a plan cannot be shared by the processes that torchrun started."""
    if _team is None:
        return
    if plan.cluster:
        raise SettingError("a cluster starts the processes of its runs itself: leave out torchrun, or --cluster")
    if plan.experiment.name != "lifelong":
        raise SettingError("one process learns from reward: leave out torchrun")
    if plan.jobs > 1:
        raise SettingError(f"torchrun's processes do one run after another: leave out --jobs {plan.jobs}")
    for run in plan.runs:
        _team.check(run.settings.train)


def run_together(jobs: Sequence[Job], view: View) -> dict[str, str | None]:
    """Does jobs of cli/worker.py one after another by all processes; returns for each how it failed, or None."""
    from skilltokens.cli.job import read_job
    from skilltokens.cli.worker import do_job

    failures: dict[str, str | None] = {}
    for job in jobs:
        file = job.command[-1]
        try:
            with called(file):
                do_job(read_job(Path(file)), lambda news, name=job.name: view.update(name, news))
            failures[job.name] = None
        except SkilltokensError as mistake:
            failures[job.name] = str(mistake)
        view.finish(job.name, failures[job.name])
    return failures
