"""A skill as a graph for ONNX Runtime: one step, whose memory goes in and out."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from skilltokens.model.actor import PolicyActor
from skilltokens.model.step import Step
from skilltokens.types import Feature, SettingError

AGE = "memory.age"


class _Graph(nn.Module):
    """A step at batch 1 that begins an episode by itself where the age is 0."""

    left: Tensor
    instruction: Tensor

    def __init__(self, actor: PolicyActor) -> None:
        super().__init__()
        self.step = Step(actor.policy)
        memory = actor.start(1)
        self.register_buffer("instruction", memory.instruction.clone())
        room = self.step.length - 1
        for i, tensor in enumerate((*memory.keys, *memory.values)):
            empty = tensor.new_zeros(*tensor.shape[:2], room, tensor.shape[3])
            self.register_buffer(f"start{i}", torch.cat([tensor, empty], 2))
        history = actor.policy.settings.history
        ages = torch.arange(history, dtype=torch.int64).repeat_interleave(self.step.tokens)
        self.register_buffer("left", torch.cat([torch.zeros(1, dtype=torch.int64) - 1, history - ages]))
        """For each token in memory how many steps an episode must have for it to be one of them; the instruction's
        always is."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        count = len(self.step.names)
        age, before = inputs[count], inputs[count + 1 :]
        mask = torch.where(self.left > age + 1, float("-inf"), 0.0)
        memory = [torch.where(age == 0, getattr(self, f"start{i}"), tensor) for i, tensor in enumerate(before)]
        actions, *after = self.step(self.instruction, mask, *inputs[:count], *memory)
        return (actions[:, 0], age + 1, *after)


def write_onnx(actor: PolicyActor, features: Mapping[str, Feature], path: Path, card: str) -> None:
    """Writes `path`: the features (1, *shape), `memory.age` and the memory go in, the action and the memory come out.

    Args:
        features: of what the policy reads.
        card: kept as the metadata `skilltokens`.

    Raises:
        SettingError: the packages of the extra `onnx` are missing.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ModuleNotFoundError as problem:
        raise SettingError(
            f'an export to ONNX needs {problem.name}: run `pip install "skilltokens[onnx]"`, or export to numpy'
        ) from problem
    graph = _Graph(actor).eval().requires_grad_(False)
    # Tensors of their own: the exporter takes an input that is also a buffer for one and the same.
    memory = {f"memory.{i}": torch.zeros_like(getattr(graph, f"start{i}")) for i in range(2 * len(actor.policy.stack))}
    inputs = [torch.zeros(1, *features[name].shape, dtype=_dtype(actor, name)) for name in graph.step.names]
    names = [*graph.step.names, AGE, *memory]
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            graph,
            (*inputs, torch.zeros(1, dtype=torch.int64), *memory.values()),
            dynamo=True,
            verbose=False,
            input_names=names,
            output_names=["action", *(f"{name}.next" for name in (AGE, *memory))],
        )
    assert program is not None
    model = program.model_proto
    entry = model.metadata_props.add()
    entry.key, entry.value = "skilltokens", card
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def set_card(path: Path, card: str) -> None:
    """Puts another card into the file `path`."""
    import onnx

    model = onnx.load(str(path))
    model.metadata_props[0].value = card
    path.write_bytes(model.SerializeToString(deterministic=True))


def _dtype(actor: PolicyActor, name: str) -> torch.dtype:
    return torch.uint8 if actor.policy.seen[name] == "image" else torch.float32


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """torch's exporter tells of every package that it could use, and warns of its own insides."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)
