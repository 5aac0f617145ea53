"""What is worth saying of a suite and its demonstrations before anything is learned or measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from skilltokens.demos import DemonstrationStore
from skilltokens.suites.registry import load_suite, suite_names
from skilltokens.suites.units import Doubt, doubt_units
from skilltokens.types import DemonstrationError, Suite, SuiteError, Task


def doubt_of(store: DemonstrationStore, replay: bool | None = None) -> Doubt | None:
    """What speaks against a store's actions being in the units of the suite that it names; None where that is not
    installed. `replay` is that of `doubt_units`."""
    if store.suite not in suite_names():  # no code of a file's choice
        return None
    try:
        return doubt_units(load_suite(store.suite), store, replay=replay)
    except SuiteError:
        return None  # its simulator is not installed


def remarks_on(suite: Suite, tasks: Sequence[Task] = ()) -> list[str]:
    """Sentences about a suite (its method `remarks() -> list[str]`, if it has one) and its own demonstrations of tasks.

    They are notes: nothing is replayed, and nothing is refused.
    """
    own: Callable[[], list[str]] = getattr(suite, "remarks", list)
    ask: Callable[[Task], DemonstrationStore | None] = getattr(suite, "store", lambda _: None)
    sentences = own()
    for task in tasks:
        try:
            store = ask(task)
        except (DemonstrationError, SuiteError):
            continue  # whoever learns from it is told
        doubt = None if store is None else doubt_units(suite, store, replay=False)
        if doubt is not None:
            sentences.append(doubt.sentence)
    return sentences
