"""What a library beside a foreign base says of it in its head: where skills stand, what it observes and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from torch import Tensor

from skilltokens.attached.batches import Steps, knows_steps, steps_of
from skilltokens.attached.beside import Attached
from skilltokens.attached.loading import Base, seal_of
from skilltokens.attached.patterns import patterns_of, type_of
from skilltokens.attached.places import unwrapped
from skilltokens.attached.statistics import plain
from skilltokens.demos.kinds import shown
from skilltokens.files import ATTACHED_SCHEMA
from skilltokens.language import LanguageEncoder
from skilltokens.skills.disk import NOTHING
from skilltokens.skills.head import BaseFile, Head, Source
from skilltokens.types import Feature, LibraryError


class Where(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where in its base a library's skills stand: `policy.settings` of library.json."""

    type: str
    """What kind of policy the base is."""
    targets: tuple[str, ...]
    own: tuple[str, ...]
    share: float
    statistics: dict[str, list[float]]
    """Centers and units by which the base itself is given what it sees."""
    looks_at: tuple[int, ...] | None = None
    """The steps that the base looks at, counted from the present one; None: the present one."""
    predicts: tuple[int, ...] = ()
    """Those whose actions it predicts; empty: nobody knows."""
    drops: int = 0
    """Last steps of an episode from which it learns nothing."""


def head_of(
    source: Source,
    size: int,
    attached: Attached,
    where: Where,
    features: Mapping[str, Feature],
    language: LanguageEncoder,
) -> Head:
    return Head(
        schema=ATTACHED_SCHEMA,
        encoder=language.name,
        policy={"settings": msgspec.to_builtins(where), "shape": {"language": language.dim}},
        features={name: {"shape": list(one.shape), "dtype": one.dtype} for name, one in features.items()},
        base=BaseFile(size, seal_of(source), attached.base, attached.reach.size),
        changes=NOTHING,
        wordings=0,
        source=source,
    )


def observed(features: Mapping[str, Feature] | None, base: Base, place: str) -> dict[str, Feature]:
    """Those of a store's features that a base reads, where it says so; all of them, where it does not.

    Raises:
        LibraryError: the store has not what the base reads.
    """
    if not base.features or not features:
        return dict(features or base.features)
    pictures = [name for name, one in base.features.items() if len(one.shape) == 3]
    spared = {name for name in pictures if name not in features} if base.some else set()
    names = [name for name in base.features if name not in spared or len(spared) == len(pictures)]
    for name in names:
        if not fits(base.features[name], features.get(name)):
            raise LibraryError(
                f"the base {place} reads {name!r}, {shown(base.features[name])}, which is {shown(features.get(name))} "
                f"in the demonstrations (they have {', '.join(sorted(features))}): learn from demonstrations of the "
                "base's robot, under its names"
            )
    return {name: features[name] for name in names}


def fits(needed: Feature, given: Feature | None) -> bool:
    """Whether demonstrations have what a base reads; its pictures may be of any size."""
    if given is None or len(needed.shape) != len(given.shape):
        return False
    return needed.shape == given.shape or (len(needed.shape) == 3 and needed.shape[-1] == given.shape[-1])


def where_of(
    base: Base,
    targets: Sequence[str] | None,
    own: Sequence[str] | None,
    share: float,
    statistics: Mapping[str, Tensor] | None,
) -> Where:
    root = unwrapped(base.policy)
    if targets is None:
        known = patterns_of(root)
        targets, own = known.targets, known.own if own is None else own
    numbers = plain(base.statistics if statistics is None else statistics)
    steps = steps_of(root) if knows_steps(root) else Steps(None, ())
    return Where(
        type_of(root),
        tuple(targets),
        tuple(own or ()),
        float(share),
        numbers,
        steps.observations,
        steps.actions,
        steps.dropped,
    )
