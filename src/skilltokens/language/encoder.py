"""LanguageEncoder: instructions become unit vectors, from the cache where they are in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skilltokens.language.cache import encoder_folder, read_vector, vector_file, write_vector
from skilltokens.language.models import (
    PACKAGED,
    Encode,
    folder_of,
    hub_folder,
    identity,
    is_hub_name,
    packaged_folder,
    sentence_transformer,
)
from skilltokens.language.reading import Read, Reading, no_reading, reader
from skilltokens.types import LanguageError, Progress, Report, silent

FUNCTION = "callable:"
"""Begins the name of an encoder that is a function of somebody's, which cannot be loaded by its name."""
LONGEST = 1000
"""The most characters that an instruction may have."""
LOADING = "loading the sentence encoder"
"""The stage that is reported just before an encoder is loaded, which takes seconds; the note is the encoder's name."""


def load_encoder(name: str | Encode = PACKAGED, cache: Path | None = None, report: Report = silent) -> LanguageEncoder:
    """The sentence encoder of the name that a user gave; nothing heavy is loaded before a text needs it.

    A name that stands in a file goes to `recorded_encoder`.

    Args:
        name: "minilm" (packaged, offline); the folder or the hub name of any sentence-transformers model that is
            already on this machine (nothing is ever downloaded); or a callable that maps n texts to (n, dim)
            numbers. A callable is cached on disk only if it has an attribute `name` that tells it apart.
        cache: the folder of the cache; the operating system's cache folder when left out (`cache_folder`).
        report: called when the encoder is really loaded, since that takes seconds.

    Raises:
        LanguageError: no encoder can have that name, or the folder of that name holds none.
    """
    if not isinstance(name, str):
        label = getattr(name, "name", None)
        folder = encoder_folder(cache, str(label)) if label else None
        known = str(label or getattr(name, "__qualname__", type(name).__name__))
        return LanguageEncoder(FUNCTION + known, lambda: name, folder)
    if name == PACKAGED:
        return _of_folder(name, packaged_folder, encoder_folder(cache, name), 384, report)
    model = folder_of(name)
    if model is None:
        return _of_folder(name, lambda: hub_folder(name), encoder_folder(cache, name), None, report)
    return _of_folder(name, lambda: model, encoder_folder(cache, identity(model)), None, report)


def recorded_encoder(name: str, holder: str, cache: Path | None = None, report: Report = silent) -> LanguageEncoder:
    """The sentence encoder whose name stands in a file, which anybody may have written.

    Only "minilm" and hub names of models that are already on this machine are taken; no folder is looked at.

    Args:
        name: as the file has it.
        holder: what holds the name, for errors: "library skills/kitchen".
        cache, report: as for `load_encoder`.

    Raises:
        LanguageError: it is a folder, or no name at all.
    """
    if name == PACKAGED:
        return load_encoder(name, cache, report)
    if name.startswith(FUNCTION):
        raise LanguageError(
            f"{holder} asks for a sentence encoder that was a Python function ({name[:60]!a}), which no file can hold: "
            "give it yourself (`encoder=` in Python), or the name of an encoder with the same vectors"
        )
    if not is_hub_name(name):
        raise LanguageError(
            f"{holder} asks for the sentence encoder in the folder {name[:60]!a}, which only you may name: if you "
            "trust it, give it yourself (`encoder=` in Python, `--encoder` on the command line)"
        )
    return _of_folder(name, lambda: hub_folder(name), encoder_folder(cache, name), None, report)


def _of_folder(name: str, find: Callable[[], Path], folder: Path, dim: int | None, report: Report) -> LanguageEncoder:
    """An encoder whose model lies where `find` says; `folder` is that of its vectors."""
    return LanguageEncoder(
        name, lambda: sentence_transformer(name, find()), folder, dim, report, lambda: reader(name, find())
    )


class LanguageEncoder:
    """Instructions -> unit vectors. `name` is what a library remembers, so that it is read with the same encoder."""

    def __init__(
        self,
        name: str,
        load: Callable[[], Encode],
        folder: Path | None,
        dim: int | None = None,
        report: Report = silent,
        reads: Callable[[], Read] = lambda: no_reading,
    ) -> None:
        self.name = name
        self._load = load
        self._reads = reads
        self._read: Read | None = None
        self._folder = folder
        self._dim = dim
        self._report = report
        self._encode: Encode | None = None
        self._known: dict[str, NDArray[np.float32]] = {}

    @property
    def dim(self) -> int:
        """Width of a vector. May load the encoder, where the width is not known yet."""
        if self._dim is None:
            self._make("width")
        assert self._dim is not None
        return self._dim

    def __call__(self, texts: Sequence[str], keep: bool = True) -> NDArray[np.float32]:
        """Unit vectors (n, dim) of n instructions.

        Args:
            keep: keep new ones, in memory and on disk; without, what strangers say takes no room.

        Raises:
            LanguageError: an instruction is empty or too long, or the encoder is missing or broken.
        """
        if isinstance(texts, str):
            raise LanguageError("the encoder takes a list of instructions, not one string: put it in a list")
        vectors = [self._vector(checked(text), keep) for text in texts]
        return np.stack(vectors) if vectors else np.zeros((0, self.dim), np.float32)

    def reading(self, text: str) -> Reading:
        """What the encoder reads of an instruction. Loads its tokenizer alone, in a tenth of a second.

        Raises:
            LanguageError: the instruction is empty or too long, or the encoder is missing or broken.
        """
        if self._read is None:
            self._read = self._reads()
        return self._read(checked(text))

    def _vector(self, text: str, keep: bool) -> NDArray[np.float32]:
        if text in self._known:
            return self._known[text]
        path = vector_file(self._folder, text) if self._folder else None
        vector = read_vector(path, text) if path else None
        if vector is None or (self._dim is not None and len(vector) != self._dim):
            vector = self._make(text)
            if path and keep:
                write_vector(path, text, vector)
        self._dim = len(vector)
        if keep:
            self._known[text] = vector
        return vector

    def _make(self, text: str) -> NDArray[np.float32]:
        if self._encode is None:
            self._report(Progress(LOADING, 0, 1, self.name))
            self._encode = self._load()
        vector = np.asarray(self._encode([text]), dtype=np.float64)
        if vector.ndim != 2 or len(vector) != 1 or not np.isfinite(vector).all() or not vector.any():
            raise LanguageError(
                f"encoder {self.name!r} gave an array of shape {vector.shape} for {text[:60]!r} where one row of "
                "finite numbers, not all zero, is needed: check the encoder"
            )
        self._dim = vector.shape[1]
        return (vector[0] / np.linalg.norm(vector[0])).astype(np.float32)


def checked(instruction: str) -> str:
    """The instruction with every run of white space as one space.

    Raises:
        LanguageError: it is not text, empty, or longer than 1,000 characters.
    """
    if not isinstance(instruction, str):
        raise LanguageError(f"an instruction must be text, not {type(instruction).__name__}: give a sentence")
    text = " ".join(instruction.split())
    if not text:
        raise LanguageError("the instruction is empty: say in a sentence what the robot shall do")
    if len(text) > LONGEST:
        raise LanguageError(
            f"the instruction {text[:40]!r}... has {len(text)} characters where {LONGEST} are the most: shorten it"
        )
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise LanguageError(f"the instruction {text[:40]!a} is not valid text: write it again")
    return text
