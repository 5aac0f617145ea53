"""Pictures in HDF5 files as people have them: floats, colours first, depth, JPEG, two of one name, upside down."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.exchange.making import OPEN, foreign, opened

from skilltokens.exchange.hdf5 import import_hdf5
from skilltokens.exchange.told import notes
from skilltokens.types import STATE, Array, DemonstrationError, Feature

AGENT, WRIST = "observation.images.agentview", "observation.images.wrist"
ARM = {"joint_states": (7,), "ee_states": (6,), "gripper_states": (2,)}


def filled(path: Path, pictures: dict[str, Callable[[int], Any]], **attributes: str) -> Path:
    """A file with an `eef`, and for each key what the function makes for a number of steps."""
    foreign(path, {"eef": (3,)})
    with opened(path, "a") as file:
        file["data"].attrs.update(attributes)
        for demo in file["data"].values():
            for key, make in pictures.items():
                demo[f"obs/{key}"] = make(len(demo["actions"]))
    return path


def stored(path: Path, key: str) -> Array:
    with opened(path, "r") as file:
        return file[f"data/demo_1/obs/{key}"][()]


def bytes_of(*shape: int) -> Callable[[int], Array]:
    return lambda steps: np.random.default_rng(0).integers(0, 256, (steps, *shape), np.uint8)


def floats_of(*shape: int, kind: type = np.float32, most: float = 1.0) -> Callable[[int], Array]:
    return lambda steps: (np.random.default_rng(0).random((steps, *shape)) * most).astype(kind)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_pictures_in_floats_are_pictures(tmp_path: Path, kind: type) -> None:
    path = filled(tmp_path / "own.hdf5", {"agentview_image": floats_of(6, 5, 3, kind=kind)})
    assert import_hdf5(path, tmp_path / "store", task=OPEN).settings["imported"]["left"] == ["agentview_image"]
    for chosen in ({"images": True}, {"keys": {STATE: ["eef"], AGENT: ["agentview_image"]}}):
        store = import_hdf5(path, tmp_path / "store", task=OPEN, **chosen)  # pyright: ignore[reportArgumentType]
        assert store.features[AGENT] == Feature((6, 5, 3))
        expected = stored(path, "agentview_image").astype(np.float32)
        np.testing.assert_array_equal(store.episode(1).features[AGENT], expected)


def test_pictures_in_floats_of_another_range_are_refused(tmp_path: Path) -> None:
    path = filled(tmp_path / "own.hdf5", {"agentview_image": floats_of(6, 5, 3, most=255)})
    with pytest.raises(DemonstrationError, match=r"demo_0, step 0, .* outside \[0, 1\]; .* divide those of 0 to 255"):
        import_hdf5(path, tmp_path / "store", task=OPEN, images=True)


@pytest.mark.parametrize("make", [bytes_of(3, 6, 5), floats_of(3, 6, 5)])
def test_colours_come_last(tmp_path: Path, make: Callable[[int], Array]) -> None:
    path = filled(tmp_path / "own.hdf5", {"agentview_image": make})
    store = import_hdf5(path, tmp_path / "store", task=OPEN, images=True)
    assert store.features[AGENT].shape == (6, 5, 3)
    expected = stored(path, "agentview_image").transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(store.episode(1).features[AGENT], expected)
    assert f"colours moved from first to last: {AGENT}" in list(notes(store))


@pytest.mark.parametrize(
    ("key", "make"),
    [
        ("agentview_depth", floats_of(6, 5, 1)),
        ("agentview_depth", floats_of(6, 5)),
        ("depth_front", lambda steps: np.ones((steps, 6, 5), np.uint16)),
        ("front", floats_of(6, 5, 1)),
    ],
)
def test_depth_is_not_taken_and_said(tmp_path: Path, key: str, make: Callable[[int], Array]) -> None:
    path = filled(tmp_path / "own.hdf5", {"agentview_image": bytes_of(6, 5, 3), key: make})
    store = import_hdf5(path, tmp_path / "store", task=OPEN, images=True)
    assert set(store.features) == {STATE, AGENT, "action"}
    assert f"not taken: {key} (depth)" in list(notes(store))[-1]
    with pytest.raises(DemonstrationError, match=f"/obs/{key} is depth, which no policy here reads"):
        import_hdf5(path, tmp_path / "store", task=OPEN, keys={"observation.images.depth": [key]})


def jpeg_rows(steps: int) -> Array:
    return np.tile(np.frombuffer(b"\xff\xd8\xff\xe0abcd", np.uint8), (steps, 1))


@pytest.mark.parametrize(
    "make", [lambda steps: np.array([b"\xff\xd8abc"] * steps, "S16"), jpeg_rows], ids=["texts", "rows"]
)
def test_pictures_as_files_are_one_sentence(tmp_path: Path, make: Callable[[int], Array]) -> None:
    path = filled(tmp_path / "own.hdf5", {"agentview_image": make, "front_image": bytes_of(6, 5, 3)})
    for chosen in ({"images": True}, {"keys": {AGENT: ["agentview_image"]}}):
        with pytest.raises(DemonstrationError, match="agentview_image holds pictures as JPEG or PNG files: decode"):
            import_hdf5(path, tmp_path / "store", task=OPEN, **chosen)  # pyright: ignore[reportArgumentType]
    store = import_hdf5(path, tmp_path / "store", task=OPEN)
    assert store.settings["imported"]["keys"] == {STATE: ["eef"]}
    assert "not taken: agentview_image (JPEG or PNG), front_image" in list(notes(store))[-1]


def test_two_cameras_of_one_name_are_both_taken(tmp_path: Path) -> None:
    keys = ("eye_in_hand_rgb", "robot0_eye_in_hand_image", "agentview_image")
    path = filled(tmp_path / "own.hdf5", dict.fromkeys(keys, bytes_of(6, 5, 3)))
    store = import_hdf5(path, tmp_path / "store", task=OPEN, images=True)
    images = {name: group for name, group in store.settings["imported"]["keys"].items() if "images" in name}
    assert images == {
        AGENT: ["agentview_image"],
        "observation.images.eye_in_hand_rgb": ["eye_in_hand_rgb"],
        "observation.images.robot0_eye_in_hand_image": ["robot0_eye_in_hand_image"],
    }
    assert any(note.startswith("called by their whole keys, since two would have had") for note in notes(store))


def test_a_picture_that_is_named_is_not_taken_twice(tmp_path: Path) -> None:
    path = filled(tmp_path / "own.hdf5", dict.fromkeys(("agentview_image", "front_image"), bytes_of(6, 5, 3)))
    keys = {STATE: ["eef"], "observation.images.top": ["agentview_image"]}
    store = import_hdf5(path, tmp_path / "store", task=OPEN, images=True, keys=keys)
    assert set(store.features) == {STATE, "observation.images.top", "observation.images.front", "action"}


ROBOMIMIC = json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": {}})
LIBERO = json.dumps({"language_instruction": "open the door"})
UPRIGHT: dict[str, tuple[dict[str, str], bool, bool]] = {
    "robomimic turns its pictures itself": ({"env_args": ROBOMIMIC}, False, False),
    "and whatever robosuite was set to": ({"env_args": ROBOMIMIC, "macros_image_convention": "opengl"}, False, False),
    "nobody says": ({}, False, False),
    "LIBERO's own": ({"problem_info": LIBERO, "macros_image_convention": "opengl"}, True, True),
    "LIBERO's own, of robosuite's default": ({"problem_info": LIBERO}, True, True),
    "LIBERO's own, drawn upright": ({"problem_info": LIBERO, "macros_image_convention": "opencv"}, True, False),
    "made anew from LIBERO's": ({}, True, True),
}


@pytest.mark.parametrize("case", UPRIGHT)
def test_pictures_are_turned_by_what_the_file_is(tmp_path: Path, case: str) -> None:
    attributes, libero, turned = UPRIGHT[case]
    arm: dict[str, Callable[[int], Any]] = {key: floats_of(*shape) for key, shape in ARM.items()} if libero else {}
    path = filled(tmp_path / "own.hdf5", {**arm, "agentview_rgb": bytes_of(6, 5, 3)}, **attributes)
    store = import_hdf5(path, tmp_path / "store", task=OPEN, images=True)
    pictures = stored(path, "agentview_rgb")
    np.testing.assert_array_equal(store.episode(1).features[AGENT], pictures[:, ::-1] if turned else pictures)
    assert any(note.startswith(f"turned the right way up: {AGENT}") for note in notes(store)) is turned
    other = import_hdf5(path, tmp_path / "other", task=OPEN, images=True, turn=not turned)
    np.testing.assert_array_equal(other.episode(1).features[AGENT], pictures if turned else pictures[:, ::-1])
