"""`skilltokens demos import`: stores from HDF5 in robomimic's or ALOHA's layout, or from a LeRobot data set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from skilltokens.cli.exchange import PROG, libero_suite
from skilltokens.cli.exchange.lerobot import import_lerobot, is_lerobot
from skilltokens.cli.options import parse
from skilltokens.cli.saying import say
from skilltokens.escaping import file_name
from skilltokens.types import ACTION, DemonstrationError, SettingError, Task

if TYPE_CHECKING:
    from skilltokens.demos import DemonstrationStore
    from skilltokens.suites.libero import Libero


@dataclass(frozen=True)
class ImportOptions:
    """Makes stores from HDF5 files (robomimic, LIBERO, ALOHA, or `skilltokens demos export`) or a LeRobot data set.

    HDF5 is read in robomimic's layout and ALOHA's. A folder of episodes in ALOHA's, one a file, becomes one store; a
    folder of other files a store for each. Of a LeRobot data set (version 3), which is a folder with meta/info.json,
    each task becomes a store.

    With --suite and a LIBERO suite, the simulator is set to each state in the file and observed anew, so that the store
    has the features of the suite's own demonstrations. The file is not changed. A store that already is in the folder
    that you name is replaced, once the new one is complete.

    examples:
      skilltokens demos import lift.hdf5 demos/own/lift --instruction "lift the red cube"
      skilltokens demos import lift.hdf5 demos/own/lift --task lift --instruction "lift it" --subset train --clip
      skilltokens demos import own.hdf5 demos/own/lift --keys observation.state=eef,grip observation.images.top=camera
      skilltokens demos import aloha/transfer_cube demos/own/cube --instruction "hand over the cube" --images
      skilltokens demos import demos/published/libero_goal --suite libero-goal
      skilltokens demos import pick-and-place demos/pick-and-place --images
    """

    file: tyro.conf.Positional[Path]
    """The HDF5 file, or a folder of such files (.hdf5, .h5); or a LeRobot data set."""
    store: tyro.conf.Positional[Path | None] = None
    """The new store's folder, or the folder for those of several files or of a LeRobot data set's tasks; left out, with
    a LIBERO suite: demos/SUITE; of a data set: demos/NAME."""
    instruction: str = ""
    """The task's instruction, a sentence; empty: the one in the file. Of a file that says several, one of these takes
    the demonstrations that show it."""
    wordings: tuple[str, ...] = ()
    """Other sentences for the same task, to train with."""
    task: str = ""
    """The task's name; empty: the name in the file, or else that of the store's folder (of several files: the file)."""
    subset: str = ""
    """Take only the demonstrations in this list under mask/ of the file, or in this split of a data set; empty: all."""
    images: bool = False
    """Take the cameras' pictures too, as features observation.images.CAMERA."""
    keys: tuple[str, ...] = ()
    """Arrays under obs/ that are joined into a feature, FEATURE=KEY,KEY, or arrays beside it into the action
    (action=actions_abs); empty: robomimic's, LIBERO's or ALOHA's own."""
    suite: str = ""
    """A LIBERO suite, or any name to keep in the store as its suite; empty: the one in the file, or "own"."""
    source: str = ""
    """Who demonstrated; empty: what the file says, or else "human"."""
    clip: bool = False
    """Clip actions to [-1, 1]. Otherwise those outside are kept in their own unit, but refused of LIBERO's tasks."""
    turn: Literal["auto", "yes", "no"] = "auto"
    """Turn the pictures the other way up; auto: those of LIBERO's files, which stand on their heads."""
    changed: bool = False
    """Take a LeRobot data set that `skilltokens demos export` wrote and something else has changed, as it is now."""


def import_(words: Sequence[str]) -> int:
    options = parse(ImportOptions, words, f"{PROG} import")
    if is_lerobot(options.file):
        return import_lerobot(options)
    suite = libero_suite(options.suite)
    files = _files(options.file)
    many = files != [options.file]
    if many and (options.task or options.instruction or options.wordings):
        raise SettingError(f"{options.file} is a folder of tasks: task, instruction and wordings are for a single file")
    if suite is not None and options.turn != "auto":
        raise SettingError("--turn is not for a LIBERO suite, whose files all have the same side up")
    if suite is None and options.store is None:
        raise SettingError("no store was named: give its folder, such as demos/own/lift, or a LIBERO suite")
    for file in files:
        store, kept = _imported(options, file, suite, many)
        if kept:
            say(f"{store.path}: there already, from {file.name}")
        else:
            size = f"{store.episodes} episodes, {store.steps} steps"
            say(f"{store.path}: {size}, instruction {store.task.instruction!r}")
            if suite is None:
                _print_features(store)
    return 0


