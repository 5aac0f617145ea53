"""skilltokens: grow one frozen robot policy, skill by skill, and never lose one.

`import skilltokens` loads neither torch nor a simulator: each public name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skilltokens.attached.beside import attach
    from skilltokens.attached.library import AttachedLibrary
    from skilltokens.demos import DemonstrationStore, write_store
    from skilltokens.experiments.lifelong import learn
    from skilltokens.experiments.recipes import recipe
    from skilltokens.experiments.settings import RunSettings
    from skilltokens.grow import learn_skill
    from skilltokens.language import load_encoder
    from skilltokens.report import write_report
    from skilltokens.simulation.rollout import evaluate
    from skilltokens.skills.library import SkillLibrary
    from skilltokens.skills.pulling import pull_library
    from skilltokens.skills.pushing import push_library
    from skilltokens.suites import load_suite
    from skilltokens.types import Episode, Feature, Scale, SkilltokensError, Suite, Task

__version__ = "0.1.0"

__all__ = [
    "AttachedLibrary",
    "DemonstrationStore",
    "Episode",
    "Feature",
    "RunSettings",
    "Scale",
    "SkillLibrary",
    "SkilltokensError",
    "Suite",
    "Task",
    "__version__",
    "attach",
    "evaluate",
    "learn",
    "learn_skill",
    "load_encoder",
    "load_suite",
    "pull_library",
    "push_library",
    "recipe",
    "write_report",
    "write_store",
]

_HOMES = {
    "AttachedLibrary": "attached.library",
    "DemonstrationStore": "demos",
    "Episode": "types",
    "Feature": "types",
    "RunSettings": "experiments.settings",
    "Scale": "types",
    "SkillLibrary": "skills.library",
    "SkilltokensError": "types",
    "Suite": "types",
    "Task": "types",
    "attach": "attached.beside",
    "evaluate": "simulation.rollout",
    "learn": "experiments.lifelong",
    "learn_skill": "grow",
    "load_encoder": "language",
    "load_suite": "suites",
    "pull_library": "skills.pulling",
    "push_library": "skills.pushing",
    "recipe": "experiments.recipes",
    "write_report": "report",
    "write_store": "demos",
}
"""Public name -> the module that has it."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
