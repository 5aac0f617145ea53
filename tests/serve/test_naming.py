"""What the names in a request mean, and what a reading must be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from skilltokens.serve.naming import Naming, names_of, renames
from skilltokens.types import ACTION, STATE, Feature, ServeError, SettingError

FRONT, WRIST, GOAL = "observation.images.agentview", "observation.images.wrist", "observation.goal.direction"
ARM = {
    STATE: Feature((3,)),
    FRONT: Feature((4, 5, 3), "uint8"),
    WRIST: Feature((4, 5, 3), "uint8"),
    GOAL: Feature((2,)),
}
FEATURES = {**ARM, ACTION: Feature((2,))}
IMAGE, WRIST_IMAGE = np.full((4, 5, 3), 7, np.uint8), np.full((4, 5, 3), 9, np.uint8)


def naming(renamed: dict[str, str] | None = None) -> Naming:
    return Naming(ARM, FEATURES, renamed or {})


def request(**changed: Any) -> dict[str, Any]:
    state = np.array([0.5, -1.0, 2.0])
    sent = {"observation/state": state, "observation/image": IMAGE, "observation/wrist_image": WRIST_IMAGE}
    return {name: value for name, value in {**sent, **changed}.items() if value is not None}


@pytest.mark.parametrize(
    "sent",
    [
        request(),
        {STATE: [0.5, -1, 2], FRONT: IMAGE, WRIST: WRIST_IMAGE},
        {"observation/state": (0.5, -1, 2), "observation/images/agentview": IMAGE, "images.wrist": WRIST_IMAGE},
        {"states": np.array([0.5, -1, 2]), "images": {"agentview": IMAGE, "wrist": WRIST_IMAGE}},
        {
            "observation": {
                "state": np.array([0.5, -1, 2], np.float16),
                "images": {"agentview": IMAGE, "wrist": WRIST_IMAGE},
            }
        },
    ],
    ids=["openpi", "ours", "slashes", "vla-eval", "maps"],
)
def test_openpi_vla_eval_and_we_mean_the_same(sent: dict[str, Any]):
    observation, unused = naming().read(sent)
    assert unused == []
    assert {name: (x.shape, str(x.dtype)) for name, x in observation.items()} == {
        STATE: ((1, 3), "float32"),
        FRONT: ((1, 4, 5, 3), "uint8"),
        WRIST: ((1, 4, 5, 3), "uint8"),
    }
    assert observation[STATE].tolist() == [[0.5, -1, 2]]
    assert (observation[FRONT].max(), observation[WRIST].max()) == (7, 9)


def test_two_cameras_of_one_kind_need_a_name_for_each():
    two = {
        STATE: Feature((3,)),
        FRONT: Feature((4, 5, 3), "uint8"),
        "observation.images.side": Feature((4, 5, 3), "uint8"),
    }
    assert "image" not in names_of(two, {})
    with pytest.raises(ServeError, match=r"lacks '\S+agentview'.* what came is 'observation/image'"):
        Naming(two, two, {}).read(request())
    renamed = renames(["observation/image=" + FRONT, "observation/wrist_image=observation/images/side"], two)
    observation, _ = Naming(two, two, renamed).read(request())
    assert observation["observation.images.side"].max() == 9


def test_what_is_renamed_goes_before_our_own_rules():
    renamed = renames([f"observation/wrist_image={FRONT}", f"observation/image={WRIST}"], FEATURES)
    observation, _ = naming(renamed).read(request())
    assert (observation[FRONT].max(), observation[WRIST].max()) == (9, 7)


@pytest.mark.parametrize("word", ["observation/image", "=x", "a=observation.images.agentvieww", f"a={ACTION}"])
def test_a_name_for_no_feature_is_a_mistake(word: str):
    with pytest.raises(SettingError, match="rename"):
        renames([word], FEATURES)


def test_what_nobody_reads_is_named():
    _, unused = naming().read(request(controller_states=np.zeros(3), info={"reward": 1.0}))
    assert unused == ["controller_states", "info.reward"]


def test_a_goal_may_be_left_out_or_given():
    observation, _ = naming().read(request(**{"observation/goal/direction": [1.0, 0.5]}))
    assert observation[GOAL].tolist() == [[1.0, 0.5]]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"observation/state": None}, "lacks 'observation.state'"),
        ({"state": np.zeros(3)}, "'observation/state' and 'state' both mean 'observation.state'"),
        (
            {"observation/state": np.zeros((1, 3))},
            r"'observation/state' has the shape \(1, 3\): the skill reads \(3,\)",
        ),
        ({"observation/state": [0, np.nan, 0]}, "'observation/state' is not finite at entry 1"),
        ({"observation/state": [0, 0, 1e39]}, "not finite at entry 2"),
        ({"observation/state": [[1], [1, 2], [3]]}, "different lengths"),
        ({"observation/state": "home"}, "is str, not numbers"),
        ({"observation/state": {}}, "lacks"),
        ({"observation/image": IMAGE / np.float32(255)}, "dtype float32: the skill reads uint8"),
        ({"observation/image": IMAGE.astype(np.int64)}, "dtype int64: the skill reads uint8"),
        ({"observation/image": IMAGE.transpose(2, 0, 1)}, r"shape \(3, 4, 5\)"),
        ({"a": {"b": {"c": {"d": 1}}}, "deep": {"b": {"c": {"d": {"e": 1}}}}}, "more than 4 maps"),
    ],
)
def test_a_reading_that_does_not_fit_is_one_sentence(changed: dict[str, Any], sentence: str):
    with pytest.raises(ServeError, match=sentence):
        naming().read(request(**changed))


def test_a_picture_in_floats_is_not_read_from_bytes():
    floats = {STATE: Feature((3,)), FRONT: Feature((4, 5, 3))}
    with pytest.raises(ServeError, match="dtype uint8: the skill reads float32"):
        Naming(floats, floats, {}).read(request(**{"observation/wrist_image": None}))


def test_names_are_texts():
    with pytest.raises(ServeError, match="is bytes"):
        naming().read({b"observation/state": np.zeros(3)})
