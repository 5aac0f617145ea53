"""What a run has learned on a policy of another make, left as a library beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skilltokens.attached.library import AttachedLibrary
from skilltokens.attached.loading import loader_of
from skilltokens.files import replacing
from skilltokens.methods.attached.method import AttachedMethod
from skilltokens.types import LibraryError


def leave_attached(folder: Path, method: AttachedMethod, notes: Sequence[Mapping[str, Any]], encoder: str) -> None:
    """Writes the library of a finished run, in place of one that an earlier attempt left.

    Args:
        notes: of each skill.

    Raises:
        LibraryError: it cannot be written.
    """
    attached, base = method.attached, method.other
    with replacing(folder, LibraryError) as fresh:
        library = AttachedLibrary.create(
            fresh,
            base.source.path,
            revision=base.source.revision,
            loader=base.loader or loader_of(base.place, "")[0],
            policy=attached,
            features=method.features,
            statistics=base.whole.statistics,
            prepare=base.whole.prepare,
            encoder=encoder,
            at="",
        )
        for entry, note in zip(method.entries, notes, strict=True):
            learned = {"task": entry.name, "instruction": entry.wordings[0]}
            library.add(entry.name, entry.wordings, entry.skill, {**note, **learned}, again=True, at="")
    attached.use(None)
