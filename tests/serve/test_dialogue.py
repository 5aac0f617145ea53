"""One client's messages and their answers in both protocols: skills, memories, episodes, abstentions, refusals."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.serve.served import CLOSE, PUSH, acted, make_served, readings

from skilltokens.model.settings import PolicySettings
from skilltokens.serve.dialogue import ABSTAINED, Dialogue, metadata
from skilltokens.serve.episodes import Repertoire
from skilltokens.serve.settings import ServeSettings
from skilltokens.serve.wire import pack, unpack
from skilltokens.skills.library import SkillLibrary
from skilltokens.types import ENVIRONMENT_STATE, STATE, Array, SettingError

NONSENSE = "make me a coffee"


@pytest.fixture(scope="module")
def repertoire(folder: Path) -> Repertoire:
    return Repertoire(SkillLibrary.open(folder), ServeSettings())


@pytest.fixture
def dialogue(repertoire: Repertoire) -> Dialogue:
    return Dialogue(repertoire)


@pytest.fixture(scope="module")
def seen() -> list[dict[str, Array]]:
    return list(readings(12))


def ask(dialogue: Dialogue, observation: Mapping[str, Any], prompt: str | None = None, **more: Any) -> dict[str, Any]:
    """openpi's way to ask; what comes is an answer."""
    slashed = {name.replace(".", "/"): value for name, value in observation.items()}
    reply = dialogue.reply(pack({**slashed, **({} if prompt is None else {"prompt": prompt}), **more}))
    assert isinstance(reply.frame, bytes), reply.frame
    return unpack(reply.frame)


def told(dialogue: Dialogue, request: Any) -> str:
    """The sentence that a request ends in; the connection is then over."""
    reply = dialogue.reply(request if isinstance(request, bytes | str) else pack(request))
    assert isinstance(reply.frame, str)
    assert reply.closing
    assert "\n" not in reply.frame
    return reply.frame


# ---------------------------------------------------------------- openpi


def test_actions_are_those_of_a_local_actor_bit_for_bit(
    dialogue: Dialogue, library: SkillLibrary, seen: list[dict[str, Array]]
):
    answers = [ask(dialogue, observation, PUSH) for observation in seen]
    assert {answer["actions"].shape for answer in answers} == {(1, 2)}
    assert np.concatenate([a["actions"] for a in answers]).tobytes() == acted(library, "push", seen).tobytes()
    assert [answer["step"] for answer in answers] == list(range(len(seen)))
    assert {(answer["skill"], answer["score"]) for answer in answers} == {("push", 1.0)}
    assert answers[0]["server_timing"].keys() == {"infer_ms"}


def test_what_begins_an_episode(dialogue: Dialogue, library: SkillLibrary, seen: list[dict[str, Array]]):
    first = acted(library, "push", seen[:1])
    later = acted(library, "push", seen[:2])[1:]
    assert first.tobytes() != acted(library, "push", seen[1:2]).tobytes() != later.tobytes(), "memory must matter here"
    assert ask(dialogue, seen[0], PUSH)["actions"].tobytes() == first.tobytes()
    assert ask(dialogue, seen[1])["actions"].tobytes() == later.tobytes(), "no prompt: the same one"
    assert ask(dialogue, seen[0], PUSH, reset=True)["actions"].tobytes() == first.tobytes()
    assert ask(dialogue, seen[1], PUSH, reset=False)["actions"].tobytes() == later.tobytes()
    assert ask(dialogue, seen[0], CLOSE)["skill"] == "close"
    assert ask(dialogue, seen[0], PUSH)["actions"].tobytes() == first.tobytes(), "another prompt"
    assert ask(dialogue, seen[0], PUSH + "!")["step"] == 0, "other words for the same skill too"


def test_two_dialogues_have_each_its_memory(
    repertoire: Repertoire, library: SkillLibrary, seen: list[dict[str, Array]]
):
    one, other = Dialogue(repertoire), Dialogue(repertoire)
    swapped = seen[::-1]
    pairs = [(ask(one, a, PUSH), ask(other, b, PUSH)) for a, b in zip(seen, swapped, strict=True)]
    assert np.concatenate([a["actions"] for a, _ in pairs]).tobytes() == acted(library, "push", seen).tobytes()
    assert np.concatenate([b["actions"] for _, b in pairs]).tobytes() == acted(library, "push", swapped).tobytes()
    assert one.robot.episode is not None
    assert other.robot.episode is not None
    assert one.robot.episode.actor is other.robot.episode.actor


def test_an_abstention_is_a_text_without_actions_and_ends_the_episode(dialogue: Dialogue, seen: list[dict[str, Array]]):
    ask(dialogue, seen[0], PUSH)
    reply = dialogue.reply(pack({**seen[1], "prompt": NONSENSE}))
    assert isinstance(reply.frame, str)
    assert reply.frame.startswith(f"{ABSTAINED}no skill is sure enough")
    assert "'push'" in reply.frame
    assert not reply.closing
    assert ask(dialogue, seen[1], PUSH)["step"] == 0


