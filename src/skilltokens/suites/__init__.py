"""Suites: sets of tasks on one robot, each with its simulator.

registry.py      suites and sequences of tasks by name; names.py has those that need no import
metaworld/       Meta-World v3
libero/          LIBERO and LIBERO-PRO, by poses or by pictures
joined.py        several suites of one robot as one
bodies/          bodies that learn to move from reward
gymnasium.py     your own Gymnasium environments as a suite; gymnasium_ids.py makes one of an environment's id, and the
                 other gymnasium_*.py read what an environment gives, and blame it for what it gives amiss
units.py         tests whether demonstrated actions are in the suite's units; remarks.py says so before anything is done
context.py       the scene of a task, said in its instruction
conformance.py   tests whether a suite keeps the protocol (`types.Suite`)
rendering.py     MuJoCo pictures
seeding.py       the seed of an episode
"""

from __future__ import annotations

from skilltokens.suites.context import in_context
from skilltokens.suites.registry import (
    load_suite,
    sentences_of,
    sequence,
    sequence_names,
    suite_and_task,
    suite_names,
    task_of,
)

__all__ = [
    "in_context",
    "load_suite",
    "sentences_of",
    "sequence",
    "sequence_names",
    "suite_and_task",
    "suite_names",
    "task_of",
]
