"""Acts by a skill that `skilltokens export` wrote, without torch and without skilltokens.

This file stands alone: it needs NumPy, and onnxruntime for a `.onnx` file. An episode begins with `begin()`; then give
each observation to `act()` and do the action that it returns:

    skill = Skill("skill.npz")
    skill.begin()
    action = skill.act({"observation.state": state})   # arrays of one step, without a batch

The memory is a ring of the last `history` steps: each step's keys and values push the oldest ones out. So `act` must be
called once a step, in order, and `begin` at each episode's start.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Skill:
    """One skill, from a `.npz` or `.onnx` file.

    Attributes:
        card: what the file says of itself: skill, wordings, features, library, how far it is from torch.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        self._step = _Onnx(path) if path.suffix == ".onnx" else _Numpy(path)
        self.card: dict[str, Any] = self._step.card
        self.begin()

    def begin(self) -> None:
        """Begins an episode: the memory is empty."""
        self._step.begin()

    def act(self, observation: Mapping[str, Any]) -> Array:
        """The action (A,) float32 to do now, in the robot's own units where the card says so, else in [-1, 1].

        Args:
            observation: each feature of the card (*shape); others are passed over.

        Raises:
            ValueError: one is missing, of another shape or dtype, or not finite. The memory has not moved then.
        """
        return self._step.act({name: _checked(name, f, observation) for name, f in self.card["features"].items()})


def _checked(name: str, feature: Mapping[str, Any], observation: Mapping[str, Any]) -> Array:
    if name not in observation:
        raise ValueError(f"the observation lacks {name!r}")
    value, shape = np.asarray(observation[name]), tuple(feature["shape"])
    if value.shape != shape:
        raise ValueError(f"{name!r} has shape {value.shape} where {shape} is needed")
    if feature["dtype"] == "uint8" and len(shape) == 3:
        if value.dtype != np.uint8:
            raise ValueError(f"{name!r} is a picture of {value.dtype} where uint8, 0 to 255, is needed")
        return value
    if len(shape) == 3 and value.dtype.kind != "f":
        raise ValueError(f"{name!r} is a picture of {value.dtype} where floats from 0 to 1 are needed")
    if value.dtype.kind not in "fiub":
        raise ValueError(f"{name!r} has dtype {value.dtype} where numbers are needed")
    value = value.astype(np.float32)
    if not np.isfinite(value).all():
        entry = tuple(int(i) for i in np.argwhere(~np.isfinite(value))[0])
        raise ValueError(f"{name!r} holds {value[entry]} at entry {entry}")
    if len(shape) == 3 and not (value.min() >= 0 and value.max() <= 1):
        raise ValueError(f"{name!r} is a picture outside of 0 to 1")
    if len(shape) == 2:  # a set of things
        flags = value[:, 0]
        if ((flags != 0) & (flags != 1)).any() or (flags[1:] > flags[:-1]).any():
            raise ValueError(f"{name!r} needs slots whose first number is 1, and behind them empty ones, where it is 0")
    return value


