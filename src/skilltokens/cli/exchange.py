"""`skilltokens demos import|export|download`: demonstrations from and to the files of others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from skilltokens.cli.options import parse
from skilltokens.types import DemonstrationError, SettingError, Task

if TYPE_CHECKING:
    from skilltokens.demos import DemonstrationStore
    from skilltokens.exchange.hdf5 import Convention
    from skilltokens.suites.libero import Libero

PROG = "skilltokens demos"


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


@dataclass(frozen=True)
class ExportOptions:
    """Writes stores with the same features into one HDF5 file that robomimic reads, or each into one of its own.

    A file of one LIBERO task also holds what LIBERO's published files do, under their names.

    examples:
      skilltokens demos export demos/metaworld/push demos/metaworld/hammer --file two-tasks.hdf5
      skilltokens demos export demos/libero-goal --folder libero_goal
    """

    stores: tyro.conf.Positional[tuple[Path, ...]]
    """Stores, or folders of stores."""
    file: Path = Path("demos.hdf5")
    """The HDF5 file to write."""
    folder: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Write one file a store instead, FOLDER/TASK_demo.hdf5."""
    next_observations: bool = True
    """Write next_obs/ too, as robomimic expects by default."""
    layout: Literal["auto", "robomimic", "libero"] = "auto"
    """libero adds what LIBERO's own programs need; auto does so for one LIBERO task with the simulator's states."""


@dataclass(frozen=True)
class DownloadOptions:
    """Downloads LIBERO's published demonstrations, 50 a task by people, from the Hugging Face Hub.

    Every file is checked by its SHA-256. A download that was interrupted goes on where it stopped; what is there
    already is checked and kept. Without a suite, shows what there is. `skilltokens demos import` makes stores of them.

    examples:
      skilltokens demos download
      skilltokens demos download libero-goal
      skilltokens demos download libero-goal --tasks turn_on_the_stove --endpoint https://hub.example.org
    """

    suite: tyro.conf.Positional[str] = ""
    """libero-spatial, libero-object, libero-goal, libero-10 or libero-90; left out: show what there is."""
    tasks: Annotated[tuple[str, ...], tyro.conf.arg(aliases=["--task"])] = ()
    """Tasks by name; empty: all of the suite."""
    folder: Path = Path("demos/published")
    """Where to put them: FOLDER/libero_goal/TASK_demo.hdf5."""
    endpoint: str = ""
    """The Hub's address; empty: the environment variable HF_ENDPOINT, or https://huggingface.co."""
    repository: str = ""
    """The data set's name, OWNER/NAME; empty: the one that LIBERO's authors keep."""
    revision: str = "main"
    """Its branch, tag or commit."""


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


def _libero(name: str) -> Libero | None:
    """The LIBERO suite of that name; None for any other name."""
    if not name.startswith("libero"):
        return None
    from skilltokens.suites import load_suite
    from skilltokens.suites.libero import Libero

    suite = load_suite(name)
    return suite if isinstance(suite, Libero) else None


def export(words: Sequence[str]) -> int:
    options = parse(ExportOptions, words, f"{PROG} export")
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
    for file, held in files.items():
        convention = _convention(held, options.layout)
        with Single("export") as report:
            export_hdf5(held, file, next_observations=options.next_observations, convention=convention, report=report)
        tasks = f"{len(held)} tasks" if len(held) > 1 else held[0].task.name
        print(f"{file}: {sum(store.episodes for store in held)} demonstrations of {tasks}")
    return 0


def _convention(stores: Sequence[DemonstrationStore], layout: str) -> Convention | None:
    """LIBERO's, where it is asked for, or where it is possible and nothing is asked for."""
    if layout == "robomimic" or (layout == "auto" and len(stores) > 1):
        return None
    store = stores[0]
    suite = _libero(store.suite)
    if suite is None or not store.private:
        if layout == "libero":
            raise DemonstrationError(
                f"{store.path} is of the suite {store.suite!r} and keeps no states of LIBERO's simulator, which its "
                "layout is made from: export it in robomimic's"
            )
        return None
    from skilltokens.suites.libero.export import LiberoFile

    return LiberoFile(suite, store.task)


def download(words: Sequence[str]) -> int:
    options = parse(DownloadOptions, words, f"{PROG} download")
    from skilltokens.cli.progress import Single
    from skilltokens.exchange.download import download as fetch
    from skilltokens.exchange.hub import REPOSITORY, SUITES, Hub
    from skilltokens.types import nearest

    if options.suite and options.suite not in SUITES:
        raise SettingError(f"people demonstrated no suite {options.suite!r}: {nearest(options.suite, SUITES)}")
    hub = Hub(options.repository or REPOSITORY, options.revision, options.endpoint or None)
    if not options.suite:
        for suite in SUITES:
            files = [file for file in hub.files if file.suite == suite]
            print(f"{suite:<16}{len(files):>3} tasks, {sum(file.size for file in files) / 1e9:6.1f} GB")
        return 0
    files = hub.choose(options.suite, options.tasks)
    with Single("download") as report:
        paths = fetch(hub, files, options.folder, report)
    for path in paths:
        print(path)
    print(f"Make stores of them: skilltokens demos import {paths[0].parent} --suite {options.suite}")
    return 0
