"""Windows end where they say, never cross an episode's start, and are sampled fairly and repeatably."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.demos.making import FRONT, PUSH, make_store

from skilltokens.demos import DemonstrationStore, Windows, write_store
from skilltokens.types import ACTION, ENVIRONMENT_STATE, STATE, DemonstrationError, Episode, Feature, SettingError


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[DemonstrationStore]:
    folder = tmp_path_factory.mktemp("stores")
    lengths = [(5, 1, 8), (30,), (2, 2, 2, 2, 3)]
    return [
        make_store(folder / str(number), episodes, seed=10 * number, images=True)
        for number, episodes in enumerate(lengths)
    ]


def window_by_hand(store: DemonstrationStore, end: int, window: int, name: str) -> tuple[np.ndarray, list[bool]]:
    """The same window by a plain loop over episodes and steps."""
    for index in range(store.episodes):
        if store.offsets[index] <= end < store.offsets[index + 1]:
            steps = store.episode(index).features[name]
            last = end - int(store.offsets[index])
            picked = range(last - window + 1, last + 1)
            return np.stack([steps[max(step, 0)] for step in picked]), [step >= 0 for step in picked]
    raise AssertionError(f"{end} is in no episode")


@given(window=st.integers(1, 12), picks=st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1)), min_size=1))
@settings(max_examples=60)
def test_windows_equal_those_cut_by_hand(stores: list[DemonstrationStore], window: int, picks: list) -> None:
    which = np.array([pick[0] for pick in picks])
    ends = np.array([min(int(part * stores[index].steps), stores[index].steps - 1) for index, part in picks])
    batch = Windows(stores, window).gather(which, ends)
    for row, (index, end) in enumerate(zip(which, ends, strict=True)):
        for name in (STATE, ENVIRONMENT_STATE, ACTION, FRONT):
            values, mask = window_by_hand(stores[index], end, window, name)
            np.testing.assert_array_equal(batch.features[name][row], values.astype(batch.features[name].dtype))
            assert batch.mask[row].tolist() == mask


@given(
    window=st.integers(1, 6),
    chunk=st.integers(2, 9),
    picks=st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1)), min_size=1),
    count=st.sampled_from([1, 3]),
)
@settings(max_examples=60)
def test_chunks_reach_past_the_window_and_repeat_the_last_action_of_the_episode(
    stores: list[DemonstrationStore], window: int, chunk: int, picks: list, count: int
) -> None:
    which = np.array([pick[0] % count for pick in picks])
    lasts = [stores[index].steps - 1 for index in which]
    ends = np.array([min(int(part * (last + 1)), last) for last, (_, part) in zip(lasts, picks, strict=True)])
    batch, alone = Windows(stores[:count], window, chunk=chunk), Windows(stores[:count], window)
    batch, alone = batch.gather(which, ends), alone.gather(which, ends)
    assert batch.features[ACTION].shape == (len(picks), window, chunk, 3)
    assert batch.features[ACTION].dtype == np.float32
    np.testing.assert_array_equal(batch.features[ACTION][:, :, 0], alone.features[ACTION])
    np.testing.assert_array_equal(batch.features[STATE], alone.features[STATE])
    for row, (index, end) in enumerate(zip(which, ends, strict=True)):
        store = stores[index]
        number = int(np.searchsorted(store.offsets, end, side="right")) - 1
        actions, first = store.episode(number).features[ACTION], end - int(store.offsets[number])
        for back in range(window):
            step = max(first - back, 0)
            picked = [actions[min(step + i, len(actions) - 1)] for i in range(chunk)]
            np.testing.assert_array_equal(batch.features[ACTION][row, window - 1 - back], np.stack(picked))


@pytest.mark.parametrize("count", [1, 3])
def test_floats_come_as_float32_and_images_as_they_are(stores: list[DemonstrationStore], count: int) -> None:
    batch = Windows(stores[:count], 4).sample(7, np.random.default_rng(0))
    assert {name: (array.dtype.name, array.shape) for name, array in batch.features.items()} == {
        STATE: ("float32", (7, 4, 4)),
        ENVIRONMENT_STATE: ("float32", (7, 4, 6)),
        ACTION: ("float32", (7, 4, 3)),
        FRONT: ("uint8", (7, 4, 5, 4, 3)),
    }
    assert batch.mask.shape == (7, 4)
    assert batch.mask.dtype == bool
    assert batch.mask[:, -1].all()
    assert batch.store.dtype == np.int64


def test_numbers_of_every_dtype_come_as_float32(tmp_path: Path) -> None:
    def written(name: str, dtype: str) -> DemonstrationStore:
        features = {"observation.button": Feature((1,), dtype), "observation.things": Feature((2, 2), dtype)}
        values = {n: np.ones((6, *f.shape), dtype) for n, f in features.items()}
        return write_store(
            tmp_path / name,
            [Episode({**values, ACTION: np.zeros((6, 1))})],
            task=PUSH,
            features={**features, ACTION: Feature((1,))},
            source="human",
            suite="own",
        )

    stores = [written("a", "bool"), written("b", "int64"), written("c", "uint8")]
    for some in (stores[:1], stores):  # of several stores too, since all are numbers
        batch = Windows(some, 3).sample(9, np.random.default_rng(0))
        for name in ("observation.button", "observation.things"):
            assert batch.features[name].dtype == np.float32
            assert (batch.features[name] == 1).all()


def test_stores_are_equally_likely_and_so_are_their_steps(stores: list[DemonstrationStore]) -> None:
    samples = 30_000
    batch = Windows(stores, 1).sample(samples, np.random.default_rng(0))
    share = np.bincount(batch.store) / samples
    np.testing.assert_allclose(share, 1 / 3, atol=0.015)  # five standard deviations
    # The second store is one episode of 30 steps, whose state starts with the number of the step.
    steps = batch.features[STATE][batch.store == 1, 0, 0].astype(int)
    np.testing.assert_allclose(np.bincount(steps, minlength=30) / len(steps), 1 / 30, atol=0.01)


def test_the_same_generator_gives_the_same_batch(stores: list[DemonstrationStore]) -> None:
    one, two = (Windows(stores, 6).sample(16, np.random.default_rng(3)) for _ in range(2))
    for name, array in one.features.items():
        np.testing.assert_array_equal(array, two.features[name])
    other = Windows(stores, 6).sample(16, np.random.default_rng(4))
    assert not np.array_equal(one.features[STATE], other.features[STATE])


def test_batches_do_not_share_memory_with_the_store(stores: list[DemonstrationStore]) -> None:
    batch = Windows(stores[:1], 3).sample(4, np.random.default_rng(0))
    batch.features[STATE][:] = 0
    stores[0].verify()


def test_impossible_windows_are_refused(stores: list[DemonstrationStore], tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="window of 0 steps"):
        Windows(stores, 0)
    with pytest.raises(SettingError, match="a chunk of 0"):
        Windows(stores, 2, chunk=0)
    with pytest.raises(SettingError, match="batch of 0 windows"):
        Windows(stores, 2).sample(0, np.random.default_rng(0))
    with pytest.raises(DemonstrationError, match="no demonstration store was given"):
        Windows([], 2)
    with pytest.raises(DemonstrationError, match="differ in feature"):
        Windows([*stores, make_store(tmp_path / "plain")], 2)


def test_arrays_given_instead_of_a_feature_are_cut_alike(stores: list[DemonstrationStore]) -> None:
    instead = [
        np.arange(store.steps * 6, dtype=np.float16).reshape(-1, 2, 3) + number for number, store in enumerate(stores)
    ]
    windows = Windows(stores, 4, {FRONT: instead})
    which, ends = np.array([0, 1, 2, 0]), np.array([0, 29, 4, 7])
    batch = windows.gather(which, ends)
    assert windows.features[FRONT].shape == (2, 3)
    assert batch.features[FRONT].dtype == np.float32
    plain = Windows(stores, 4).gather(which, ends)
    for row, (index, end) in enumerate(zip(which, ends, strict=True)):
        np.testing.assert_array_equal(batch.features[FRONT][row, -1], instead[index][end])
        np.testing.assert_array_equal(batch.features[STATE][row], plain.features[STATE][row])
