"""`skilltokens demos import`: a store from an HDF5 file in robomimic's layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from skilltokens.cli.exchange import PROG, libero_suite
from skilltokens.cli.options import parse
from skilltokens.types import DemonstrationError, SettingError, Task

if TYPE_CHECKING:
    from skilltokens.demos import DemonstrationStore
    from skilltokens.suites.libero import Libero


@dataclass(frozen=True)
class ImportOptions:
    """Makes a store from an HDF5 file in robomimic's layout (robomimic, LIBERO, or `skilltokens demos export`).

    With a LIBERO suite, the states in LIBERO's published files are put back into the simulator, which says what the
    suite observes there: the store can then be learned and evaluated like the suite's own. The file is only read. A
    store that is already at the place named is replaced at the end, at once.

    examples:
      skilltokens demos import lift.hdf5 demos/own/lift --instruction "lift the red cube"
      skilltokens demos import lift.hdf5 demos/own/lift --task lift --instruction "lift it" --subset train --clip
      skilltokens demos import own.hdf5 demos/own/lift --keys observation.state=eef,grip observation.images.top=camera
      skilltokens demos import demos/published/libero_goal --suite libero-goal
    """

    file: tyro.conf.Positional[Path]
    """The HDF5 file, or a folder of them: then each makes a store."""
    store: tyro.conf.Positional[Path | None] = None
    """The store's folder, or of a folder of files that of the stores; left out, with a LIBERO suite: demos/SUITE."""
    instruction: str = ""
    """What the robot is told; empty: what the file says."""
    wordings: tuple[str, ...] = ()
    """Other ways to say it, to train with."""
    task: str = ""
    """The task's name; empty: what the file says, or the store's folder (of a folder of files: the file) is called."""
    subset: str = ""
    """A list under mask/ in the file; empty: all demonstrations."""
    images: bool = False
    """Take the pictures too, as observation.images.CAMERA."""
    keys: tuple[str, ...] = ()
    """Which arrays under obs/ make which feature, as FEATURE=KEY,KEY; empty: those that robomimic or LIBERO use."""
    suite: str = ""
    """A LIBERO suite, or any name to write into the store; empty: what the file says, or "own"."""
    source: str = ""
    """Who demonstrated; empty: what the file says, or "human"."""
    clip: bool = False
    """Clip actions to [-1, 1] instead of refusing those outside."""


def import_(words: Sequence[str]) -> int:
    options = parse(ImportOptions, words, f"{PROG} import")
    suite = _libero(options.suite)
    if options.file.is_dir() and (options.task or options.instruction or options.wordings):
        raise SettingError(f"{options.file} is a folder of tasks: task, instruction and wordings are for a single file")
    if suite is None and options.store is None:
        raise SettingError("no store was named: give its folder, such as demos/own/lift, or a LIBERO suite")
    for file in _files(options.file):
        store, kept = _imported(options, file, suite)
        if kept:
            print(f"{store.path}: there already, from {file.name}")
        else:
            told = f"{store.episodes} episodes, {store.steps} steps, instruction {store.task.instruction!r}"
            print(f"{store.path}: {told}")
            if suite is None:
                _say_what_was_taken(store)
    return 0


def _say_what_was_taken(store: DemonstrationStore) -> None:
    """Which arrays made which feature, and which were left."""
    made = store.settings.get("imported", {})
    for feature, keys in made.get("keys", {}).items():
        print(f"  {feature} <- {', '.join(keys)}")
    if made.get("left"):
        print(f"  not taken: {', '.join(made['left'])} (--keys, and --images for pictures)")


def _imported(options: ImportOptions, file: Path, suite: Libero | None) -> tuple[DemonstrationStore, bool]:
    """The store made of one file, and whether it was there already."""
    from skilltokens.cli.progress import Single
    from skilltokens.exchange.hdf5 import import_hdf5

    task, keys = _task(options, file, suite), _keys(options, suite)
    target = options.store
    if target is None or options.file.is_dir():
        target = (target or Path("demos", options.suite)) / task.name
        there = _there(target, file, task, keys, options)
        if there is not None:
            return there, True
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
        else:
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
                report=report,
            )
    return store, False


def _task(options: ImportOptions, file: Path, suite: Libero | None) -> Task:
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
    folder = "" if options.file.is_dir() or options.store is None else options.store.name
    said = task_in(file, options.subset or None, folder)
    return Task(options.task or said.name, said.instruction, options.wordings or said.wordings, said.held_out)


def _keys(options: ImportOptions, suite: Libero | None) -> dict[str, list[str]] | None:
    """Feature -> keys, as the user names them; None where it is left to the file."""
    if options.keys and suite is not None:
        raise SettingError("--keys is not for a LIBERO suite, whose observations come out of the simulator")
    made: dict[str, list[str]] = {}
    for word in options.keys:
        feature, _, keys = word.partition("=")
        if not feature.startswith("observation.") or not all(keys.split(",")):
            raise SettingError(
                f"--keys {word!r} is no FEATURE=KEY,KEY: write it like observation.state=eef_pos,gripper"
            )
        made[feature] = keys.split(",")
    return made or None


def _there(
    target: Path, file: Path, task: Task, keys: dict[str, list[str]] | None, options: ImportOptions
) -> DemonstrationStore | None:
    """The store at a place that the user did not name, if the same import of the same file made it."""
    from skilltokens.demos import DemonstrationStore
    from skilltokens.exchange.hdf5 import origin

    if not target.exists():
        return None
    store = DemonstrationStore.open(target)
    asked = origin(
        file, subset=options.subset or None, source=options.source or None, clip=options.clip, images=options.images
    )
    made = {**store.settings.get("imported", {}), **asdict(store.task), "suite": store.suite}
    asked |= {"keys": keys} if keys else {}
    for what, wanted in {**asked, **asdict(task), "suite": options.suite or store.suite}.items():
        if made.get(what) != wanted:
            raise DemonstrationError(
                f"{target} holds other demonstrations ({store.source}, {store.episodes} episodes), whose {what} is "
                f"{made.get(what)!r} and not {wanted!r}: name another folder for those of {file.name}, or remove that "
                "store"
            )
    return store


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    found = sorted(path.glob("*.hdf5"))
    if not found:
        raise DemonstrationError(f"{path} holds no file *.hdf5: check the path")
    yield from found
