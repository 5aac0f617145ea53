"""AttachedLibrary: a folder of skills on one base of another make, which is referred to and never copied.

The folder, its seals, its log and its lock are those of every library (`skills.disk`); what differs is that there is
no base.safetensors: `library.json`, schema skilltokens.attached/1, says where the base is, what its files' digests are,
and which of its maps and parameters skills stand beside. The first skill is the base as it is.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, cast

import msgspec
from msgspec import UNSET
from torch import Tensor, nn

from skilltokens.attached.acting import AttachedActor, Prepare, looks_at
from skilltokens.attached.beside import SHARE, Attached, attach
from skilltokens.attached.describing import head_of, observed, where_of
from skilltokens.attached.kinds import NAMES, Kind
from skilltokens.attached.loading import Base, Load, loaded, loader_of, source_of
from skilltokens.attached.proof import prove
from skilltokens.attached.skill import MAP, AttachedSkill, parted
from skilltokens.attached.standing import OnBase
from skilltokens.configuration import Share
from skilltokens.configuration import check_number as check_setting
from skilltokens.escaping import terminal
from skilltokens.language import load_encoder
from skilltokens.locking import LOCKS, locked
from skilltokens.skills.adding import added
from skilltokens.skills.disk import MAKING, Disk, abandon, clear
from skilltokens.skills.managing import WAIT, check_name
from skilltokens.skills.records import Change, Record
from skilltokens.skills.skill import Content, Find, Proof, Skill
from skilltokens.skills.state import State
from skilltokens.types import Array, Feature, LibraryError, NoSkillError, Report, silent

ACTORS = 64
"""How many skills a library keeps in memory, the last ones that acted."""


class AttachedLibrary(OnBase):
    """A library beside a policy of another make: `create` makes one, `open` reads one, the base only when needed."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk)
        self._ready: dict[str, AttachedSkill] = {}

    # ---------------------------------------------------------------- making and opening

    @classmethod
    def create(
        cls,
        folder: Path | str,
        base: str | Path,
        *,
        policy: nn.Module | Attached | None = None,
        loader: str | Load = "",
        revision: str = "",
        targets: Sequence[str] | None = None,
        own: Sequence[str] | None = None,
        share: float = SHARE,
        features: Mapping[str, Feature] | None = None,
        statistics: Mapping[str, Tensor] | None = None,
        name: str = "base",
        wordings: Sequence[str] = (),
        encoder: str = "minilm",
        prepare: Prepare | None = None,
        report: Report = silent,
        at: str | None = None,
    ) -> Self:
        """A new library whose first skill is the base as it is.

        Args:
            base: where the base's files are: a file, a folder, or OWNER/NAME at the Hub.
            policy: the base, loaded, or what `attach` has made of it, whose places skills then have; None: the loader
                makes it.
            loader: a function of the base's place, "module:name", or the name of an entry point of `skilltokens.bases`.
            revision: of the base at the Hub.
            targets, own, share: as for `attach`.
            features: what every demonstration has, each step's observations and the action.
            statistics: by which the base is given what it sees; None: as it comes.
            name, wordings: of the skill that is the base; without wordings no instruction calls it.
            encoder: the sentence encoder that reads instructions.
            prepare: what is done to every batch before the policy sees it.
            at: the time that the log keeps; None: now.

        Raises:
            LibraryError: the folder holds something; the base is not there, has no file to digest or cannot be loaded.
            AttachError: skills cannot stand beside it as asked.
        """
        folder = Path(folder)
        check_name(name)
        check_setting("share", share, Share)
        source, place, size = source_of(str(base), revision)
        given = isinstance(policy, Attached)
        recorded = loader if isinstance(loader, str) and ":" not in loader else ""
        if policy is None:
            recorded, load = loader_of(place, loader)
            whole = loaded(place, load)
        else:
            whole = Base(policy.policy if isinstance(policy, Attached) else policy)
        source = msgspec.structs.replace(source, loader=recorded)
        features = observed(features, whole, str(base))
        if isinstance(policy, Attached):
            attached, targets, own, share = policy, policy.targets, policy.own, policy.share
            where = where_of(whole, targets, own, share, statistics)
        else:
            where = where_of(whole, targets, own, share, statistics)
            attached = attach(whole.policy, where.targets, where.own, share)
        try:
            language = load_encoder(encoder, report=report)
            texts = tuple(wordings) or (name,)
            head = head_of(source, size, attached, where, features, language)
            skill = Skill(name, texts, language(texts))
            with locked(folder, LibraryError, wait=WAIT):
                clear(folder)
                try:
                    disk = Disk(folder, head, [], State(), hashlib.sha256())
                    library = cls(disk)
                    library._base, library._attached, library._prepare = whole, attached, prepare
                    retired = frozenset() if wordings else frozenset({name})
                    library.commit(disk, *added(library, disk, [(skill, {})], retired=retired, at=at))
                    (folder / MAKING).unlink(missing_ok=True)
                except BaseException:
                    abandon(folder)
                    raise
        except BaseException:
            if not given:
                attached.detach()
            raise
        return library

    @classmethod
    def open(
        cls,
        folder: Path | str,
        *,
        policy: nn.Module | None = None,
        loader: str | Load | None = None,
        base: str | Path | None = None,
        encoder: str | None = None,
        prepare: Prepare | None = None,
    ) -> Self:
        """Opens a library: the seals of its list are checked, and that every file is there; the base is not looked at.

        Args:
            policy: the base, loaded; its numbers are compared with those that the skills stand on.
            loader: who makes a policy of the base; None: the entry point that the library names.
            base: where the base is now, if it was moved.
            encoder: the sentence encoder that it was made with, where that is a folder: a file's word is not trusted.

        Raises:
            LibraryError: there is none, it is damaged, or it is a library of this package's own policies.
        """
        disk = Disk.open(Path(folder))
        if disk.head.source is UNSET:
            raise LibraryError(f"{folder} has a base of its own: open it with SkillLibrary")
        library = cls(disk)
        _ = library.where, library.base_statistics
        library._base = None if policy is None else Base(policy)
        library.loader, library._prepare = loader, prepare
        library.place = None if base is None else str(base)
        if encoder is not None:
            library.encoder, library._named = encoder, True
        return library

    @property
    def longest(self) -> int:
        """How many actions a skill can take after one look."""
        return self.actor_with(None, "").longest

    @property
    def remembered_steps(self) -> int:
        """How many steps an action depends on besides its own, as far as the policy's configuration says: those that it
        looks back, and those ahead for which it was chosen."""
        root = self.attached.root
        back = -min([0, *(looks_at(root) or ())])
        return back + self.longest - 1

    # ---------------------------------------------------------------- skills

    def new(self, seed: int = 0, kind: Kind = "rows", rows: int | None = None, start: str = "") -> AttachedSkill:
        """A skill that changes nothing yet; it is not active, and in the library only once it is added.

        Args:
            start: the skill whose numbers it begins with; empty: none.
        """
        begin = self.numbers(start) if start else None
        return self.attached.new(seed, begin, kind, rows)

    def numbers(self, name: str) -> AttachedSkill | None:
        """The numbers of a skill, or of NAME@VERSION, ready to be used; None of the one that is the base.

        Raises:
            LibraryError: there is no such skill, or it is damaged.
        """
        return self._numbers(self.state.record(name))

    def _numbers(self, record: Record) -> AttachedSkill | None:
        if record.parameters == 0:
            return None
        ready = self._ready.pop(record.file, None)
        if ready is None:
            content = self.skill_of(record).content
            ready = self.attached.skill_of(content.tensors, cast(Kind, content.form))
        self._ready[record.file] = ready  # the newest stands last
        if len(self._ready) > ACTORS:
            del self._ready[next(iter(self._ready))]
        return ready

    def add(
        self,
        name: str,
        wordings: Sequence[str],
        skill: AttachedSkill,
        notes: Mapping[str, Any] | None = None,
        *,
        again: bool = False,
        report: Report = silent,
        at: str | None = None,
    ) -> None:
        """Adds a skill; all others stay as they are, those that other processes added meanwhile too.

        Args:
            notes: what else is known of it.
            again: it may be a new version of a skill that there is; the newest version is called.
            at: the time that the log keeps; None: now.

        Raises:
            LibraryError: the name is taken or none, there are no wordings, or it cannot be written.
            AttachError: the base changed under its skills.
        """
        if not wordings:
            raise LibraryError(f"skill {name!r:.100} has no wording: say what calls it")
        check_name(name, None if again else self)
        self.attached.check_base()
        entry = self.described(name, wordings, skill, report)

        def changes(disk: Disk) -> tuple[list[Change], Array | None]:
            if name in disk.state.skills and not again:
                raise LibraryError(f"{self.folder} has a skill {name!r} already: choose another name")
            return added(self, disk, [(entry, dict(notes or {}))], at=at)

        self.change(changes, report)

    def described(self, name: str, wordings: Sequence[str], skill: AttachedSkill, report: Report = silent) -> Skill:
        """A skill as the list keeps it: its numbers as they are now, and the vectors of its wordings."""
        return Skill(name, wordings, self.language(report)(tuple(wordings)), skill.tensors(), form=skill.kind)

    def copied(self, folder: Path) -> Self:
        """A copy of the library in a folder that may be there, beside the same loaded base."""
        if folder.resolve() != self.folder.resolve():
            shutil.copytree(self.folder, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*LOCKS))
        copy = type(self)(Disk.open(folder))
        copy.place, copy.loader = self.place, self.loader
        copy._prepare, copy._base, copy._attached = self._prepare, self._base, self._attached
        copy.encoder, copy._named = self.encoder, self._named
        return copy

    # ---------------------------------------------------------------- what skills stand on

    def check_own(self, content: Content) -> None:
        if content.active or content.task_token is not None or content.form not in NAMES:
            raise ValueError("it is no skill beside a policy of another make")
        if not content.tensors:
            return
        parts = parted(content.tensors)
        names = {name.rpartition(".")[2] for name in parts[MAP]}
        if names - set(NAMES[cast(Kind, content.form)]):
            raise ValueError("what stands beside its maps is of another form")
        if self._attached is not None:
            self._attached.skill_of(content.tensors, cast(Kind, content.form))

    def check(self, content: Content, find: Find) -> None:
        self.check_own(content)

    def prove(self, skill: Skill, content: Content, find: Find) -> Proof | None:
        if self._attached is None or not self.features:
            return None
        numbers = self.attached.skill_of(content.tensors, cast(Kind, content.form)) if content.tensors else None
        return prove(self.actor_with(numbers, skill.wordings[0]), self.features)

    def own_rows(self, skill: Skill) -> int:
        if skill.form != "rows":
            return 0
        first = NAMES["rows"][0]
        return sum(len(x) for n, x in skill.tensors.items() if n.startswith(MAP) and n.endswith(f".{first}"))

    # ---------------------------------------------------------------- acting

    def actor(self, instruction: str, threshold: float | None = None, seed: int = 0) -> AttachedActor:
        """An actor for the skill that an instruction means.

        Args:
            threshold: as for `select`.
            seed: of what the policy draws while it acts.

        Raises:
            NoSkillError: no skill is sure enough; it names the nearest ones.
            LanguageError: the instruction is empty or too long.
            LibraryError: the skill or the base is damaged or not there.
        """
        ranking = self.select(instruction, threshold)
        if ranking.chosen is None:
            raise NoSkillError(ranking.sentence())
        return self.actor_of(self.names[ranking.chosen], seed)

    def actor_of(self, name: str, seed: int = 0) -> AttachedActor:
        """The actor of a skill by its name, or of an older version by NAME@VERSION. Raises LibraryError."""
        return self.actor_of_record(self.state.record(name), seed)

    def actor_of_record(self, record: Record, seed: int = 0) -> AttachedActor:
        """The same of a record, older versions and kept ones included."""
        return self.actor_with(self._numbers(record), self._told(record), seed)

    def _told(self, record: Record) -> str:
        """The words that the policy is given: those that the skill was learned with, however it is called."""
        words = record.about().get("instruction")
        return words if isinstance(words, str) else record.wordings[0]

    def actor_with(self, numbers: AttachedSkill | None, words: str, seed: int = 0) -> AttachedActor:
        """An actor of numbers that need not be in the library yet; None: the base."""
        statistics = self.base_statistics if numbers is None else numbers.statistics
        observed = {name: feature.shape for name, feature in self.features.items() if name != "action"}
        return AttachedActor(self.attached, numbers, statistics, observed, words, self.prepare, seed)

    def __repr__(self) -> str:
        shown = "\n".join(f"  {record.label}: {terminal(record.wordings[0])}" for record in self.records[:20])
        return (
            f"AttachedLibrary({str(self.folder)!r}: {len(self.records)} skills on {terminal(self.source.path)} of "
            f"{self.parameters:,} parameters, encoder {self.encoder!r})\n{shown}"
        )
