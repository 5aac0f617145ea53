"""A skill: what one task added to the base policy. It is data, not a model: named tensors, and for every linear map the
earlier rows that it reuses; `assembling` makes a policy of it.

Whatever a skill builds on, another skill's rows or the skill that it steers, it names by that skill's *identity*, the
SHA-256 of all that decides its actions. So a skill may be renamed, reworded or taken to another library of the same
base, and what it computes with stays the same.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from skilltokens.configuration import plain_as_before
from skilltokens.model.policy import TASK_TOKEN
from skilltokens.model.trunks.naming import NONE
from skilltokens.skills.records import Form
from skilltokens.tensors import fingerprint
from skilltokens.types import Array

ADAPTERS = "adapters"
"""Stands where a linear map's path does, for the earlier skills whose adapters a composed skill weighs."""
BASE = "base"
"""Stands for the base, where a skill names what its rows were learned by."""
TOKEN_PREFIX = f"{TASK_TOKEN}."
"""What the names of a task token's tensors begin with."""
UNTRAINED = (f"{TOKEN_PREFIX}norm.", "statistics.")
"""What the names of tensors begin with that are not trained, but measured."""


@dataclass(frozen=True)
class TaskTokenSpec:
    """The sizes of a task token's encoder (`model.task_token.TaskToken`), and the skill that it steers."""

    on: str
    """The identity of the skill whose policy is steered, with that skill's instruction."""
    features: Mapping[str, int]
    """The vectors that the encoder reads, and their widths."""
    tokens: int = 1
    hidden: tuple[int, ...] = ()
    """Widths of the encoder's hidden layers."""
    pictures: tuple[str, ...] = ()
    """Pictures that the encoder reads too."""
    trunk: str = NONE
    """The frozen trunk that it sees them through."""

    ADDED: ClassVar[tuple[str, ...]] = ("trunk",)


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of one linear map, each named by who learned it and its place among that one's rows."""

    sources: tuple[str, ...]
    """Identities of skills, or `BASE`."""
    source: Array
    """(n,) int64: for each row the place of who learned it in `sources`."""
    row: Array
    """(n,) int64."""

    @classmethod
    def of(cls, parts: Sequence[tuple[str, Array]]) -> Rows:
        """Rows of several sources, (identity, row numbers) each, in this order."""
        parts = [(name, np.asarray(rows, np.int64)) for name, rows in parts if len(rows)]
        source = [np.full(len(rows), number, np.int64) for number, (_, rows) in enumerate(parts)]
        rows = [rows for _, rows in parts]
        empty = np.zeros(0, np.int64)
        return cls(tuple(name for name, _ in parts), np.concatenate([empty, *source]), np.concatenate([empty, *rows]))

    def __len__(self) -> int:
        return len(self.row)

    def counts(self) -> dict[str, int]:
        """How many rows come from each source."""
        return {name: int((self.source == number).sum()) for number, name in enumerate(self.sources)}

    def joined(self, other: Rows) -> Rows:
        """These rows with those of `other`, of other sources, behind them."""
        return Rows(
            (*self.sources, *other.sources),
            np.concatenate([self.source, len(self.sources) + other.source]),
            np.concatenate([self.row, other.row]),
        )

    def of_base(self) -> Array:
        """The places in this list of the base's rows."""
        names = np.array([name == BASE for name in self.sources], bool)
        return np.flatnonzero(names[self.source])

    def skills(self) -> list[str]:
        """The earlier skills, in the order in which their first rows stand; the order of `sources` may be another."""
        return [name for name in dict.fromkeys(self.sources[number] for number in self.source) if name != BASE]

    def owners(self) -> Array:
        """(n,) int64: whose each row is, 0 the base's, i the i-th's of `skills`, counted from 1."""
        places = {name: 1 + place for place, name in enumerate(self.skills())}
        return np.array([places.get(name, 0) for name in self.sources], np.int64)[self.source]


@dataclass(frozen=True, eq=False)
class Proof:
    """What a skill did on fixed observations when it was learned, and where that was."""

    actions: Tensor
    """(steps, actions) float32."""
    observations: str
    """SHA-256 of the observations."""
    machine: Mapping[str, str]
    """The processor, the system, the version of torch."""


@dataclass(frozen=True, eq=False)
class Content:
    """All that decides a skill's actions, beside the base."""

    key: Array
    """Unit sentence vector (language,) of its instruction: what its policy is given, and its rows' language key."""
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """Trained tensors by their names in the assembled policy: "layers.0.q.key", "head.map.weight", ..."""
    active: Mapping[str, Rows] = field(default_factory=dict)
    """For each linear map the earlier rows that it reuses, in the order of its computation. Of a composed skill, under
    the name `ADAPTERS`, the earlier skills whose adapters it weighs: row 0 of each."""
    task_token: TaskTokenSpec | None = None
    """Of a skill learned from reward: its task token, whose tensors are named "prompt.*"."""
    form: Form = "rows"
    """What its tensors are, beside copies of the base's modules."""
    scene: Mapping[str, Tensor] = field(default_factory=dict)
    """The density of the observations that it was taught on, if it has one; no part of its identity."""
    proof: Proof | None = None
    """The actions that it gave where it was learned, if they were kept; no part of its identity."""

    @cached_property
    def identity(self) -> str:
        """SHA-256 of everything above but its scene and its proof."""
        active = {f"active.{path}": torch.as_tensor(rows.row) for path, rows in self.active.items()}
        sources = {path: [rows.sources[number] for number in rows.source] for path, rows in self.active.items()}
        key = torch.as_tensor(np.array(self.key, np.float32))
        token = None if self.task_token is None else plain_as_before(self.task_token)
        return fingerprint(
            {"key": key, **active, **{f"tensor.{name}": value for name, value in self.tensors.items()}},
            {"form": self.form, "token": token, "sources": sources},
        )

    @property
    def needs(self) -> tuple[str, ...]:
        """Identities of the skills that it cannot act without: whose rows it reuses, or that it steers."""
        names = {name for rows in self.active.values() for name, n in rows.counts().items() if n} - {BASE}
        return tuple(sorted(names | ({self.task_token.on} if self.task_token else set())))

    @property
    def parameters(self) -> int:
        """How many numbers were trained. Statistics of what was seen do not count, and a trunk's digest."""
        trained = (tensor for name, tensor in self.tensors.items() if not name.startswith(UNTRAINED))
        return sum(tensor.numel() for tensor in trained if tensor.is_floating_point())


