"""The papers of a skill library, made anew of the rest with every change: its model card, and LeRobot's three files.

The card says what is in the library for whoever finds the folder, or its repository at the Hub: the skills, how often
they succeed and on what, and which demonstrations they come from.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from skilltokens.escaping import markdown, python, shell
from skilltokens.metrics import wilson
from skilltokens.skills.head import Head, Source
from skilltokens.skills.known import aside, counts, measured_on, origin
from skilltokens.skills.lerobot import CHECKPOINT, checkpoint
from skilltokens.skills.records import Record
from skilltokens.skills.state import State
from skilltokens.types import SettingError

CARD = "README.md"
PAPERS = (CARD, *CHECKPOINT)
"""Files that are made anew of the rest with every change: whatever happens to them, the library is whole."""
SHOWN = 100
"""How many skills the card lists, the newest: its making must not cost more the larger the library is."""
TAGS = ("robotics", "lerobot", "skilltokens", "lifelong-learning")
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]{0,60}")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True)
class Facts:
    """What a card says that the library does not know.

    Attributes:
        folder: the name of the library's folder.
        repository: OWNER/NAME at the Hub; empty: it is at none.
        license: the Hub's name of a license, such as apache-2.0; empty: none is said.
        datasets: data sets at the Hub that the skills were learned from, OWNER/NAME each.
        base: the model at the Hub that the library grew from, OWNER/NAME; empty: none is said.

    Raises:
        SettingError: one is no license, or no name of a repository.
    """

    folder: str
    repository: str = ""
    license: str = ""
    datasets: tuple[str, ...] = ()
    base: str = ""

    def __post_init__(self) -> None:
        if self.license and not _LICENSE.fullmatch(self.license):
            raise SettingError(f"{self.license!r:.80} is no license that the Hub knows: write it as in apache-2.0")
        for name in (*self.datasets, *([self.base] if self.base else ())):
            if not _REPOSITORY.fullmatch(name):
                raise SettingError(f"{name!r:.120} cannot name a repository: it is OWNER/NAME")


def papers(head: Head, state: State, facts: Facts) -> dict[str, bytes]:
    """Name -> content of each file that is made of what a library is."""
    return {CARD: model_card(head, state, facts).encode(), **checkpoint(head)}


def model_card(head: Head, state: State, facts: Facts) -> str:
    """The model card, README.md: metadata for the Hub, the skills with their successes, and how to act with them."""
    records = list(state.skills.values())
    shown = records[-SHOWN:]
    hidden = len(records) - SHOWN
    more = (
        f"\n{hidden} older skills are left out here: `skilltokens skills FOLDER list` shows all.\n"
        if hidden > 0
        else ""
    )
    called = next((record for record in reversed(records) if not record.retired), records[-1])
    return (
        f"{_metadata(facts)}"
        f"# A skill library\n\n{len(records)} skill{'s' * (len(records) != 1)} on one frozen base of "
        f"{head.base.parameters:,} parameters ({_about_base(head)}fingerprint "
        f"{head.base.fingerprint[:12]}), made with skilltokens.\n"
        f"Instructions are read by the sentence encoder {markdown(head.encoder)}.\n\n"
        + _table(
            (
                "skill",
                "instruction",
                "parameters of its own",
                "success, 95 % interval",
                "measured on",
                "error on demonstrations kept aside",
            ),
            [_row(record, head.base.parameters) for record in shown],
        )
        + f"{more}\n{_example(called.wordings[0], facts, isinstance(head.source, Source))}\n"
        "Each skill acts only with the rows that were active when it was learned, so skills that are added later "
        "leave its actions the same bit for bit: `skilltokens skills FOLDER verify --actions` proves it.\n"
        "Intervals are Wilson's.\n" + _demonstrations(shown)
    )


def _metadata(facts: Facts) -> str:
    """The metadata that the Hub reads, in YAML; nothing of it is a stranger's text."""
    lines = ["library_name: lerobot", "pipeline_tag: robotics"]
    lines += [f'license: "{facts.license}"'] * bool(facts.license)
    for name, values in (
        ("tags", TAGS),
        ("datasets", facts.datasets),
        ("base_model", (facts.base,) if facts.base else ()),
    ):
        lines += [f"{name}:", *(f'- "{value}"' for value in values)] if values else []
    return "---\n" + "\n".join(lines) + "\n---\n\n"


def _about_base(head: Head) -> str:
    """What the base is: the size of our own, the place of one of another make."""
    settings = head.policy["settings"]
    if isinstance(head.source, Source):
        revision = f" at {markdown(head.source.revision)}" * bool(head.source.revision)
        kind = markdown(str(settings.get("type")))
        return f"a policy of type {kind}, {markdown(head.source.path)}{revision}, which is not in this folder; "
    return "{} layers, width {}, ".format(*(markdown(str(settings.get(name))) for name in ("layers", "width")))


def _example(instruction: str, facts: Facts, attached: bool) -> str:
    """How to act with it; at the Hub the library is pulled first, and is LeRobot's checkpoint as it is."""
    folder, get = facts.folder, ""
    if facts.repository:
        folder = facts.repository.rpartition("/")[2]
        get = (
            f"```bash\nskilltokens hub pull {shell(facts.repository)}\n"
            f"lerobot-eval --policy.path={shell(facts.repository)} ...  # with the plug-in lerobot_policy_skilltokens\n"
            "```\n\n"
        )
    kind = "AttachedLibrary" if attached else "SkillLibrary"
    return (
        f"{get}```python\nfrom skilltokens import {kind}\n\nlibrary = {kind}.open({python(folder)})\n"
        f"actor = library.actor({python(instruction)})\n"
        "memory = actor.start(batch=1)\naction = actor.act(observation, memory)  # arrays of shape (1, n)\n```\n"
    )


def _row(record: Record, base: int) -> tuple[str, ...]:
    """A skill's line of the table. Its words and notes are a stranger's where it was imported."""
    notes = record.about()
    measured, error = counts(notes), aside(notes)
    if measured:
        low, high = (float(end) for end in wilson(*measured))
        success = f"{measured.successes} of {measured.episodes}, {low:.2f} to {high:.2f}"
    else:
        success = "not measured"
    return (
        record.label + " (retired)" * record.retired,
        record.wordings[0],
        f"{record.parameters or base:,}",
        success,
        measured_on(notes) if measured else "",
        f"{error.error:.3f}" if error else "",
    )


def _demonstrations(records: Sequence[Record]) -> str:
    """Where the skills come from, for those of which something is said."""
    known = [(record, origin(record.about())) for record in records]
    rows = [
        (record.label, said.source, str(said.episodes or ""), said.digest) for record, said in known if said is not None
    ]
    if not rows:
        return ""
    return "\n## Demonstrations\n\n" + _table(("skill", "source", "episodes", "SHA-256 of the store"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([markdown(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
