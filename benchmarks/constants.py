"""Constants of a library without a suite: measured on the first store alone, or on all (`learn --constants`).

    python -m benchmarks.constants [--out results/constants/constants.json]

Meta-World's demonstrations are given to `learn_skill` as those of a suite that nobody knows, so that constants are
statistics; the skills are then counted in the simulator, on validation states. Takes some minutes.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path

import msgspec

from skilltokens.demos import DemonstrationStore, write_store
from skilltokens.experiments.provenance import commit, machine, versions
from skilltokens.files import write_json
from skilltokens.grow import learn_skill
from skilltokens.settings import DemonstrationSettings, TrainSettings
from skilltokens.simulation.demonstrate import demonstrations
from skilltokens.simulation.rollout import evaluate
from skilltokens.suites import load_suite, task_of
from skilltokens.types import Counts

TASKS = ("hammer", "push", "window-close", "faucet-close", "handle-press-side")
"""In the order learned; the first is the base."""
TRAIN = TrainSettings(first_iterations=300, iterations=250)
EPISODES = 20


def main() -> None:
    parser = argparse.ArgumentParser(description="Constants of the first store, or of all.")
    parser.add_argument("--out", type=Path, default=Path("results/constants/constants.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stores = _stores(Path(folder))
        measured = {"first": stores[:1], "all": stores}
        ways = {name: _successes(Path(folder) / name, stores, some) for name, some in measured.items()}
    for name, counts in ways.items():
        later = list(counts.values())[1:]
        print(f"{name}: {sum(later)} of {EPISODES * len(later)} on the later skills; {counts}")
    content = {
        "schema": "skilltokens.constants/1",
        "ways": ways,
        "episodes": EPISODES,
        "split": "validation",
        "demonstrations": {store.task.name: store.digest for store in stores},
        "train": asdict(TRAIN),
        "machine": msgspec.structs.asdict(machine()),
        "versions": versions(),
        "commit": commit(),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, content)


def _stores(folder: Path) -> list[DemonstrationStore]:
    """Scripted demonstrations of the tasks, as those of a suite that is not installed."""
    suite = load_suite("metaworld")
    settings = DemonstrationSettings(episodes=20, folder=str(folder / "demos"))
    known = demonstrations(suite, [task_of(suite, name) for name in TASKS], settings, workers=0)
    return [
        write_store(
            folder / "own" / store.task.name,
            iter(store),
            task=store.task,
            features=store.features,
            source=store.source,
            suite="own",
        )
        for store in known
    ]


def _successes(folder: Path, stores: list[DemonstrationStore], some: list[DemonstrationStore]) -> dict[str, int]:
    """Task -> successes of its skill; constants are measured on some of the stores, the first among them."""
    suite, successes = load_suite("metaworld"), {}
    library = learn_skill(folder, stores[0], train=TRAIN, aside=0, constants=some[1:])
    for store in stores[1:]:
        library = learn_skill(folder, store, train=TRAIN, aside=0)
    for name in TASKS:
        outcomes = evaluate(library.actor_of(name), suite, task_of(suite, name), "validation", range(EPISODES))
        successes[name] = Counts.of(outcomes).successes
    return successes


if __name__ == "__main__":
    main()
