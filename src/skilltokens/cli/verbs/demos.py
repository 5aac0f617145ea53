"""`skilltokens demos`: make, info and check are here; import, export and download are in cli/exchange/."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from skilltokens.cli.actions import Actions, dispatch
from skilltokens.cli.exchange import PROG
from skilltokens.cli.exchange.downloading import DownloadOptions, download
from skilltokens.cli.exchange.exporting import ExportOptions, export
from skilltokens.cli.exchange.importing import ImportOptions, import_
from skilltokens.cli.options import parse
from skilltokens.cli.saying import complain, say
from skilltokens.configuration import NotNegative, check_setting
from skilltokens.machine import cores
from skilltokens.settings import STEP_LIMIT, DemonstrationSettings
from skilltokens.types import DemonstrationError

if TYPE_CHECKING:
    from skilltokens.demos import DemonstrationStore
    from skilltokens.suites.units import Doubt


@dataclass(frozen=True)
class MakeOptions:
    """Records demonstrations by a suite's scripted experts; stores that were made with the same settings are kept.

    `skilltokens run` does this by itself. One store holds one task: FOLDER/SUITE/TASK.

    examples:
      skilltokens demos make metaworld --tasks push window-close
      skilltokens demos make metaworld --episodes 50 --noise 0.2 --folder noisy
    """

    suite: tyro.conf.Positional[str]
    """The suite; see `skilltokens list suites`."""
    tasks: tuple[str, ...] = ()
    """Tasks by name; empty: all of the suite."""
    settings: Annotated[DemonstrationSettings, tyro.conf.arg(name="")] = field(default_factory=DemonstrationSettings)
    step_limit: NotNegative = STEP_LIMIT
    """Seconds; a task whose expert takes no step in five times as many is begun once more; 0: no limit."""


@dataclass(frozen=True)
class InfoOptions:
    """Shows what is in stores: task, instruction, episodes, steps, features, source.

    examples:
      skilltokens demos info demos/metaworld/push
      skilltokens demos info demos
    """

    stores: tyro.conf.Positional[tuple[Path, ...]]
    """Stores, or folders of stores."""


@dataclass(frozen=True)
class CheckOptions:
    """Reads every byte of the stores and lists every fault: altered files, NaN, actions out of range, ...

    With the suite of the stores, their actions are compared with what its simulator takes; where they seem to be in
    other units, the first steps are replayed. The exit status is 2 if there is a fault.

    examples:
      skilltokens demos check demos
      skilltokens demos check demos/my-robot --suite my_robot:suite
    """

    stores: tyro.conf.Positional[tuple[Path, ...]]
    """Stores, or folders of stores."""
    suite: str = ""
    """Their suite; empty: the one that a store names, where that is one of `skilltokens list suites`."""


def make(words: Sequence[str]) -> int:
    options = parse(MakeOptions, words, f"{PROG} make")
    check_setting(options, "step_limit")
    from skilltokens.cli.progress import Single
    from skilltokens.simulation.demonstrate import demonstrations
    from skilltokens.suites import load_suite, task_of

    suite = load_suite(options.suite)
    tasks = [task_of(suite, name) for name in options.tasks] or suite.tasks
    with Single("demonstrations") as report:
        stores = demonstrations(suite, tasks, options.settings, report, cores(), options.step_limit)
    for store in stores:
        say(f"{store.path}: {store.episodes} episodes, {store.steps} steps")
    return 0


def info(words: Sequence[str]) -> int:
    options = parse(InfoOptions, words, f"{PROG} info")
    from skilltokens.demos import info as describe
    from skilltokens.demos import stores_in

    for path in _some(options.stores):
        for store in stores_in(path):
            _print(describe(store.path))
    return 0


def check(words: Sequence[str]) -> int:
    options = parse(CheckOptions, words, f"{PROG} check")
    from skilltokens.demos import check as faults_of
    from skilltokens.demos import stores_in

    faulty = 0
    for path in _some(options.stores):
        for store in stores_in(path):
            faults = faults_of(store.path)
            doubt = None if faults else _doubt(store, options.suite)
            if doubt is not None and doubt.proven:
                faults = [doubt.sentence]
            say(f"{store.path}: {'sound' if not faults else f'{len(faults)} faults'}")
            if doubt is not None and not doubt.proven:
                say(f"note: {doubt.sentence}")
            for fault in faults:
                complain(str(fault))
            faulty += bool(faults)
    return 2 if faulty else 0


def _doubt(store: DemonstrationStore, name: str) -> Doubt | None:
    """What speaks against a store's actions being in its suite's units; None where no suite is named or installed."""
    from skilltokens.suites import load_suite
    from skilltokens.suites.remarks import doubt_of
    from skilltokens.suites.units import doubt_units

    return doubt_units(load_suite(name), store) if name else doubt_of(store)


ACTIONS: Actions = {
    "make": (make, MakeOptions),
    "info": (info, InfoOptions),
    "check": (check, CheckOptions),
    "import": (import_, ImportOptions),
    "export": (export, ExportOptions),
    "download": (download, DownloadOptions),
}


def main(words: Sequence[str]) -> int:
    return dispatch(PROG, "Demonstrations: one store a task, kept in demos/SUITE/TASK.", ACTIONS, words)


def _some(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    if not paths:
        raise DemonstrationError(
            "no store was named: give its folder, such as demos/metaworld/push, or a folder of stores"
        )
    return paths


def _print(content: dict, indent: str = "") -> None:
    """A nested dictionary as indented lines."""
    for name, value in content.items():
        if isinstance(value, dict):
            say(f"{indent}{name}:")
            _print(value, indent + "  ")
        elif value not in (None, "", [], {}):
            shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
            say(f"{indent}{name}: {shown}")
    if not indent:
        say()