def test_a_prompt_can_be_asked_about_and_nothing_moves(dialogue: Dialogue, seen: list[dict[str, Array]]):
    ask(dialogue, seen[0], PUSH)
    unsure, sure = ask(dialogue, {}, NONSENSE, select=True), ask(dialogue, {}, CLOSE, select=True)
    assert (unsure["skill"], unsure["abstained"], sure["skill"], sure["abstained"]) == (None, True, "close", False)
    assert [one["skill"] for one in sure["candidates"]] == ["close", "push"]
    assert "actions" not in {**sure, **unsure}
    assert ask(dialogue, seen[1])["step"] == 1
    assert "no `prompt`" in told(dialogue, {"select": True})


def test_a_threshold_of_0_calls_the_nearest_skill(folder: Path, seen: list[dict[str, Array]]):
    dialogue = Dialogue(Repertoire(SkillLibrary.open(folder), ServeSettings(threshold=0.0)))
    assert ask(dialogue, seen[0], NONSENSE)["score"] < 0.5


def test_a_prompt_of_the_servers_own(folder: Path, seen: list[dict[str, Array]]):
    dialogue = Dialogue(Repertoire(SkillLibrary.open(folder), ServeSettings(prompt=CLOSE)))
    assert ask(dialogue, seen[0])["skill"] == "close"
    assert ask(dialogue, seen[0], PUSH)["skill"] == "push"


@pytest.mark.parametrize("name", ["prompt", "task_description", "task"])
def test_names_of_the_instruction(dialogue: Dialogue, seen: list[dict[str, Array]], name: str):
    assert ask(dialogue, seen[0], **{name: CLOSE})["skill"] == "close"


def test_what_nobody_reads_is_named(dialogue: Dialogue, seen: list[dict[str, Array]]):
    assert ask(dialogue, {**seen[0], "observation/force": np.zeros(6)}, PUSH)["unused"] == ["observation/force"]
    assert "unused" not in ask(dialogue, seen[0], PUSH)


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"prompt": PUSH}, "lacks 'observation.environment_state'|lacks 'observation.state'"),
        ({"prompt": 5}, "`prompt` is int"),
        ({"prompt": ""}, "the instruction is empty"),
        ({"prompt": "go " * 1000}, "characters where 1000 are the most"),
        ({"prompt": PUSH, "task": CLOSE}, "`prompt` and `task` differ"),
        ({}, "no `prompt`"),
        ({"prompt": PUSH, "reset": np.zeros(2)}, "`reset` is ndarray: send true or false"),
        ({"prompt": PUSH, "select": "yes"}, "`select` is str"),
        ([1, 2], "the message is list: send a map"),
        (b"\xc1", "no msgpack"),
        ("hello", "a text came"),
    ],
)
def test_a_broken_request_is_one_sentence(dialogue: Dialogue, request_: Any, sentence: str):
    assert re.search(sentence, told(dialogue, request_))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 2**64 - 1) | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.binary(max_size=3), inner),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [STATE, ENVIRONMENT_STATE, "states", "images", "prompt", "task", "reset", "select", "type", "payload", "seq"]
)
TYPES = st.sampled_from([PUSH, "observation", "episode_start", [0.0, 1.0], [0.0] * 4, True])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(NAMES | st.text(max_size=3), TYPES | ANYTHING, max_size=8), max_size=4))
def test_no_request_is_more_than_the_server_expects(dialogue: Dialogue, requests: list[dict[str, Any]]):
    for request in requests:
        reply = dialogue.reply(pack(request))
        assert "the server failed" not in reply.line
        frame = unpack(reply.frame) if isinstance(reply.frame, bytes) else {}
        assert np.isfinite(frame.get("actions", 0)).all()


def test_what_is_not_finite_makes_no_action(dialogue: Dialogue, seen: list[dict[str, Array]]):
    assert "'observation.state' is not finite at entry 0" in told(
        dialogue, {**seen[0], STATE: np.full(2, np.inf, np.float32), "prompt": PUSH}
    )


