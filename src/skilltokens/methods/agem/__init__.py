"""A-GEM: fine-tune everything along gradients that do not raise the loss on earlier tasks.

Its settings and registration; free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from skilltokens.methods.er import ERSettings
from skilltokens.methods.registration import Registration


@dataclass(frozen=True)
class AGEMSettings(ERSettings):
    """Fine-tune everything, along gradients that do not raise the loss on windows of earlier tasks. It keeps
    demonstrations."""


REGISTRATION = Registration(
    "fine-tunes along gradients that do not raise the loss on old windows",
    "skilltokens.methods.agem.method:AGEM",
    AGEMSettings,
)