_NOTHING: Array = np.zeros(0, np.float32)


class Skill:
    """A skill as a library or a method keeps it: how it is called, and its content, which is read when it is needed.

    The first skill of a library is the base itself and has no tensors of its own.

    Attributes:
        name: its name.
        wordings: the instruction, then the other wordings that call it.
        form: what its tensors are.
        parameters: how many numbers were trained for it.
        identity: SHA-256 of all that decides its actions.
    """

    def __init__(
        self,
        name: str,
        wordings: Sequence[str],
        embeddings: Array,
        tensors: Mapping[str, Tensor] | None = None,
        active: Mapping[str, Rows] | None = None,
        task_token: TaskTokenSpec | None = None,
        form: Form = "rows",
        key: Array | None = None,
        content: Content | Callable[[], Content] | None = None,
    ) -> None:
        self.name, self.wordings = name, tuple(wordings)
        self._embeddings: Array | Callable[[], Array] = embeddings
        self._key: Array | Callable[[], Array] = embeddings[0] if key is None else key
        self.form: Form = form
        if content is None:
            content = Content(self.key, dict(tensors or {}), dict(active or {}), task_token, form)
        self._content: Content | Callable[[], Content] = content
        self._parameters: int | None = None
        self._identity: str | None = None

    @classmethod
    def stored(
        cls,
        name: str,
        wordings: Sequence[str],
        embeddings: Callable[[], Array],
        key: Callable[[], Array],
        form: Form,
        parameters: int,
        identity: str,
        load: Callable[[], Content],
    ) -> Skill:
        """A skill that lies on disk, where what is asked for is read and checked."""
        skill = cls(name, wordings, _NOTHING, form=form, key=_NOTHING, content=load)
        skill._embeddings, skill._key = embeddings, key
        skill._parameters, skill._identity = parameters, identity
        return skill

    @property
    def embeddings(self) -> Array:
        """Unit sentence vectors of the wordings (wordings, language)."""
        if callable(self._embeddings):
            self._embeddings = self._embeddings()
        return self._embeddings

    @property
    def key(self) -> Array:
        """Unit sentence vector (language,) that its policy is given."""
        if callable(self._key):
            self._key = self._key()
        return self._key

    @property
    def content(self) -> Content:
        """All that decides its actions; read now, where it was not yet. Raises LibraryError where it is damaged."""
        if not isinstance(self._content, Content):
            self._content = self._content()
        return self._content

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        return self.content.tensors

    @property
    def active(self) -> Mapping[str, Rows]:
        return self.content.active

    @property
    def task_token(self) -> TaskTokenSpec | None:
        return self.content.task_token

    @property
    def parameters(self) -> int:
        return self.content.parameters if self._parameters is None else self._parameters

    @property
    def identity(self) -> str:
        return self.content.identity if self._identity is None else self._identity

    def rows(self, path: str) -> int:
        """How many rows of its own it has in the linear map at `path`; other forms than rows have none."""
        if self.form != "rows":
            return 0
        key = self.tensors.get(f"{path}.key")
        return 0 if key is None else len(key)

    def to(self, device: torch.device | str) -> Skill:
        """The same skill with its tensors on a device, once they are read."""

        def load() -> Content:
            return replace(self.content, tensors={name: t.to(device) for name, t in self.tensors.items()})

        skill = copy.copy(self)
        skill._identity = self.identity  # of the numbers, wherever they are
        skill._content = load() if isinstance(self._content, Content) else load
        return skill

    def named(self, name: str) -> Skill:
        """The same skill under another name."""
        skill = copy.copy(self)
        skill.name = name
        return skill

    def with_content(self, **parts: Any) -> Skill:
        """The same skill with other parts of its content, by the names of `Content`'s fields."""
        return Skill(
            self.name,
            self.wordings,
            self.embeddings,
            form=self.form,
            key=self.key,
            content=replace(self.content, **parts),
        )

    def __repr__(self) -> str:
        return f"Skill({self.name!r}: {self.wordings[0]!r}, {self.parameters:,} parameters of its own)"


Find = Callable[[str], Skill]
"""The skill of an identity; raises LookupError where there is none."""


class Skills(list[Skill]):
    """Skills in the order learned, and the way to those that they build on.

    Args:
        skills: those that are called.
        find: gives further ones, such as older versions; left out: there are none.
    """

    def __init__(self, skills: Iterable[Skill] = (), find: Find | None = None) -> None:
        super().__init__(skills)
        self._find = find

    def find(self, identity: str) -> Skill:
        """The skill of an identity. Raises LookupError where there is none."""
        if self._find is not None:
            return self._find(identity)
        for skill in self:
            if skill.identity == identity:
                return skill
        raise LookupError(f"there is no skill of the identity {identity:.12}")

    def to(self, device: torch.device | str) -> Skills:
        """The same skills with their tensors on a device, once they are read."""
        return Skills((skill.to(device) for skill in self), lambda identity: self.find(identity).to(device))
