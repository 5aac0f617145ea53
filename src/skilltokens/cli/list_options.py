"""The options of `skilltokens list`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True)
class ListOptions:
    """Lists the names that commands take: recipes, methods, suites, tasks. Those of other installed packages too.
    And the runs in a folder: their settings as far as they differ, how far they are, and their success at the end.

    examples:
      skilltokens list
      skilltokens list tasks                      # of Meta-World
      skilltokens list tasks libero-goal
      skilltokens list sequences
      skilltokens list runs                       # in and below the folder runs
      skilltokens list runs runs/nights --tag wide --state failed stopped
    """

    what: tyro.conf.Positional[
        Literal["all", "recipes", "methods", "learners", "suites", "sequences", "tasks", "runs"]
    ] = "all"
    """What to list; learners learn from reward, sequences are lists of tasks with a name, and all is all but tasks and
    runs."""
    suite: tyro.conf.Positional[str] = ""
    """With tasks: the suite; left out: metaworld. With runs: the folder; left out: runs."""
    old_suite: Annotated[str, tyro.conf.arg(name="suite")] = ""
    """The old way to name the suite."""
    tag: str = ""
    """With runs: only those that were run with this --tag."""
    state: tuple[Literal["done", "runs", "stopped", "failed", "waiting", "damaged"], ...] = ()
    """With runs: only those in one of these states."""
