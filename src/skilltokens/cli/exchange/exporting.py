"""`skilltokens demos export`: stores into HDF5 files that robomimic and LIBERO read, or a LeRobot data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from skilltokens.cli.exchange import PROG, libero_suite
from skilltokens.cli.exchange.lerobot import export_lerobot
from skilltokens.cli.options import parse
from skilltokens.cli.saying import say
from skilltokens.configuration import NotNegative, check_setting
from skilltokens.types import DemonstrationError, SettingError

if TYPE_CHECKING:
    from skilltokens.demos import DemonstrationStore
    from skilltokens.exchange.hdf5 import Convention


@dataclass(frozen=True)
class ExportOptions:
    """Writes stores with the same features into HDF5 that robomimic reads, or into a LeRobot data set.

    A file of one LIBERO task also holds the entries of LIBERO's published files, under the same names.
    `--layout lerobot` writes one LeRobot data set (version 3) instead, into the folder that is named last.

    examples:
      skilltokens demos export demos/metaworld/push demos/metaworld/hammer --file two-tasks.hdf5
      skilltokens demos export demos/libero-goal --folder libero_goal
      skilltokens demos export demos/metaworld metaworld-lerobot --layout lerobot --fps 80
    """

    stores: tyro.conf.Positional[tuple[Path, ...]]
    """Stores, or folders of stores; with --layout lerobot then the folder to write."""
    file: Path = Path("demos.hdf5")
    """The HDF5 file to write."""
    folder: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Write a file for each store instead, FOLDER/TASK_demo.hdf5; with --layout lerobot: the folder to write."""
    next_observations: bool = True
    """Write the observations after each action too (next_obs/), as robomimic expects by default."""
    layout: Literal["auto", "robomimic", "libero", "lerobot"] = "auto"
    """libero adds what LIBERO's programs read; auto does so for one LIBERO task with the simulator's states."""
    fps: NotNegative = 0.0
    """Steps a second, for LeRobot; 0: what the stores were imported with, or what their suite says."""
    robot: str = ""
    """LeRobot's robot_type; empty: what the stores were imported with."""
    videos: bool = False
    """Pictures as videos, for LeRobot: smaller, and lossy; otherwise they are PNG, and an import gives them back."""


def export(words: Sequence[str]) -> int:
    options = parse(ExportOptions, words, f"{PROG} export")
    check_setting(options, "fps")
    if options.layout == "lerobot":
        return export_lerobot(options)
    if options.fps or options.robot or options.videos:
        raise SettingError("--fps, --robot and --videos are for LeRobot data sets: add --layout lerobot")
    from skilltokens.cli.progress import Single
    from skilltokens.demos import stores_in
    from skilltokens.exchange.hdf5 import export_hdf5

    if not options.stores:
        raise DemonstrationError("no store was named: give its folder, such as demos/metaworld/push, or one of stores")
    stores = [store for path in options.stores for store in stores_in(path)]
    files = {options.file: stores}
    if options.folder is not None:
        files = {options.folder / f"{store.task.name}_demo.hdf5": [store] for store in stores}
        if len(files) < len(stores):
            raise DemonstrationError("two of the stores hold the same task: export them to folders of their own")
    for file, inside in files.items():
        convention = _convention(inside, options.layout)
        with Single("export") as report:
            export_hdf5(inside, file, next_observations=options.next_observations, convention=convention, report=report)
        tasks = f"{len(inside)} tasks" if len(inside) > 1 else inside[0].task.name
        say(f"{file}: {sum(store.episodes for store in inside)} demonstrations of {tasks}")
    return 0


def _convention(stores: Sequence[DemonstrationStore], layout: str) -> Convention | None:
    """LIBERO's layout by --layout libero, or by auto where the stores allow it; None for robomimic's."""
    if layout == "robomimic" or (layout == "auto" and len(stores) > 1):
        return None
    store = stores[0]
    suite = libero_suite(store.suite)
    if suite is None or not store.private:
        if layout == "libero":
            raise DemonstrationError(
                f"{store.path} is of the suite {store.suite!r} and keeps no states of LIBERO's simulator, which its "
                "layout is made from: export it in robomimic's"
            )
        return None
    from skilltokens.suites.libero.export import LiberoFile

    return LiberoFile(suite, store.task)
