"""RESULTS.md -> the results block of README.md: the headline tables of the main comparisons, copied, never typed.

`python -m skilltokens.report.readme [--results RESULTS.md] [--readme README.md] [--check]`
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from itertools import dropwhile, takewhile
from pathlib import Path

from skilltokens.files import write_bytes
from skilltokens.report.command import write_or_check
from skilltokens.report.reward import HEADLINE
from skilltokens.types import RunError

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
MAIN = ("libero-spatial", "libero-object", "libero-goal", "metaworld-cw10")
"""The experiments to show, in this order; the first one of RESULTS.md where there is none of these names."""
REWARD = ("task-tokens", "task-tokens-walker2d", "task-tokens-metaworld")
"""Those of learning from reward to show behind them, where they are there."""
END_OF_SAID = r" Tasks in order:| \*Distance to motion\*"
"""What follows in that line is for those who read on."""
STEPS = (
    "Steps are the environment's, until 80 % of the test episodes succeed at two points of the curve in a row; "
    "[docs/reward.md](docs/reward.md#who-is-compared) says who is who."
)
COMMAND = "python -m skilltokens.report.readme"


def fill_readme(results: Path, readme: Path) -> Path:
    """Puts the headline table of `results` between the markers of `readme`, atomically, and returns `readme`.

    Raises:
        RunError: one of the files cannot be read, has no table or no markers, or `readme` cannot be written.
    """
    write_bytes(Path(readme), filled(_read(results), _read(readme)).encode(), RunError)
    return Path(readme)


def check_readme(results: Path, readme: Path) -> None:
    """Passes silently where `readme` shows what `results` says.

    Raises:
        RunError: it shows something else.
    """
    if filled(_read(results), found := _read(readme)) != found:
        raise RunError(f"the results in {readme} are not those of {results}: put them there with `{COMMAND}`")


def filled(results: str, readme: str) -> str:
    """The text of the README with the block as the text of RESULTS.md has it."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise RunError(f"the README has no {BEGIN} ... {END}: put both lines where the results belong")
    return f"{before}{BEGIN}\n{block(results)}\n{END}{after}"


def block(results: str) -> str:
    """What the main comparisons are, their headline tables, and where the rest is."""
    sections = {section.partition("\n")[0].strip(): section for section in results.split("\n## ")[1:]}
    if not sections:
        raise RunError("RESULTS.md has no section: make it with `python -m skilltokens.report.results`")
    shown = [sections[name] for name in MAIN if name in sections] or list(sections.values())[:1]
    headlines = [_headline(section, r"\d+ tasks? of .*, protocol ") for section in shown]
    rewards = [_headline(sections[name], "Learning from reward with", HEADLINE) for name in REWARD if name in sections]
    return "\n\n".join([*headlines, *rewards, *[STEPS] * bool(rewards)]) + (
        "\n\nSquare brackets hold 95 % intervals. [RESULTS.md](RESULTS.md) has every task, the comparisons in pairs, "
        "the commands and the machine; [docs/metrics.md](docs/metrics.md) says what each figure means."
    )


def _headline(section: str, what: str, head: str = "") -> str:
    """The line that says what a comparison is, and the first table whose head begins so."""
    lines = section.splitlines()
    table = list(takewhile(_in_table, dropwhile(lambda line: not line.startswith(f"| {head}".rstrip()), lines)))
    said = next((line for line in lines[1:] if re.match(what, line)), "")
    if not table or not said:
        raise RunError("RESULTS.md has no headline table: make it again with `python -m skilltokens.report.results`")
    return f"{re.split(END_OF_SAID, said)[0]}\n\n" + "\n".join(table)


def _in_table(line: str) -> bool:
    return line.startswith("|")


def _read(path: Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as problem:
        raise RunError(f"{path} could not be read ({problem.strerror}): check the path") from problem


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns 0, or 2 after printing one sentence."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Copies the headline table of RESULTS.md to README.md.")
    parser.add_argument("--results", type=Path, default=Path("RESULTS.md"), help="made by skilltokens.report.results")
    parser.add_argument("--readme", type=Path, default=Path("README.md"), help="the file to fill or to check")
    return write_or_check(words, parser, fill_readme, check_readme)


if __name__ == "__main__":
    sys.exit(main())
