"""`skilltokens completion`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union

import tyro

from skilltokens.cli.options import parse


@dataclass(frozen=True)
class CompletionOptions:
    """Prints a script that completes verbs, options, recipes and methods when you press Tab.

    examples:
      source <(skilltokens completion bash)                                     # this shell alone
      skilltokens completion bash > ~/.local/share/bash-completion/completions/skilltokens
      skilltokens completion zsh > ~/.zfunc/_skilltokens                        # a folder in $fpath
      skilltokens completion fish > ~/.config/fish/completions/skilltokens.fish
    """

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"]]
    """Your shell: bash, zsh or fish."""


def main(words: Sequence[str]) -> int:
    options = parse(CompletionOptions, words, "skilltokens completion")
    try:
        tyro.cli(_everything(), prog="skilltokens", args=["--tyro-print-completion", options.shell])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def _everything() -> Any:
    """All verbs as one tyro type. Nothing parses by it: each verb parses its own words.

    tyro completes the names of subcommands and the choices of options, so a positional choice (a recipe, an action, a
    shell) stands here as a subcommand.
    """
    from skilltokens.cli import VERBS
    from skilltokens.cli.plan import RunOptions
    from skilltokens.cli.study import StudyOptions
    from skilltokens.cli.verbs.adapt import AdaptOptions
    from skilltokens.cli.verbs.demos import ACTIONS
    from skilltokens.cli.verbs.doctor import DoctorOptions
    from skilltokens.cli.verbs.evaluate import EvaluateOptions
    from skilltokens.cli.verbs.learn import LearnOptions
    from skilltokens.cli.verbs.list import ListOptions
    from skilltokens.cli.verbs.report import ReportOptions
    from skilltokens.experiments.recipes import recipe_names, study_names
    from skilltokens.methods.t2s import T2SSettings

    kinds: dict[str, Any] = {
        "run": _words(
            {name: (RunOptions[T2SSettings], line) for name, line in recipe_names().items()}
            | {name: (StudyOptions, line) for name, line in study_names().items()}
        ),
        "adapt": AdaptOptions,
        "demos": _words({name: (options, "") for name, (_, options) in ACTIONS.items()}),
        "report": ReportOptions,
        "list": _words(dict.fromkeys(("recipes", "methods", "learners", "suites", "tasks", "all"), (ListOptions, ""))),
        "learn": LearnOptions,
        "evaluate": EvaluateOptions,
        "doctor": DoctorOptions,
        "completion": _words(dict.fromkeys(("bash", "zsh", "fish"), (DoctorOptions, ""))),
    }
    return _words({name: (kinds[name], line) for name, line in VERBS.items()})


def _words(kinds: dict[str, tuple[Any, str]]) -> Any:
    """A choice of words, each with what may follow it and a line about it."""
    return Union[
        *(
            Annotated[kind, tyro.conf.subcommand(name, description=line or None, prefix_name=False)]
            for name, (kind, line) in kinds.items()
        )
    ]