def test_what_strangers_say_is_kept_nowhere(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SKILLTOKENS_CACHE", str(tmp_path))
    dialogue = Dialogue(Repertoire(SkillLibrary.open(folder), ServeSettings()))
    for number in range(3):
        ask(dialogue, {}, f"sentence number {number}", select=True)
    assert not list(tmp_path.rglob("*.vector"))


def test_a_damaged_skill_is_said_and_harms_no_other(folder: Path, tmp_path: Path, seen: list[dict[str, Array]]):
    copy = tmp_path / "library"
    shutil.copytree(folder, copy)
    (file,) = (copy / "skills").glob("close*")
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    repertoire = Repertoire(SkillLibrary.open(copy), ServeSettings())
    assert "truncated or altered" in told(Dialogue(repertoire), {**seen[0], "prompt": CLOSE})
    assert ask(Dialogue(repertoire), seen[0], PUSH)["skill"] == "push"


def test_chunks_where_the_policy_has_none(folder: Path):
    with pytest.raises(SettingError, match="chunk 5 is impossible: this library's policy predicts 1"):
        Repertoire(SkillLibrary.open(folder), ServeSettings(chunk=5))


@pytest.mark.skipif("chunk" not in PolicySettings.__dataclass_fields__, reason="no policy predicts chunks")
def test_chunks_are_those_of_a_local_actor(tmp_path: Path, seen: list[dict[str, Array]]):
    ahead: dict[str, Any] = {"width": 16, "layers": 1, "history": 3, "chunk": 3}
    library = make_served(tmp_path / "library", PolicySettings(**ahead))
    actor: Any = library.actor_of("push")
    dialogue, memory = Dialogue(Repertoire(library, ServeSettings(chunk=3))), actor.start(1)
    for observation in seen[::3]:
        local = actor.chunk({name: value[None] for name, value in observation.items()}, memory, 3)[0]
        assert ask(dialogue, observation, PUSH)["actions"].tobytes() == local.tobytes()
    dialogue.reply(message("episode_start", {}))
    assert observed(dialogue, seen[0])["payload"]["actions"].shape == (2,), "vla-eval gets one for each observation"


# ---------------------------------------------------------------- vla-eval


def message(kind: str, payload: Any, seq: Any = 7) -> bytes:
    return pack({"type": kind, "payload": payload, "seq": seq, "timestamp": 0.0}, "vla-eval")


def observed(dialogue: Dialogue, observation: Mapping[str, Any], prompt: str = PUSH) -> dict[str, Any]:
    reply = dialogue.reply(message("observation", {**observation, "task_description": prompt}))
    assert isinstance(reply.frame, bytes)
    assert not reply.closing
    return unpack(reply.frame)


def test_an_episode_of_vla_evals(dialogue: Dialogue, library: SkillLibrary, seen: list[dict[str, Array]]):
    assert dialogue.reply(message("hello", {"protocol_version": 1})).frame is None
    for _ in range(2):
        assert dialogue.reply(message("episode_start", {"task": {"name": "x"}})).frame is None
        actions = [observed(dialogue, observation) for observation in seen]
        assert {(one["type"], one["seq"]) for one in actions} == {("action", 7)}
        assert (
            np.stack([one["payload"]["actions"] for one in actions]).tobytes() == acted(library, "push", seen).tobytes()
        )
        assert dialogue.reply(message("episode_end", {})).frame is None
    refused = observed(dialogue, seen[0])
    assert (refused["type"], refused["payload"]) == ("error", {"error": "an observation came before `episode_start`"})


def test_an_error_leaves_vla_evals_episode_as_it_was(
    dialogue: Dialogue, library: SkillLibrary, seen: list[dict[str, Array]]
):
    dialogue.reply(message("episode_start", {}))
    first = observed(dialogue, seen[0])
    wrong = observed(dialogue, {**seen[1], STATE: np.zeros(3)})
    assert "has the shape (3,)" in wrong["payload"]["error"]
    second = observed(dialogue, seen[1])
    both = np.stack([one["payload"]["actions"] for one in (first, second)])
    assert both.tobytes() == acted(library, "push", seen[:2]).tobytes()


def test_an_abstention_of_vla_evals_has_no_action(dialogue: Dialogue, seen: list[dict[str, Array]]):
    dialogue.reply(message("episode_start", {}))
    answer = observed(dialogue, seen[0], NONSENSE)
    assert answer["type"] == "error"
    assert answer["payload"].keys() == {"error"}
    assert answer["payload"]["error"].startswith(ABSTAINED)


@pytest.mark.parametrize(
    ("kind", "payload", "seq"), [("dance", {}, 1), (5, {}, 1), ("observation", [], 1), ("observation", {}, "x")]
)
def test_no_message_of_vla_evals(dialogue: Dialogue, kind: Any, payload: Any, seq: Any):
    reply = dialogue.reply(pack({"type": kind, "payload": payload, "seq": seq}, "vla-eval"))
    assert isinstance(reply.frame, bytes)
    assert unpack(reply.frame)["type"] == "error"


def test_the_first_frame_is_metadata_and_a_hello(repertoire: Repertoire):
    frame = unpack(metadata(repertoire))
    assert frame["type"] == "hello"
    assert frame["payload"]["protocol_version"] == 1
    assert frame["skills"] == {"push": [PUSH], "close": [CLOSE]}
    assert frame["features"][STATE] == {"shape": [2], "dtype": "float32"}
    assert "observation.states" in frame["names"][STATE]
    assert (frame["action_dim"], frame["action_horizon"], frame["memory_steps"]) == (2, 1, 2)
    assert "reset" in frame["episode"]
