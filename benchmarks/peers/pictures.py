"""The same with LIBERO's two cameras, 128 x 128: a training step of two windows, and one action.

LIBERO's side is the policy of its configs, whose residual networks see a picture, without augmentation, as ours. Ours
sees by a small trunk; its transformer is made so wide that both policies have as many parameters. So the sizes match,
and what the parameters are spent on does not: most of LIBERO's work is in its pictures, most of ours in the
transformer.
"""

from __future__ import annotations

import dataclasses

from benchmarks.peers import libero, training
from benchmarks.peers.acting import against
from benchmarks.peers.libero import Form, Libero, our_policy
from benchmarks.peers.training import stepping
from benchmarks.setting import Bench
from benchmarks.timing import Row

BATCH, EPISODES, ROUNDS = 2, 4, 5
"""Few, since a step takes seconds."""
NAMES = "pictures, at LIBERO's size", "pictures, as it is"


def run(bench: Bench) -> list[Row]:
    """Two rows of training and two of acting."""
    effort = dataclasses.replace(bench.effort, rounds=min(ROUNDS, bench.effort.rounds))
    store, file = training.data(bench.folder, libero.PICTURES, bench.quick, EPISODES)
    theirs = Libero(Form(), file, BATCH)
    settings = training.matched_settings(theirs.size, libero.PICTURES)
    train = dataclasses.replace(training.TRAIN, batch=BATCH)
    ours = training.training_of(settings, store, libero.PICTURES)
    rows = stepping("LIBERO pictures", ours, train, theirs, NAMES, effort)
    return rows + against(our_policy(settings, libero.PICTURES), theirs, NAMES, effort, "LIBERO pictures")
