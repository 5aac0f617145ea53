"""One run in a process of its own: `python -m skilltokens.cli.worker NAME WORDS...`, started by `skilltokens run`.

NAME is the run's name in the plan that the words make. The original standard output carries the protocol of
batch.py; anything else that is printed, by whatever library, goes to standard error, which is the run's log.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from skilltokens.cli.batch import encode, encode_failure
from skilltokens.cli.estimate import Estimate, Lesson, lessons
from skilltokens.cli.plan import make_plan
from skilltokens.cli.study import make_study_plan
from skilltokens.experiments.recipes import STUDIES
from skilltokens.experiments.settings import RunSettings
from skilltokens.types import Progress, SkilltokensError


def main(words: Sequence[str]) -> int:
    """Learns; returns 0, 2 after a mistake that was told, or 130 after an interruption."""
    channel = _take_output()

    def tell(line: str) -> None:
        try:
            print(line, file=channel, flush=True)
        except BrokenPipeError:
            # The parent is gone, so nobody waits for this run: stop as cleanly as by Ctrl-C.
            os.dup2(os.open(os.devnull, os.O_WRONLY), channel.fileno())
            raise KeyboardInterrupt from None

    try:
        _learn(words[0], words[1:], lambda news: tell(encode(news)))
    except SkilltokensError as mistake:
        tell(encode_failure(str(mistake)))
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _learn(name: str, words: Sequence[str], report: Any) -> None:
    if words[0] in STUDIES:
        _study(name, words, report)
        return
    plan = make_plan(words)
    run = plan.run(name)
    report(Progress("start", 0, 1))
    from skilltokens.experiments.lifelong import learn

    command = shlex.join(["skilltokens", "run", *words])
    learn(run.settings, plan.folder(run), Estimate(_costs(run.method, run.settings), report), plan.recipe, command)


def _study(name: str, words: Sequence[str], report: Any) -> None:
    plan = make_study_plan(words)
    run = plan.run(name)
    report(Progress("start", 0, 1))
    from skilltokens.experiments.reward import study

    study(run.settings, plan.folder(run), report, plan.recipe, shlex.join(["skilltokens", "run", *words]))


def _costs(method: str, settings: RunSettings[Any]) -> list[Lesson]:
    from skilltokens.methods import load_method
    from skilltokens.methods.base import SkillMethod
    from skilltokens.suites import load_suite

    kind = load_method(method)
    tasks = len(settings.tasks or load_suite(settings.suite).tasks)
    return lessons(settings, tasks, joint=kind.joint, keeps=issubclass(kind, SkillMethod))


def _take_output() -> TextIO:
    """Standard output for this module alone: what anybody else writes to it, in C or Python, goes to the log."""
    sys.stdout.flush()
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
