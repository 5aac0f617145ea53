"""One connection's messages and their answers, free of sockets.

The first frame that a client gets is a map that both protocols take for their own: openpi's clients read it as the
server's metadata, and to vla-eval's it is the answer to the `hello` that they send meanwhile. What a client sends then
tells which of the two it is: vla-eval's messages have a `type`, a `payload` and a `seq`.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from skilltokens import __version__
from skilltokens.escaping import terminal
from skilltokens.serve.episodes import RULE, Repertoire, Robot, Step
from skilltokens.serve.naming import names_of
from skilltokens.serve.wire import pack, unpack
from skilltokens.skills.ranking import Ranking
from skilltokens.types import ACTION, STATE, NoSkillError, ServeError, SkilltokensError

ABSTAINED = "abstained: "
"""How the text begins that says that no skill was sure enough; the connection stays."""
LISTED = 1000
"""The most skills that are listed in the metadata."""
CANDIDATES = 5
"""Skills that are named where a prompt is asked about."""
PROMPTS = ("prompt", "task_description", "task")
"""What the instruction is called by openpi, by vla-eval and by LeRobot."""
VLA_EVAL = {"type", "payload", "seq"}
"""The keys of vla-eval's messages, version 1 of its protocol."""


@dataclass(frozen=True)
class Reply:
    """What a client gets, and what the log says.

    Attributes:
        frame: bytes for a binary frame, a text for a text frame; None: nothing is sent.
        line: what happened, for people.
        closing: the connection ends behind it, with code 1011.
        counts: whether it is an answer to a request.
    """

    frame: bytes | str | None
    line: str
    closing: bool = False
    counts: bool = True


def metadata(repertoire: Repertoire) -> bytes:
    """The first frame of every connection."""
    library, features, settings = repertoire.library, repertoire.features, repertoire.settings
    called = [record for record in library.records if not record.retired]
    names = names_of(features, repertoire.renamed)
    content: dict[str, Any] = {
        "server": "skilltokens",
        "version": __version__,
        "library": library.folder.resolve().name,
        "identity": library.identity,
        "skills": {record.name: list(record.wordings) for record in called[:LISTED]},
        "skill_count": len(called),
        "features": {n: {"shape": f.shape, "dtype": f.dtype} for n, f in features.items() if n != ACTION},
        "names": {n: sorted(name for name, feature in names.items() if feature == n) for n in features if n != ACTION},
        "action_dim": features[ACTION].shape[0],
        "action_horizon": settings.chunk,
        "episode": RULE,
        "memory_steps": library.remembered_steps,
    }
    cameras = [name for name, feature in features.items() if len(feature.shape) == 3]
    parameters = {"send_state": STATE in features, "send_wrist_image": "wrist_image" in names}
    hello = {
        "harness_version": f"skilltokens {__version__}",
        "protocol_version": 1,
        "model_server": "skilltokens",
        "capabilities": {},
        "observation_params": {name: True for name, value in parameters.items() if value and cameras},
        "skilltokens": {name: content[name] for name in ("version", "library", "identity", "skill_count")},
    }
    return pack({"type": "hello", "payload": hello, "seq": 0, "timestamp": time.time(), **content})