def _print_features(store: DemonstrationStore) -> None:
    """Prints which arrays became which feature, what was done with them, and which were left out."""
    from skilltokens.exchange.told import notes

    imported = store.settings.get("imported", {})
    for feature, keys in imported.get("keys", {}).items():
        say(f"  {feature} <- {', '.join(keys)}")
    if imported.get("actions"):
        say(f"  action <- {', '.join(imported['actions'])}")
    for note in notes(store):
        say(f"  {note}")


def _imported(options: ImportOptions, file: Path, suite: Libero | None, many: bool) -> tuple[DemonstrationStore, bool]:
    """The store of one file, or of a folder of episodes, and whether it was there already; `many`: one of several."""
    from skilltokens.cli.progress import Single
    from skilltokens.exchange.hdf5 import import_hdf5

    task, keys = _task(options, file, suite, many), _keys(options, suite)
    target = options.store
    if target is None or many:
        target = (target or Path("demos", options.suite)) / file_name(task.name)
        present = _imported_before(target, file, task, keys, options)
        if present is not None:
            return present, True
    with Single("import") as report:
        if suite is not None:
            from skilltokens.suites.libero.human import import_human

            store = import_human(
                file,
                target,
                suite,
                task=task,
                subset=options.subset or None,
                images=options.images,
                source=options.source or None,
                clip=options.clip,
                report=report,
            )
            return store, False
        store = import_hdf5(
            file,
            target,
            task=task,
            keys=keys,
            images=options.images,
            subset=options.subset or None,
            suite=options.suite or None,
            source=options.source or None,
            clip=options.clip,
            turn=None if options.turn == "auto" else options.turn == "yes",
            report=report,
        )
    return store, False


def _task(options: ImportOptions, file: Path, suite: Libero | None, many: bool) -> Task:
    """The task as the user names it, or else as the file or the suite does."""
    from skilltokens.exchange.hdf5 import task_in
    from skilltokens.suites import task_of

    if suite is not None:
        from skilltokens.suites.libero.human import task_shown

        task = task_of(suite, options.task) if options.task else task_shown(file, suite)
        return replace(
            task, instruction=options.instruction or task.instruction, wordings=options.wordings or task.wordings
        )
    if options.instruction:
        assert options.store is not None
        return Task(options.task or options.store.name, options.instruction, options.wordings)
    folder = "" if many or options.store is None else options.store.name
    task = task_in(file, options.subset or None, folder)
    return replace(task, name=options.task or task.name, wordings=options.wordings or task.wordings)


def _keys(options: ImportOptions, suite: Libero | None) -> dict[str, list[str]] | None:
    """Feature -> keys, as the user names them; None where it is left to the file."""
    if options.keys and suite is not None:
        raise SettingError("--keys is not for a LIBERO suite, whose observations come out of the simulator")
    keys_of: dict[str, list[str]] = {}
    for word in options.keys:
        feature, _, keys = word.partition("=")
        if not (feature == ACTION or feature.startswith("observation.")) or not all(keys.split(",")):
            raise SettingError(
                f"--keys {word!r} is no FEATURE=KEY,KEY: write it like observation.state=eef_pos,gripper"
            )
        keys_of[feature] = keys.split(",")
    return keys_of or None


def _imported_before(
    target: Path, file: Path, task: Task, keys: dict[str, list[str]] | None, options: ImportOptions
) -> DemonstrationStore | None:
    """The store in a folder that the user did not name, if the same import of the same file made it.

    Raises:
        DemonstrationError: it holds other demonstrations.
    """
    from skilltokens.demos import DemonstrationStore
    from skilltokens.exchange.hdf5 import origin

    if not os.path.exists(target):
        return None
    store = DemonstrationStore.open(target)
    new = origin(
        file, subset=options.subset or None, source=options.source or None, clip=options.clip, images=options.images
    )
    new |= {"keys": keys} if keys else {}
    new |= {**asdict(task), "suite": options.suite or store.suite}
    old = {**store.settings.get("imported", {}), **asdict(store.task), "suite": store.suite}
    for name, value in new.items():
        if old.get(name) != value:
            raise DemonstrationError(
                f"{target} holds other demonstrations ({store.source}, {store.episodes} episodes), whose {name} is "
                f"{old.get(name)!r} and not {value!r}: name another folder for those of {file.name}, or remove that "
                "store"
            )
    return store


def _files(path: Path) -> list[Path]:
    """What becomes a store each: the file, the folder of episodes of one task, or the files in a folder of tasks."""
    from skilltokens.exchange.aloha import episode_files
    from skilltokens.exchange.layout import hdf5_files

    if not os.path.isdir(path) or episode_files(path):
        return [path]
    files = hdf5_files(path)
    if not files:
        raise DemonstrationError(f"{path} holds no file *.hdf5 or *.h5: check the path")
    return files
