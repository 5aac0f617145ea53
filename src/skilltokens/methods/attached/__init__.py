"""Methods on a policy of another make, which stays frozen (docs/attached.md): settings and registrations; no torch.

    attached_rows       rows beside its maps, and own copies of small parts
    attached_lora       low-rank adapters of the same size, and the same copies
    attached_own        the copies alone
    attached_full_copy  a copy of the whole policy for each skill, all of it fine-tuned
    attached_scratch    the same policy for each skill, from fresh numbers

`method.py` has the methods, `training.py` how each of them is taught, `fresh.py` how fresh numbers are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

from skilltokens.configuration import CountFrom0, Positive, Share
from skilltokens.methods.registration import Registration


@dataclass(frozen=True)
class _Places:
    """Where in the policy a skill stands."""

    targets: tuple[str, ...] = ()
    """Names of the policy's linear maps beside which skills stand, with * and ?; empty: those of a known policy."""
    own: tuple[str, ...] = ()
    """Names of its parameters or modules of which skills have copies; empty: without targets those of a known policy,
    with targets none."""
    share: Share = 0.08
    """The most numbers of a skill, as a part of the policy's."""
    rows: CountFrom0 = 0
    """Rows beside each map (the rank of an adapter); 0: 16, or as many as fit under share."""
    rate: Positive = 1e-2
    """Peak learning rate of what stands beside the maps."""
    own_rate: Positive = 2e-3
    """Peak learning rate of the skill's own copies."""


@dataclass(frozen=True)
class AttachedRowsSettings(_Places):
    """Rows beside a frozen policy of another make."""


@dataclass(frozen=True)
class AttachedLoraSettings(_Places):
    """Low-rank adapters beside a frozen policy of another make, as many numbers as rows have."""


@dataclass(frozen=True)
class AttachedOwnSettings:
    """Own copies of small parts of a frozen policy of another make, and nothing else."""

    own: tuple[str, ...] = ()
    """Names of the policy's parameters or modules of which skills have copies; empty: those of a known policy."""
    share: Share = 0.08
    """The most numbers of a skill, as a part of the policy's."""
    rate: Positive = 2e-3
    """Peak learning rate of the copies."""


@dataclass(frozen=True)
class AttachedFullCopySettings:
    """A copy of a policy of another make for each skill, all of it fine-tuned."""

    rate: Positive = 5e-4
    """Peak learning rate of a copy."""


@dataclass(frozen=True)
class AttachedScratchSettings:
    """A policy of another make for each skill, trained from fresh numbers."""

    rate: Positive = 5e-4
    """Peak learning rate."""


_METHOD = "skilltokens.methods.attached.method:"
ROWS = Registration("rows beside another make's policy", f"{_METHOD}AttachedRows", AttachedRowsSettings, beside=True)
LORA = Registration(
    "low-rank adapters beside another make's policy", f"{_METHOD}AttachedLora", AttachedLoraSettings, beside=True
)
OWN = Registration(
    "own heads and encoders of another make's policy", f"{_METHOD}AttachedOwn", AttachedOwnSettings, beside=True
)
FULL_COPY = Registration(
    "a full copy of another make's policy for each skill, fine-tuned",
    f"{_METHOD}AttachedFullCopy",
    AttachedFullCopySettings,
    beside=True,
)
SCRATCH = Registration(
    "another make's policy for each skill, from scratch",
    f"{_METHOD}AttachedScratch",
    AttachedScratchSettings,
    beside=True,
)
