"""`skilltokens demos import|export` where the other side is a LeRobot data set, a folder with meta/info.json."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from skilltokens.cli.exchange import libero_suite
from skilltokens.cli.saying import say
from skilltokens.types import DemonstrationError, SettingError, SkilltokensError

if TYPE_CHECKING:
    from skilltokens.cli.exchange.exporting import ExportOptions
    from skilltokens.cli.exchange.importing import ImportOptions
    from skilltokens.demos import DemonstrationStore


def is_lerobot(path: Path) -> bool:
    """Whether a path is a LeRobot data set of any version."""
    return os.path.isfile(path / "meta" / "info.json")


@contextlib.contextmanager
def opened(path: Path, near: Path, sentence: str = "") -> Iterator[DemonstrationStore]:
    """A store; of a LeRobot data set the one of its task, which lies in a folder of its own until it was used.

    Args:
        near: beside this path that folder is made, with room for the pictures as they are.
        sentence: of the task, where the data set shows several; empty: it shows one.

    Raises:
        DemonstrationError: the data set cannot be read, or shows several tasks.
        SettingError: a sentence is given of a store, which shows one task.
    """
    from skilltokens.demos import DemonstrationStore

    if not is_lerobot(path):
        if sentence:
            raise SettingError(f"{path} shows one task: --task is for a LeRobot data set of several")
        yield DemonstrationStore.open(path)
        return
    from skilltokens.cli.progress import Single
    from skilltokens.exchange import lerobot

    near.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{near.name}.tmp-", dir=near.absolute().parent) as folder:
        with Single("import") as report:
            stores = lerobot.import_lerobot(path, folder, instruction=sentence or None, images=True, report=report)
        if len(stores) != 1:
            names = "; ".join(repr(store.task.instruction) for store in stores[:10])
            raise DemonstrationError(
                f"{path} shows {len(stores)} tasks, and a skill is one: choose (--task) of {names}"
            )
        yield stores[0]


def import_lerobot(options: ImportOptions) -> int:
    """Makes a store of each task of the data set, and prints what became of its features."""
    from skilltokens.cli.progress import Single
    from skilltokens.exchange import lerobot

    if options.keys or options.turn != "auto":
        raise SettingError("--keys and --turn are for HDF5 files: a LeRobot data set has its features' names")
    if libero_suite(options.suite) is not None:
        raise SettingError(
            f"--suite {options.suite} observes HDF5 files anew, and a LeRobot data set has no simulator's states"
        )
    target = options.store or Path("demos", lerobot.name_of(options.file))
    with Single("import") as report:
        stores = lerobot.import_lerobot(
            options.file,
            target,
            task=options.task or None,
            instruction=options.instruction or None,
            wordings=options.wordings,
            images=options.images,
            subset=options.subset or None,
            suite=options.suite or None,
            source=options.source or None,
            clip=options.clip,
            changed=options.changed,
            again=False,
            report=report,
        )
    for store in stores:
        size = f"{store.episodes} episodes, {store.steps} steps"
        say(f"{store.path}: {size}, instruction {store.task.instruction!r}")
    _print_features(stores[0])
    return 0


def _print_features(store: DemonstrationStore) -> None:
    """Prints the names of the entries of each feature, and what was not taken."""
    about, imported = store.settings.get("lerobot", {}), store.settings.get("imported", {})
    for name in store.features:
        column, entries = about.get("columns", {}).get(name), about.get("names", {}).get(name)
        lossy = " (from a video, which is lossy)" if name in imported.get("videos", ()) else ""
        of = f" <- {column}" if column else ""
        say(f"  {name}{of}{f': {_listed(entries)}' if entries else ''}{lossy}")
    if imported.get("left"):
        say(f"  not taken: {', '.join(imported['left'])}")


def _listed(entries: object) -> str:
    """Names of entries in one line; some data sets have a map of lists."""
    if isinstance(entries, dict):
        return "; ".join(f"{name} {_listed(inside)}" for name, inside in entries.items())
    return ", ".join(map(_listed, entries)) if isinstance(entries, list) else str(entries)


def export_lerobot(options: ExportOptions) -> int:
    """Writes the stores into one data set."""
    from skilltokens.cli.progress import Single
    from skilltokens.demos import stores_in
    from skilltokens.exchange import lerobot

    *sources, folder = (*options.stores, options.folder) if options.folder else options.stores
    if not sources:
        raise DemonstrationError(
            "no store or no folder was named: give stores, and the folder of the data set behind them"
        )
    stores = [store for path in sources for store in stores_in(path)]
    with Single("export") as report:
        lerobot.export_lerobot(
            stores,
            folder,
            fps=options.fps or _fps(stores),
            robot=options.robot or None,
            videos=options.videos,
            report=report,
        )
    tasks = f"{len(stores)} tasks" if len(stores) > 1 else stores[0].task.name
    pictures = ", pictures as videos, which are lossy" if options.videos else ""
    say(f"{folder}: {sum(store.episodes for store in stores)} demonstrations of {tasks}{pictures}")
    return 0


def _fps(stores: Sequence[DemonstrationStore]) -> float | None:
    """How many steps a second the environments of the stores' suite take, if it says so and the stores do not."""
    names = {store.suite for store in stores}
    if any("lerobot" in store.settings for store in stores) or len(names) > 1:
        return None
    from skilltokens.suites import load_suite

    try:
        return getattr(load_suite(names.pop()), "frequency", None)
    except SkilltokensError:
        return None
