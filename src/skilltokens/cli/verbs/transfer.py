"""`skilltokens transfer`: a matrix of which skill helps which, and how well rules that choose a neighbour know it."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skilltokens.cli.checking import check_evaluation
from skilltokens.cli.options import parse_known
from skilltokens.cli.plan import plan_of_demonstrated
from skilltokens.cli.planned import Plan
from skilltokens.configuration import CountFrom0, check_number
from skilltokens.experiments.transfer.settings import EVALUATION
from skilltokens.types import SettingError

if TYPE_CHECKING:
    from skilltokens.experiments.transfer.record import TransferRecord

PROG = "skilltokens transfer"


@dataclass(frozen=True)
class TransferOptions:
    """Learns every task of a recipe from every other task's skill, and says which helped, and which rule knows.

    skilltokens transfer RECIPE takes every option of `skilltokens run RECIPE` besides these, for one method (t2s, lora
    or full_copy), one seed and protocol A+. First every task is learned from the base, by a run in OUT/skills. Then
    each is learned once more from each of these skills: ten tasks make a hundred cells. A cell is tested at the points
    of its learning curve on validation states, which are never reported. OUT (runs/RECIPE-transfer, if you name no
    --out) gets every cell in matrix.json, and best.toml, a grid that learns each task from its best start in hindsight.
    After Ctrl-C or a crash, the same command goes on with the next cell.

    examples:
      skilltokens transfer metaworld-few --methods t2s --evaluate.at 0 .25 1
      skilltokens transfer metaworld-few --methods lora --tasks push-wall faucet-close shelf-place \\
        --train.iterations 100 --evaluate.episodes 5 --out runs/small-matrix
    """

    held_out: CountFrom0 = 10
    """Demonstrations of each task, behind those that are learned from, on which the loss of what was learned is
    measured; 0: none."""


def main(words: Sequence[str]) -> int:
    try:
        return _transfer(words)
    except KeyboardInterrupt:
        print("\nskilltokens: stopped; the same command resumes where it stopped", file=sys.stderr)
        return 130


def _transfer(words: Sequence[str]) -> int:
    options, plan = plan_of(words)
    run = plan.runs[0]
    from skilltokens.experiments.transfer.measuring import SKILLS, check_possible, measure

    check_possible(run.settings, options.held_out)
    if plan.dry:
        return _outlook(plan)
    from skilltokens.cli.profile.options import profiled
    from skilltokens.cli.progress import Single
    from skilltokens.experiments.transfer.ceiling import write_ceiling

    with profiled(plan.profile, "transfer"), Single("transfer") as report:
        record = measure(run.settings, plan.out, report, run.recipe.name, run.command, options.held_out)
    _conclude(record)
    print(f"written: {write_ceiling(plan.out, plan.out / SKILLS / 'library', record)}")
    return 0


def plan_of(words: Sequence[str]) -> tuple[TransferOptions, Plan]:
    """The one run of a command line, whose settings the cells have.

    Raises:
        SettingError: an unknown recipe, method or option, an impossible value, or several runs.
    """
    recipe = "" if not words or words[0].startswith("-") else words[0]
    options, rest = parse_known(TransferOptions, words[1:] if recipe else words, PROG)
    check_number("--held-out", options.held_out, CountFrom0)
    if not recipe:
        raise SettingError(f"name a recipe first, such as `{PROG} metaworld-few`: see `skilltokens list recipes`")
    names = {group[0] for group in rest}
    plan = plan_of_demonstrated(recipe, rest, "transfer", "a transfer matrix is of learning from demonstrations")
    if len(plan.runs) != 1 or plan.cluster:
        raise SettingError("a transfer matrix is of one method and one seed, on this machine: name one of each")
    check_evaluation(plan.runs[0].settings, names, EVALUATION, "cells are evaluated on validation states alone")
    command = shlex.join(["skilltokens", "transfer", *words])
    return options, dataclasses.replace(plan, runs=(dataclasses.replace(plan.runs[0], command=command),))


def _outlook(plan: Plan) -> int:
    """What would be done."""
    from skilltokens.experiments.lessons import order_of
    from skilltokens.suites import load_suite

    settings = plan.runs[0].settings
    count = len(order_of(settings, load_suite(settings.suite)))
    print(f"{plan.out}: {count} skills from the base, then {count * count} cells")
    return 0


def _conclude(record: TransferRecord) -> None:
    """Prints how good each rule is."""
    from skilltokens.cli.saying import cells
    from skilltokens.cli.tables import empty_table, output
    from skilltokens.report.transfer import HEAD, rows_of

    table = empty_table("Rules that choose the skill a new one starts from")
    for head in HEAD:
        table.add_column(head, justify="left" if head == HEAD[0] else "right")
    for row in rows_of(record):
        table.add_row(*cells(row))
    output().print(table)