class _Onnx:
    """The step in ONNX Runtime, on one thread."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.card = json.loads(self.session.get_modelmeta().custom_metadata_map["skilltokens"])
        self.kept = [entry for entry in self.session.get_inputs() if entry.name.startswith("memory.")]

    def begin(self) -> None:
        # Where "memory.age" is 0 the graph takes an empty memory, whatever these hold.
        kinds = {"tensor(int64)": np.int64, "tensor(float)": np.float32}
        self.memory = {entry.name: np.zeros(entry.shape, kinds[entry.type]) for entry in self.kept}

    def act(self, observation: Mapping[str, Array]) -> Array:
        given: dict[str, Any] = {name: value[None] for name, value in observation.items()}
        results: list[Any] = list(self.session.run(None, {**given, **self.memory}))
        action, *memory = results
        self.memory = dict(zip(self.memory, memory, strict=True))
        return action[0]


class _Numpy:
    """The step in NumPy. `t` holds the policy's numbers by their names in torch."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as content:
            self.t = {name: content[name] for name in content.files}
        self.card = json.loads(bytes(self.t.pop("card")))
        self.plan: dict[str, Any] = self.card["plan"]
        self.heads, self.layers = self.plan["heads"], self.plan["layers"]
        self.history, self.n = self.plan["history"], self.plan["tokens"]

    def begin(self) -> None:
        room = ((0, 0), (0, self.history * self.n), (0, 0))
        self.keys = [np.pad(self.t[f"start.keys.{i}"], room) for i in range(self.layers)]
        self.values = [np.pad(self.t[f"start.values.{i}"], room) for i in range(self.layers)]
        self.age = 0

    def act(self, observation: Mapping[str, Array]) -> Array:
        x = self._tokens(observation)
        self.age = min(self.age + 1, self.history)
        unseen = (self.history - self.age) * self.n
        for i in range(self.layers):
            h = _norm(x)
            _push(self.keys[i], self._split(self._map(f"layers.{i}.k", h)))
            _push(self.values[i], self._split(self._map(f"layers.{i}.v", h)))
            if i == self.layers - 1:  # only the last token becomes the action
                x, h = x[-1:], h[-1:]
            query = self._split(self._map(f"layers.{i}.q", h))
            scores = query @ self.keys[i].transpose(0, 2, 1) / math.sqrt(query.shape[-1]) + self.t[f"bias.{i}"]
            scores[..., 1 : 1 + unseen] = -np.inf
            mixed = (_softmax(scores) @ self.values[i]).transpose(1, 0, 2).reshape(x.shape)
            x = x + self._map(f"layers.{i}.o", mixed)
            x = x + self._map(f"layers.{i}.ffn", _norm(x))
        return self._action(_norm(x)[0])

    def _tokens(self, observation: Mapping[str, Array]) -> Array:
        """The step's tokens (n, width), task tokens first."""
        tokens = [self._encoded(name, kind, observation[name]) for name, kind in self.plan["kinds"].items()]
        rows = np.sum(tokens, axis=0)[None] if self.plan["joint"] else np.stack(tokens)
        if not self.plan["task_token"]:
            return rows
        parts = [observation[name].reshape(-1) for name in self.plan["task_token"]]
        x = (np.concatenate(parts) - self.t["prompt.norm.mean"]) / np.sqrt(self.t["prompt.norm.var"] + np.float32(1e-4))
        x = np.clip(x, -10, 10)
        numbers = sorted({int(name.split(".")[2]) for name in self.t if name.startswith("prompt.net.")})
        for number in numbers:
            x = self._linear(f"prompt.net.{number}", x)
            x = x if number == numbers[-1] else np.maximum(x, 0)
        return np.concatenate([x.reshape(-1, rows.shape[1]), rows])

    def _encoded(self, name: str, kind: str, x: Array) -> Array:
        """A feature's token (width,)."""
        path = "encoders." + name.replace(".", "/")
        scaled = (x - self.t[f"{path}.center"]) / self.t[f"{path}.unit"]
        scaled = np.clip(scaled, -self.plan["limit"], self.plan["limit"])
        if kind == "set":
            return self._set(path, scaled, x[:, :1] > 0.5)
        return self._linear(f"{path}.map", scaled)

    def _set(self, path: str, x: Array, present: Array) -> Array:
        """The token of a set (slots, n), whose slots are full where `present` (slots, 1) says so."""
        present[:1] |= not present.any()  # an empty set is read as its first slot
        hidden = _gelu(self._linear(f"{path}.hidden", x))
        key = self._linear(f"{path}.key", hidden).reshape(len(x), self.plan["set_heads"], -1)
        score = (key * self.t[f"{path}.asked"]).sum(-1) / np.float32(math.sqrt(key.shape[-1]))
        weight = _softmax(np.where(present, score, np.float32(-1e9)).T)
        value = self._linear(f"{path}.value", np.concatenate([hidden, x], 1)).reshape(len(x), len(weight), -1)
        return np.einsum("hs,shd->hd", weight, value).reshape(-1)

    def _map(self, path: str, x: Array) -> Array:
        """A linear map of the transformer: rows (Pattention), an ordinary one, or the MLP that stands in for rows."""
        if f"{path}.key" in self.t:
            scores = x @ self.t[f"{path}.key"].T
            ratio = self.plan["tau"][path] / (np.sqrt((scores * scores).sum(-1, keepdims=True)) + 1e-6)
            return _gelu(scores * ratio.astype(np.float32)) @ self.t[f"{path}.value"]
        if f"{path}.weight" in self.t:
            return x @ self.t[f"{path}.weight"].T
        return self._linear(f"{path}.2", _gelu(self._linear(f"{path}.0", x)))

    def _linear(self, path: str, x: Array) -> Array:
        return x @ self.t[f"{path}.weight"].T + self.t[f"{path}.bias"]

    def _split(self, x: Array) -> Array:
        """(n, width) -> (heads, n, width / heads)"""
        return x.reshape(len(x), self.heads, -1).transpose(1, 0, 2)

    def _action(self, x: Array) -> Array:
        y, modes = self._linear("head.map", x), self.plan["modes"]
        width = self.plan["actions"] * self.plan["chunk"]
        if modes:  # a mixture acts by the mean of its likeliest mode
            y = y[modes : modes + modes * width].reshape(modes, width)[int(np.argmax(y[:modes]))]
        y = y[: self.plan["actions"]]  # of a policy that predicts several steps' actions this step's own
        if "units.unit" not in self.t:
            return np.clip(y, -1, 1).astype(np.float32)
        limit = self.plan["limit"]
        return (self.t["units.center"] + np.clip(y, -limit, limit) * self.t["units.unit"]).astype(np.float32)


def _push(cache: Array, new: Array) -> None:
    """Drops the oldest step, which stands behind the instruction, and appends the new one, in place."""
    n = new.shape[1]
    cache[:, 1:-n] = cache[:, 1 + n :]
    cache[:, -n:] = new


def _norm(x: Array) -> Array:
    centered = x - x.mean(-1, keepdims=True)
    return centered / np.sqrt((centered * centered).mean(-1, keepdims=True) + np.float32(1e-5))


def _softmax(x: Array) -> Array:
    weights = np.exp(x - x.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def _gelu(x: Array) -> Array:
    """x times the normal distribution function; erf by Abramowitz and Stegun 7.1.26, off by at most 1.5e-7."""
    z = np.abs(x) * np.float32(math.sqrt(0.5))
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    tail = (series * np.exp(-z * z)).astype(np.float32)
    return 0.5 * x * (1 + np.sign(x) * (1 - tail))
