"""How features are read, which ones are read alike, and what their numbers must be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.demos.making import PUSH

from skilltokens.demos import DemonstrationStore, check_readings, write_store
from skilltokens.demos.kinds import (
    COLOURS,
    alike,
    as_read,
    difference,
    kind_of,
    remedy,
    unread,
    unseen,
    wrong_observation,
)
from skilltokens.demos.rules import DTYPES
from skilltokens.model.images import CHANNELS
from skilltokens.types import ACTION, GOAL, STATE, Array, DemonstrationError, Episode, Feature

TOP = "observation.images.top"


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_of_every_dtype_are_read(dtype: str) -> None:
    assert kind_of("observation.button", Feature((1,), dtype)) == "vector"
    assert kind_of(f"{GOAL}place", Feature((3,), dtype)) == "goal"
    assert kind_of("observation.things", Feature((5, 3), dtype)) == "set"
    assert as_read("observation.button", Feature((1,), dtype)) == Feature((1,), "float32")


def test_pictures_are_read_in_bytes_and_in_floats() -> None:
    kinds = {dtype: kind_of(TOP, Feature((32, 40, 3), dtype)) for dtype in DTYPES}
    floats = dict.fromkeys(("float16", "float32", "float64"), "float image")
    assert kinds == {**floats, "uint8": "image", "int32": None, "int64": None, "bool": None}
    assert as_read(TOP, Feature((32, 40, 3), "uint8")).dtype == "uint8"
    assert as_read(TOP, Feature((32, 40, 3), "float16")).dtype == "float32"
    assert COLOURS < CHANNELS  # what a trunk makes of a picture is never taken for a picture in floats


@pytest.mark.parametrize(
    ("feature", "why"),
    [
        (Feature((31, 64, 3), "uint8"), "32 x 32 pixels at least"),
        (Feature((3, 64, 64), "uint8"), "colours must come last"),
        (Feature((64, 64, 40), "uint8"), "31 colours at most"),
        (Feature((64, 64, 1), "int32"), "uint8, or floats in 0 to 1"),
        (Feature((4, 64, 64, 3), "uint8"), "4 dimensions"),
        (Feature(()), "0 dimensions"),
    ],
)
def test_what_cannot_be_read_says_why(feature: Feature, why: str) -> None:
    assert kind_of(TOP, feature) is None
    assert why in unread(feature)


def test_dtypes_of_pictures_count_and_those_of_numbers_do_not() -> None:
    assert alike(Feature((2,), "bool"), Feature((2,), "float64"))
    assert alike(Feature((4, 3), "uint8"), Feature((4, 3)))
    assert not alike(Feature((2,)), Feature((3,)))
    picture = {dtype: Feature((32, 32, 3), dtype) for dtype in DTYPES}
    assert alike(picture["float16"], picture["float64"])
    assert not alike(picture["uint8"], picture["float32"])
    assert not alike(picture["uint8"], None)
    ours, theirs = {STATE: Feature((2,)), TOP: picture["uint8"]}, {STATE: Feature((2,), "int32"), TOP: picture["uint8"]}
    assert difference(ours, theirs) is None
    assert difference(ours, {**theirs, TOP: picture["float32"]}) == TOP
    assert difference(ours, {**theirs, "observation.more": Feature((1,))}) == "observation.more"
    assert difference(ours, {**theirs, "observation.more": Feature((1,))}, others=True) is None
    assert difference(ours, {TOP: picture["uint8"]}, others=True) == STATE


def test_a_remedy_is_for_dtypes_of_pictures_alone() -> None:
    floats, bytes_ = Feature((32, 32, 3)), Feature((32, 32, 3), "uint8")
    assert "np.round(255 * x).astype(np.uint8)" in remedy(bytes_, floats)
    assert "x / np.float32(255)" in remedy(floats, bytes_)
    original = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(np.round(255 * (original / np.float32(255))).astype(np.uint8), original)
    assert remedy(Feature((2,)), Feature((3,))) == remedy(floats, None) == remedy(Feature((2,)), bytes_) == ""


def test_what_a_policy_does_not_look_at_is_named_with_the_reason() -> None:
    features = {
        STATE: Feature((2,)),
        ACTION: Feature((2,)),
        "observation.force": Feature((6,)),
        TOP: Feature((9, 9, 3)),
    }
    assert unseen(features, (STATE,), "not there") == (
        "the policy does not look at 'observation.force' (float32 (6,): not there); nor at 'observation.images.top' "
        "(float32 (9, 9, 3): a picture needs 32 x 32 pixels at least)"
    )
    assert unseen(features, features, "not there") is None


# ---------------------------------------------------------------- what the numbers must be


def store_with(path: Path, name: str, *episodes: Array, dtype: str = "float32") -> DemonstrationStore:
    features = {name: Feature(episodes[0].shape[1:], dtype), ACTION: Feature((1,))}
    return write_store(
        path,
        [Episode({name: array, ACTION: np.zeros((len(array), 1))}) for array in episodes],
        task=PUSH,
        features=features,
        source="human",
        suite="own",
    )


def things(steps: int = 4, flag: float = 1.0) -> Array:
    """A set of 3 slots, two of them full."""
    values = np.zeros((steps, 3, 4), np.float32)
    values[:, :2] = 0.3
    values[:, :2, 0] = flag
    return values


def late() -> Array:
    values = things()
    values[2, 0, 0] = 0
    return values


@pytest.mark.parametrize(
    ("name", "second", "message"),
    [
        (
            "observation.things",
            things(flag=0.3),
            r"episode 1, step 0, .*entry \(0, 0\) holds 0.3 where 1 says .* thing",
        ),
        ("observation.things", late(), r"episode 1, step 2, .*entry \(1, 0\) has a full slot behind an empty one"),
        (f"{GOAL}place", np.full((4, 3), 7.0), r"episode 1, step 0, .*entry \(0,\) holds 7 where 1 says .* the goal"),
        (TOP, np.full((3, 32, 32, 3), 255.0), r"episode 1, step 0, .*entry \(0, 0, 0\) holds 255, outside of 0 to 1"),
        (TOP, np.full((3, 32, 32, 3), -0.01), "holds -0.01, outside of 0 to 1"),
    ],
)
def test_numbers_that_are_not_what_they_would_be_taken_for_are_refused(
    tmp_path: Path, name: str, second: Array, message: str
) -> None:
    first = things() if name == "observation.things" else np.ones_like(second)
    store = store_with(tmp_path / "store", name, first, second)
    check_readings(store.part(0, 1), [name])
    check_readings(store, [])
    with pytest.raises(DemonstrationError, match=message):
        check_readings(store, [name])


def test_an_observation_must_be_what_is_declared() -> None:
    picture = np.full((32, 32, 3), 200, np.uint8)
    declared = {"uint8": Feature((32, 32, 3), "uint8"), "float32": Feature((32, 32, 3))}
    assert wrong_observation(picture, declared["uint8"]) is None
    assert wrong_observation(picture.astype(np.int64), declared["uint8"]) is None
    assert "is int64 where" in str(wrong_observation(picture.astype(np.int64) + 100, declared["uint8"]))
    assert "np.round(255 * x)" in str(wrong_observation(picture / 255, declared["uint8"]))
    assert "is bool where" in str(wrong_observation(picture > 100, declared["uint8"]))
    assert "x / np.float32(255)" in str(wrong_observation(picture, declared["float32"]))
    assert wrong_observation(np.array([0.5, 1.0]), Feature((2,))) is None
    assert wrong_observation(np.array([True, False]), Feature((2,))) is None
    assert wrong_observation(np.array([1.0, 0.0]), Feature((2,), "bool")) is None
    assert "is float64 where" in str(wrong_observation(np.array([0.5, 1.0]), Feature((2,), "uint8")))
    assert "is not finite" in str(wrong_observation(np.array([np.nan, 1.0]), Feature((2,), "uint8")))
    assert "has shape (2,)" in str(wrong_observation(np.zeros(2), Feature((3,))))
    assert "is <U1 where" in str(wrong_observation(np.array(["a"]), Feature((1,))))
