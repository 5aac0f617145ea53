"""Which maps and parameters of known policies a skill stands beside, where the user names none.

Patterns are those of a shell (`*`, `?`, `[...]`; a star also runs over dots) and mean the full names of modules
(targets) and of parameters (own). The names are those of LeRobot 0.6.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from skilltokens.types import AttachError


@dataclass(frozen=True)
class Patterns:
    """Where a skill stands in a kind of policy."""

    targets: tuple[str, ...]
    """Linear maps beside which it has rows."""
    own: tuple[str, ...]
    """Parameters, or modules with all of theirs, of which it has its own copies."""


_EXPERT = Patterns(("*expert.layers.*.mlp.*_proj",), ("model.state_proj", "model.action_*"))
KNOWN: dict[str, Patterns] = {
    # the feed-forward maps: those of nn.MultiheadAttention are never called as modules
    "act": Patterns(
        ("model.encoder.layers.*.linear?", "model.decoder.layers.*.linear?"),
        ("model.action_head", "model.encoder_*_input_proj"),
    ),
    # convolutions carry no rows; the conditions of every block go through a linear map
    "diffusion": Patterns(("*cond_encoder.1",), ("diffusion.unet.final_conv.1",)),
    "smolvla": _EXPERT,
    "pi0": _EXPERT,
}
"""A policy's type, as LeRobot's configurations call it -> where a skill stands."""


def type_of(policy: nn.Module) -> str:
    """What kind of policy it is: its configuration's `type`, its own `name`, or the name of its class."""
    config = getattr(policy, "config", None)
    for value in (getattr(config, "type", None), getattr(policy, "name", None)):
        if isinstance(value, str) and value:
            return value
    return type(policy).__name__


def patterns_of(policy: nn.Module) -> Patterns:
    """The patterns of a known policy.

    Raises:
        AttachError: it is none.
    """
    kind = type_of(policy)
    if kind not in KNOWN:
        raise AttachError(
            f"where skills stand in a policy of type {kind!r:.80} is not known: name its linear maps (targets=), such "
            f"as {_example(policy)!r}; known are {', '.join(KNOWN)}"
        )
    return KNOWN[kind]


def _example(policy: nn.Module) -> str:
    return next((path for path, module in policy.named_modules() if isinstance(module, nn.Linear) and path), "layers.*")
