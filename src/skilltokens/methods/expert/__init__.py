"""The suite's scripted expert itself, on the test states: what its demonstrations can lead to at most.

Its settings and registration; free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from skilltokens.methods.registration import Registration


@dataclass(frozen=True)
class ExpertSettings:
    """The suite's scripted expert acts itself, without noise; nothing is learned."""


REGISTRATION = Registration(
    "the suite's scripted expert itself, on the test states",
    "skilltokens.methods.expert.method:Expert",
    ExpertSettings,
    expert=True,
)
