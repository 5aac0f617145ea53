"""`skilltokens learn`: one skill more in a library, from a store alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from skilltokens.cli.options import parse
from skilltokens.methods.t2s import T2SSettings
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import TrainSettings


@dataclass(frozen=True)
class LearnOptions:
    """Adds one skill to a skill library from a demonstration store, by the method T2S. No simulator is needed.

    The first skill creates the library: its policy is trained from scratch and becomes the frozen base. Each later
    skill trains a few parameter tokens of its own, and the earlier skills keep their exact bits. The library on disk
    changes only once the new skill is complete; a stopped command leaves it as it was.

    examples:
      skilltokens learn library demos/metaworld/push
      skilltokens learn library demos/metaworld/window-close --instruction "shut the window"
      skilltokens learn library demos/own/lift --name lift-gently --train.iterations 1200
    """

    library: tyro.conf.Positional[Path]
    """The library's folder; the first skill creates it."""
    store: tyro.conf.Positional[Path]
    """The demonstration store."""
    instruction: str | None = None
    """The sentence that calls the skill; left out: the store's instruction."""
    wordings: tuple[str, ...] = ()
    """Other sentences that call the skill; they, or --instruction, take the place of the store's other sentences."""
    name: str = ""
    """The skill's name, also that of its file; empty: the name of the store's task."""
    seed: int = 0
    """Seed of the first weights, the new parameter tokens and the batches."""
    encoder: str = "minilm"
    """Sentence encoder of a new library, as in `skilltokens run`; a library that exists keeps its own."""
    method: T2SSettings = field(default_factory=T2SSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    train: TrainSettings = field(default_factory=TrainSettings)


def main(words: Sequence[str]) -> int:
    options = parse(LearnOptions, words, "skilltokens learn")
    from skilltokens.cli.progress import Single
    from skilltokens.demos import DemonstrationStore

    store = DemonstrationStore.open(options.store)
    from skilltokens.grow import learn_skill  # loads torch, so only once the store is known to be sound

    if (options.library / "library.json").exists() and (options.policy, options.encoder) != (
        PolicySettings(),
        "minilm",
    ):
        print(
            f"note: {options.library} keeps its own policy and sentence encoder: --policy and --encoder do nothing here"
        )
    with Single("learning") as report:
        library = learn_skill(
            options.library,
            store,
            name=options.name,
            wordings=_wordings(options, store.task.instruction, store.task.wordings),
            method=options.method,
            train=options.train,
            policy=options.policy,
            encoder=options.encoder,
            seed=options.seed,
            report=report,
        )
    skill = library.skills[-1]
    if len(library.skills) == 1:
        print(f"{library.folder}: made, with {skill.name!r} as the base of {library.parameters:,} parameters")
    else:
        share = skill.parameters / library.parameters
        print(f"{library.folder}: skill {skill.name!r} added, {share:.1%} of the base's parameters")
        _warn_of_twins(library, skill.wordings)
    return 0


def _wordings(options: LearnOptions, instruction: str, wordings: Sequence[str]) -> tuple[str, ...]:
    if options.instruction is not None:
        return (options.instruction, *options.wordings)
    return (instruction, *(options.wordings or wordings))


def _warn_of_twins(library, wordings: Sequence[str]) -> None:
    """Two skills whose instructions mean the same cannot both be called: of equal words the newest is."""
    *older, new = library.skills
    for wording in wordings:
        number, cosine = library.select(wording)
        if number != len(older):
            print(f"note: {wording!r} calls skill {library.skills[number].name!r} (cosine {cosine:.2f}): reword one")
    for skill in older:
        for wording in skill.wordings:
            if library.select(wording)[0] == len(older):
                print(f"note: {wording!r} now calls {new.name!r} instead of {skill.name!r}")
