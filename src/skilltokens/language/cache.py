"""Vectors on disk: one file for each text, sealed, so that a damaged file costs time and never changes a vector.

A file is 32 bytes of SHA-256 over the text and the numbers, then the numbers as little-endian float32.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skilltokens import files
from skilltokens.types import LanguageError


def cache_folder() -> Path:
    """Where vectors are kept: $SKILLTOKENS_CACHE, or a folder in the operating system's place for caches."""
    if chosen := os.environ.get("SKILLTOKENS_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "skilltokens"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "skilltokens" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "skilltokens"


def encoder_folder(cache: Path | None, identity: str) -> Path:
    """The folder of one encoder's vectors. The hash keeps two names apart that look the same as file names."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", identity)[:40].strip("-.")
    folder = f"{readable}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    return (Path(cache) if cache is not None else cache_folder()) / "language" / folder


def vector_file(folder: Path, text: str) -> Path:
    """The file of one text's vector in an encoder's folder."""
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()}.vector"


def read_vector(path: Path, text: str) -> NDArray[np.float32] | None:
    """The cached vector (dim,), or None where there is none or a single byte of it is wrong."""
    try:
        content = files.read_bytes(path, LanguageError)
    except LanguageError:
        return None
    payload = files.payload_of(text, content)
    if not payload or len(payload) % 4:
        return None
    return np.frombuffer(payload, dtype="<f4").astype(np.float32)


def write_vector(path: Path, text: str, vector: NDArray[np.float32]) -> None:
    """Keeps a vector. A cache that cannot be written (full or read-only disk) costs time, not the result."""
    payload = vector.astype("<f4").tobytes()
    with contextlib.suppress(LanguageError):
        files.write_bytes(path, files.with_seal(text, payload), LanguageError)
