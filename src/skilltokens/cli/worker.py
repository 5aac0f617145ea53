"""One run in a process of its own: `python -m skilltokens.cli.worker JOB`, started by `skilltokens run`.

JOB is a file (job.py). The original standard output carries the protocol of batch.py; anything else that is printed,
by whatever library, goes to standard error, which is the run's log. The original standard input is the lifeline to the
parent: when it closes, this process is killed with all that it has started, and the run resumes as after any kill.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from skilltokens.cli.batch import FINISHED, encode, encode_failure
from skilltokens.cli.estimate import Estimate
from skilltokens.cli.job import RunJob, read_job
from skilltokens.cli.profile.options import sampled
from skilltokens.simulation.lifeline import end_with
from skilltokens.types import Progress, Report, SkilltokensError


def main(words: Sequence[str]) -> int:
    """Learns; returns 0, 2 after a mistake that was sent to the parent, or 130 after an interruption."""
    channel = _take_output()

    def tell(line: str) -> None:
        try:
            print(line, file=channel, flush=True)
        except BrokenPipeError:
            # The parent is gone, so nobody waits for this run: stop as cleanly as by Ctrl-C.
            os.dup2(os.open(os.devnull, os.O_WRONLY), channel.fileno())
            raise KeyboardInterrupt from None

    try:
        do_job(read_job(Path(words[0])), lambda news: tell(encode(news)))
    except SkilltokensError as mistake:
        tell(encode_failure(str(mistake)))
        return 2
    except KeyboardInterrupt:
        return 130
    with suppress(KeyboardInterrupt):  # the parent is gone: nobody waits for the news, and the work is done
        tell(FINISHED)
    return 0


def do_job(job: RunJob, report: Report) -> None:
    """Does one run in this process."""
    report(Progress("start", 0, 1))
    costs = job.experiment.costs(job.settings)
    news = Estimate(costs, report) if costs else report
    with sampled(job.profile, job.folder.name):
        job.experiment.run(job.settings, job.folder, news, job.recipe, job.command, job.tag)


def _take_lifeline() -> None:
    """Ends this process with its parent, if that gave it a pipe; from here on there is nothing to read."""
    if not stat.S_ISFIFO(os.fstat(0).st_mode):
        return
    end_with(os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def _take_output() -> TextIO:
    """Standard output for this module alone: what anybody else writes to it, in C or Python, goes to the log."""
    sys.stdout.flush()
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


if __name__ == "__main__":
    _take_lifeline()
    sys.exit(main(sys.argv[1:]))
