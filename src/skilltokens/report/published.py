"""What is published: the experiments under results/, each with its runs and a few words, in the order to read them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from posixpath import normpath

from skilltokens.experiments.experiment import experiment_in
from skilltokens.experiments.reading import read_record
from skilltokens.report.reward_runs import RewardRun, read_reward_run
from skilltokens.report.runs import read_run
from skilltokens.report.summary import Comparison, compare
from skilltokens.types import RunError

SUITES = {
    "metaworld-cw10": "Meta-World CW10",
    "libero-goal": "LIBERO-Goal",
    "libero-spatial": "LIBERO-Spatial",
    "libero-object": "LIBERO-Object",
}
"""The main comparisons of methods, in the order in which they are shown, and how each is called in a table's head."""
ABLATIONS = ("-ablations", "-validation", "-base", "-reuse", "-start", "-loud", "-quiet", "-questions", "-unstaggered")
"""How the name of an experiment ends that asks about a setting, or is of an older state: it comes after the results."""

_LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#]+)")
"""Where a link of a page leads, if that is a file beside it and no address."""


@dataclass(frozen=True)
class Published:
    """One folder of results/: runs of one question. Either of `comparisons` and `rewards` may be empty."""

    name: str
    folder: Path
    place: str
    """The folder as a link from the folder of RESULTS.md, results/EXPERIMENT."""
    about: str
    comparisons: tuple[Comparison, ...]
    rewards: tuple[RewardRun, ...]

    @property
    def ablation(self) -> bool:
        return self.name.endswith(ABLATIONS)

    @cached_property
    def sentence(self) -> str:
        """The first sentence of about.md, or nothing; its links lead on from the folder of RESULTS.md."""
        words = " ".join(self.about.partition("\n\n")[0].split())
        match = re.match(r".+?\.(?= [A-Z*]|$)", words)
        return _LINK.sub(lambda link: f"]({normpath(f'{self.place}/{link[1]}')}", match[0] if match else words)


def read_published(folder: Path) -> list[Published]:
    """Every experiment below `folder`: from demonstrations, then from reward, and the ablations of both at the end.

    Runs are at folder/EXPERIMENT/RUN/run.json, words about them at folder/EXPERIMENT/about.md.

    Raises:
        RunError: there is no run below `folder`, or one cannot be read.
    """
    folder = Path(folder)
    files: dict[Path, list[Path]] = {}
    for path in sorted(folder.rglob("run.json")):
        files.setdefault(path.parent.parent, []).append(path)
    if not files:
        raise RunError(f"{folder} holds no run.json: put runs at {folder}/EXPERIMENT/RUN/run.json")
    published = []
    for experiment, paths in files.items():
        about = experiment / "about.md"
        rewards = [path for path in paths if experiment_in(read_record(path)).name == "reward"]
        lifelong = sorted(
            (read_run(path) for path in paths if path not in rewards), key=lambda run: run.demonstrations or 0.0
        )
        published.append(
            Published(
                name=str(experiment.relative_to(folder)) if experiment != folder else folder.name,
                folder=experiment,
                place=(Path(folder.name) / experiment.relative_to(folder)).as_posix(),
                about=about.read_text(encoding="utf-8").strip() if about.is_file() else "",
                comparisons=tuple(compare(lifelong)) if lifelong else (),
                rewards=tuple(read_reward_run(path) for path in rewards),
            )
        )
    return sorted(published, key=_place)


def main_comparisons(published: Sequence[Published]) -> list[tuple[Published, Comparison]]:
    """The comparisons of SUITES that are there; the first comparison of all where none of them is."""
    pairs = [(experiment, experiment.comparisons[0]) for experiment in published if experiment.comparisons]
    return [pair for pair in pairs if pair[0].name in SUITES] or pairs[:1]


def _place(experiment: Published) -> tuple[bool, bool, int, str]:
    suites = list(SUITES)
    rank = suites.index(experiment.name) if experiment.name in SUITES else len(suites)
    return experiment.ablation, not experiment.comparisons, rank, experiment.name
