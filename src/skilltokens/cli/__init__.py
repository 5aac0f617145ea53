"""The command `skilltokens`: one verb a module, each imported only when it is used.

This module and every verb's `--help` load no torch and no simulator, so that they answer at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from skilltokens.escaping import terminal
from skilltokens.types import SettingError, SkilltokensError, nearest

Verb = Callable[[Sequence[str]], int]

VERBS = {
    "run": "Learn tasks one after another by several methods; compare, report",
    "grid": "Run a grid of methods, recipes, seeds and settings from one file",
    "tune": "Try as many settings of each method on validation states, and choose",
    "transfer": "Learn every task from every other one's skill: which helps, and which rule knows",
    "demos": "Make, show, check, import, export and download demonstrations",
    "report": "Write a page, tables or drawings from run folders",
    "compare": "Say which method is better, by how much, and whether it is more than chance",
    "list": "Show the recipes, methods, suites and tasks there are",
    "adapt": "Add a skill to a skill library from reward, by a task token",
    "learn": "Add a skill to a skill library from demonstrations",
    "skills": "Look after the skills of a library: list, rename, remove, export, prove, ...",
    "hub": "Push a skill library to the Hugging Face Hub, or pull one from there",
    "export": "Write one skill as a file that acts without torch: ONNX or NumPy",
    "serve": "Serve a library to robots: openpi's protocol and vla-eval's, on one port",
    "evaluate": "Measure the skills of a library on a suite",
    "doctor": "Say what works here, what is missing, and how to fix it",
    "completion": "Print a script that completes words at Tab, for bash, zsh or fish",
}
"""Verb -> one line; verb `x` is the function `main` of module `skilltokens.cli.verbs.x`."""

_HELP = """\
skilltokens: grow one frozen robot policy, skill by skill, and never lose one.

usage: skilltokens VERB ...
       skilltokens help VERB

{verbs}

Start here:
  skilltokens doctor                               is everything here?
  skilltokens run demo --methods t2s sequential    T2S beside fine-tuning
  skilltokens report runs/demo                     the HTML page again, from the run files alone
  skilltokens list                                 the recipes, methods and suites there are

Each verb explains itself with examples: skilltokens help VERB, or skilltokens VERB --help
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit status.

    0: done; 1: doctor or skills found something; 2: a mistake; 130: stopped.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if os.environ.get("WORLD_SIZE", "1") != "1":  # torchrun started several processes
        from skilltokens.cli.together import together

        return together(words, answer)
    return answer(words)


def answer(words: list[str]) -> int:
    """What `main` does, in one process."""
    try:
        return _run(words)
    except SkilltokensError as mistake:
        print(f"skilltokens: {terminal(str(mistake))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("skilltokens: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); the interpreter's own flush at exit must not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def help_text() -> str:
    """What `skilltokens --help` prints."""
    return _HELP.format(verbs="\n".join(f"  {verb:<12}{line}" for verb, line in VERBS.items()))


def _run(words: list[str]) -> int:
    verb, *rest = words or ["--help"]
    if verb == "help" and rest and rest[0] not in ("-h", "--help", "help"):
        verb, *rest = [*rest, "--help"]  # `help demos make` is `demos make --help`
    if verb in ("-h", "--help", "help"):
        print(help_text(), end="")
        return 0
    if verb in ("-V", "--version"):
        from skilltokens import __version__

        print(f"skilltokens {__version__}")
        return 0
    if verb == "completion" and rest[:1] in (["--words"], ["--line"]):
        from skilltokens.cli.candidates import answer

        return answer(rest)
    if verb not in VERBS:
        raise SettingError(f"skilltokens has no verb {verb!r}: {nearest(verb, list(VERBS))}")
    action: Verb = import_module(f"skilltokens.cli.verbs.{verb}").main
    return action(rest)
