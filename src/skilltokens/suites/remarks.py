"""What is worth saying of a suite and its demonstrations before anything is learned or measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from skilltokens.demos import DemonstrationStore
from skilltokens.suites.units import doubt_units
from skilltokens.types import DemonstrationError, Suite, SuiteError, Task


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
