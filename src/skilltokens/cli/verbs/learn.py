"""`skilltokens learn`: one skill more in a library, from a store alone."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from skilltokens.attached.settings import AttachedSettings
from skilltokens.cli.exchange.lerobot import is_lerobot, opened
from skilltokens.cli.options import parse
from skilltokens.cli.profile.options import ProfileOptions, profiled
from skilltokens.cli.together import called, team
from skilltokens.configuration import Share
from skilltokens.methods import method_names, method_settings
from skilltokens.methods.t2s import T2SSettings
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import TrainSettings
from skilltokens.skills.head import HEAD, is_attached
from skilltokens.types import LibraryError, Report, SettingError, silent

if TYPE_CHECKING:
    from skilltokens.demos import DemonstrationStore
    from skilltokens.skills.library import SkillLibrary

    MethodName = str
else:
    MethodName = tyro.extras.literal_type_from_choices(method_names())


@dataclass(frozen=True)
class LearnOptions(ProfileOptions):
    """Adds one skill to a skill library from a demonstration store. No simulator is needed.

    The first skill creates the library (--new): its policy is trained from scratch and becomes the frozen base. Each
    later skill trains a few parameters of its own, and the earlier skills keep their exact bits. Before the training it
    is said which sentences of other skills the new one would answer; it goes on only with --take-over. The library on
    disk changes only once the new skill is complete; a stopped command leaves it as it was. A tenth of the
    demonstrations is kept aside, where there are ten or more, to measure the error of the skill's actions.

    examples:
      skilltokens learn library demos/metaworld/push --new
      skilltokens learn library demos/metaworld/window-close --instruction "shut the window"
      skilltokens learn library demos/own/lift --name lift-gently --train.iterations 1200
      skilltokens learn library demos/own/lift-friday --name lift-gently --again   # a new version, called from now on
      skilltokens learn library demos/own/lift --by lora
      skilltokens learn beside demos/own/lift --new --base checkpoints/act --loader mine:load   # somebody else's policy
      skilltokens learn beside my-lerobot-data --new --base outputs/train/act   # what lerobot-train wrote
    """

    library: tyro.conf.Positional[Path]
    """The library's folder; the first skill creates it."""
    data: tyro.conf.Positional[Path]
    """The demonstration store, or a LeRobot data set (version 3), which is read as one."""
    task: str = ""
    """Of a LeRobot data set that shows several tasks: the sentence of the one to learn."""
    instruction: str | None = None
    """The sentence that calls the skill; left out: the store's instruction."""
    wordings: tuple[str, ...] = ()
    """Other sentences that call the skill; they, or --instruction, take the place of the store's other sentences."""
    name: str = ""
    """The skill's name, also that of its file; empty: the name of the store's task."""
    new: bool = False
    """Make a new library; without it, the library must be there, so that a mistyped name is none."""
    again: bool = False
    """The library may have a skill of this name: the new one is its next version, and the older one is kept."""
    take_over: bool = False
    """The skill may answer sentences that call other skills today."""
    aside: int | None = None
    """Demonstrations that are kept aside, the last ones; left out: a tenth, where there are ten or more."""
    constants: tuple[Path, ...] = ()
    """Further stores of the same robot, on which a new library measures the constants of readings and actions, which
    later skills keep; give those that move most."""
    by: MethodName = "t2s"
    """The method that learns the skill: one that keeps a policy for each skill, such as t2s or lora."""
    seed: int = 0
    """Seed of the first weights, the new parameters and the batches."""
    encoder: str | None = None
    """Sentence encoder of a new library, as in `skilltokens run`; left out: minilm. A library that exists keeps its
    own, and asks for this where that is a folder."""
    base: str = ""
    """A policy of another make beside which a new library's skills stand: a file, a folder, or OWNER/NAME at the Hub. A
    library that exists says itself where its base is; give this where it was moved."""
    revision: str = ""
    """Branch, tag or commit of a new library's base at the Hub."""
    loader: str = ""
    """Who makes a policy of that base: MODULE:FUNCTION, which is given its folder, or the name of an installed one;
    left out: the installed one that knows it, as lerobot_policy_skilltokens knows LeRobot's checkpoints."""
    targets: tuple[str, ...] | None = None
    """Names of the base's linear maps beside which a new library's skills have rows, with * and ?; left out: those of a
    known kind of policy."""
    own: tuple[str, ...] | None = None
    """Names of the base's parameters or modules of which a new library's skills have copies."""
    share: Share = 0.08
    """The most numbers of a skill beside such a base, as a part of its parameters."""
    base_wordings: tuple[str, ...] = ()
    """Sentences that call the base as it is; without them none does."""
    attached: AttachedSettings = field(default_factory=AttachedSettings)
    """A skill beside such a base; --method and --policy do nothing there."""
    method: Any = field(default_factory=T2SSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    train: TrainSettings = field(default_factory=TrainSettings)


def main(words: Sequence[str]) -> int:
    options = _options(words)
    if is_lerobot(options.data):
        _exists(options)  # before a data set is read
    with profiled(options.profile, "learn"), opened(options.data, options.library, options.task) as store:
        return _learn(options, store)


def _exists(options: LearnOptions) -> bool:
    """Whether the library is there. Raises LibraryError where it should be."""
    exists = (options.library / HEAD).exists()
    if not exists and not options.new:
        raise LibraryError(f"{options.library} is no skill library: {_near(options.library)}make a new one with --new")
    return exists


def _learn(options: LearnOptions, store: DemonstrationStore) -> int:
    from skilltokens.cli.progress import Single

    exists = _exists(options)
    if is_attached(options.library) or (options.base and not exists):
        _learn_attached(options, store, exists)
        return 0
    if options.base or options.loader:
        raise SettingError(f"{options.library} has a base of its own: leave out --base and --loader")
    if exists and options.policy != PolicySettings():
        print(f"note: {options.library} keeps its own policy: --policy does nothing here")
    before = _names(options.library) if exists else []
    with Single("learning") as report, called(str(store.path.absolute())):
        library = _learned(options, store, report)
    _tell(library, options.name or store.task.name, before)
    return 0


def _learned(options: LearnOptions, store: DemonstrationStore, report: Report) -> SkillLibrary:
    """The library with the skill."""
    from skilltokens.demos import DemonstrationStore
    from skilltokens.grow import learn_skill  # loads torch, so only once the store is known to be sound

    return learn_skill(
        options.library,
        store,
        name=options.name,
        wordings=_wordings(options, store.task.instruction, store.task.wordings),
        method=options.method,
        train=options.train,
        policy=options.policy,
        encoder=options.encoder,
        seed=options.seed,
        new=options.new,
        again=options.again,
        take_over=options.take_over,
        aside=options.aside,
        constants=[DemonstrationStore.open(path) for path in options.constants],
        report=report,
    )


def follow(words: Sequence[str], store: str) -> None:
    """Shares the training of the skill that a store shows, which another process leads."""
    from skilltokens.demos import DemonstrationStore

    _learned(_options(words), DemonstrationStore.open(Path(store)), silent)


def _learn_attached(options: LearnOptions, store: DemonstrationStore, exists: bool) -> None:
    """A skill beside a policy of another make; what was made for a library that comes to nothing goes again."""
    from skilltokens.attached.library import AttachedLibrary
    from skilltokens.cli.progress import Single
    from skilltokens.cli.saying import say
    from skilltokens.grow_attached import learn_attached, made_beside

    if team() is not None:
        from skilltokens.distributed import OTHERS_POLICY

        raise SettingError(OTHERS_POLICY)
    if options.by != "t2s" or options.policy != PolicySettings() or options.constants:
        raise SettingError("beside another make's policy --by, --policy and --constants mean nothing: use --attached")
    if exists and options.new:
        raise LibraryError(f"{options.library} holds a skill library already: add to it without --new")
    before = _names(options.library) if exists else []
    with Single("learning") as report, contextlib.ExitStack() as stack:
        if exists:
            library = AttachedLibrary.open(
                options.library, loader=options.loader or None, base=options.base or None, encoder=options.encoder
            )
        else:
            library = stack.enter_context(
                made_beside(
                    options.library,
                    options.base,
                    store,
                    loader=options.loader,
                    revision=options.revision,
                    targets=options.targets,
                    own=options.own,
                    share=options.share,
                    wordings=options.base_wordings,
                    encoder=options.encoder or "minilm",
                )
            )
        line = library.attached.summary()
        learn_attached(
            library,
            store,
            name=options.name,
            wordings=_wordings(options, store.task.instruction, store.task.wordings),
            settings=options.attached,
            train=options.train,
            seed=options.seed,
            again=options.again,
            take_over=options.take_over,
            aside=options.aside,
            report=report,
        )
    if not exists:
        say(f"{library.folder}: made beside {library.source.path}: {line}")
    _tell(library, options.name or store.task.name, before)


def _options(words: Sequence[str]) -> LearnOptions:
    """The options, with the settings of the method that --by names."""
    by = "t2s"
    for number, word in enumerate(words):
        if word == "--by" and number + 1 < len(words):
            by = words[number + 1]
        elif word.startswith("--by="):
            by = word.removeprefix("--by=")
    settings = method_settings(by)
    kind: Any = dataclasses.make_dataclass(
        "LearnOptions",
        [("method", settings, field(default_factory=settings))],
        bases=(LearnOptions,),
        namespace={"__doc__": LearnOptions.__doc__},
        frozen=True,
    )
    return parse(kind, words, "skilltokens learn")


def _near(folder: Path) -> str:
    """The library beside it whose name is nearest, for a mistyped one."""
    beside = folder.parent.iterdir() if folder.parent.is_dir() else ()
    names = [path.name for path in beside if (path / HEAD).is_file()]
    close = difflib.get_close_matches(folder.name, names, n=1, cutoff=0.6)
    return f"did you mean {folder.parent / close[0]}? Or " if close else "name one that exists, or "


def _names(folder: Path) -> list[str]:
    from skilltokens.skills.outline import outline

    return list(outline(folder).versions)


def _wordings(options: LearnOptions, instruction: str, wordings: Sequence[str]) -> tuple[str, ...]:
    if options.instruction is not None:
        return (options.instruction, *options.wordings)
    return (instruction, *(options.wordings or wordings))


def _tell(library: Any, name: str, before: Sequence[str]) -> None:
    """What was learned, and how well."""
    record = library.state.newest(name)
    about = record.about()
    if record.label in before:
        print(
            f"{library.folder}: skill {record.label!r} is there already, learned from the same: nothing is left to do"
        )
        return
    if len(library.names) == 1 and record.version == 1:
        print(f"{library.folder}: made, with {name!r} as the base of {library.parameters:,} parameters")
    else:
        share = record.parameters / library.parameters
        print(f"{library.folder}: skill {record.label!r} added, {share:.1%} of the base's parameters")
    if aside := about.get("aside"):
        several = "s" * (aside["episodes"] > 1)
        print(
            f"mean error of its actions on {aside['episodes']} demonstration{several} kept aside: {aside['error']:.3f} "
            f"({aside['still']:.3f} for one action always)"
        )