class Dialogue:
    """The answers to one client's messages. A mistake of the client's becomes one sentence; nothing is raised."""

    def __init__(self, repertoire: Repertoire) -> None:
        self.robot = Robot(repertoire)
        self.single = Robot(repertoire, horizon=1)
        """vla-eval's benchmarks take one action for each observation."""
        self.started = False
        """Whether an episode of vla-eval's has begun."""
        self.took: float | None = None
        """Milliseconds from the last request's arrival until its answer was sent."""

    def reply(self, message: bytes | str) -> Reply:
        """The answer to one message."""
        try:
            if isinstance(message, str):
                raise ServeError("a text came: send msgpack in a binary frame")
            content = unpack(message)
            if not isinstance(content, dict):
                raise ServeError(f"the message is {type(content).__name__}: send a map")
            if content.keys() >= VLA_EVAL:
                return self._vla_eval(content)
            return self._openpi(content)
        except NoSkillError as abstention:
            return Reply(f"{ABSTAINED}{abstention}", f"{ABSTAINED}{abstention}")
        except Exception as problem:
            sentence = said(problem)
            return Reply(sentence, f"refused: {sentence}", closing=True)

    # ---------------------------------------------------------------- openpi

    def _openpi(self, request: dict[Any, Any]) -> Reply:
        began = time.perf_counter()
        prompt = taken(request, PROMPTS)
        reset, select = flag(request, "reset"), flag(request, "select")
        if select:
            if prompt is None:
                raise ServeError("the request has no `prompt` to select a skill by")
            return selected(self.robot.repertoire.rank(prompt))
        step = self.robot.step(prompt, request, reset)
        spent = 1000 * (time.perf_counter() - began)
        timing = {"infer_ms": spent} | ({} if self.took is None else {"prev_total_ms": self.took})
        answer = {**answered(step), "server_timing": timing}
        return Reply(pack(answer), line(step, spent))

    # ---------------------------------------------------------------- vla-eval

    def _vla_eval(self, message: dict[Any, Any]) -> Reply:
        kind, payload, seq = message["type"], message["payload"], message["seq"]
        try:
            if not isinstance(payload, dict) or not isinstance(seq, int):
                raise ServeError("`payload` must be a map and `seq` a whole number")
            if kind in ("hello", "error"):  # the first frame was the answer
                return Reply(None, f"vla-eval: {kind}", counts=False)
            if kind in ("episode_start", "episode_end"):
                self.started = kind == "episode_start"
                self.single.end()
                return Reply(None, f"vla-eval: {kind}", counts=False)
            if kind != "observation":
                raise ServeError(f"a message of type {kind!r:.40} is none of vla-eval's")
            if not self.started:
                raise ServeError("an observation came before `episode_start`")
            began = time.perf_counter()
            step = self.single.step(taken(payload, PROMPTS), payload)
        except Exception as problem:
            sentence = (ABSTAINED if isinstance(problem, NoSkillError) else "") + said(problem)
            return Reply(enveloped("error", {"error": sentence}, seq), f"vla-eval: {sentence}")
        answer = {**answered(step), "actions": step.actions[0]}
        return Reply(enveloped("action", answer, seq), line(step, 1000 * (time.perf_counter() - began)))


def taken(request: dict[Any, Any], names: tuple[str, ...]) -> str | None:
    """The text of one of these names, which is removed; None where there is none.

    Raises:
        ServeError: it is no text, or two of them differ.
    """
    texts = {name: request.pop(name) for name in names if name in request}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise ServeError(f"`{name}` is {type(text).__name__}: say in a sentence what the robot shall do")
    if len(set(texts.values())) > 1:
        raise ServeError(f"{' and '.join(f'`{name}`' for name in texts)} differ: send one of them")
    return next(iter(texts.values()), None)


def flag(request: dict[Any, Any], name: str) -> bool:
    """The truth value of that name, which is removed; false where there is none."""
    value = request.pop(name, False)
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if not isinstance(value, bool | int):
        raise ServeError(f"`{name}` is {type(value).__name__}: send true or false")
    return bool(value)


def answered(step: Step) -> dict[str, Any]:
    """A step as a map; `unused` only where something is."""
    content = {"actions": step.actions, "skill": step.skill, "score": step.score, "step": step.number}
    return {**content, "unused": step.unused} if step.unused else content


def selected(ranking: Ranking) -> Reply:
    """What a prompt means, without an action."""
    shown = [
        {"skill": one.name, "wording": one.wording, "score": one.probability} for one in ranking.candidates[:CANDIDATES]
    ]
    content = {
        "skill": None if ranking.abstains else ranking.candidates[0].name,
        "score": ranking.confidence,
        "abstained": ranking.abstains,
        "candidates": shown,
        "sentence": ranking.sentence(),
    }
    return Reply(pack(content), f"select: {ranking.sentence()}")


def enveloped(kind: str, payload: Mapping[str, Any], seq: Any) -> bytes:
    """A message of vla-eval's."""
    number = seq if isinstance(seq, int) else 0
    return pack({"type": kind, "payload": payload, "seq": number, "timestamp": time.time()}, "vla-eval")


def line(step: Step, spent: float) -> str:
    """A step for the log."""
    return f"{step.skill} ({step.score:.2f}), step {step.number}, {spent:.1f} ms"


def said(problem: Exception) -> str:
    """The sentence for a client. What is no mistake of the client's is shown to whoever runs the server."""
    if isinstance(problem, SkilltokensError):
        return terminal(str(problem))
    traceback.print_exception(problem)
    return f"the server failed at this request ({type(problem).__name__}); its own output says where"
