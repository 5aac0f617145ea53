"""What a policy server may be told. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le

from skilltokens.configuration import Count, NotNegative
from skilltokens.settings import check_device
from skilltokens.types import SettingError

PORT = 8000
"""Where openpi's and vla-eval's clients look."""


@dataclass(frozen=True)
class ServeSettings:
    """A policy server: where it listens, whom it answers and what it refuses."""

    host: str = "127.0.0.1"
    """The address to listen on. 127.0.0.1: programs of this machine alone; 0.0.0.0: the whole network."""
    port: Annotated[int, Ge(0), Le(65535)] = PORT
    """The port to listen on; 0: a free one, which is printed."""
    prompt: str = ""
    """The instruction of requests that have none; empty: such requests are refused."""
    threshold: float | None = None
    """Confidence from 0 to 1 below which no skill is called; 0: one always is; left out: the library's default."""
    rename: tuple[str, ...] = ()
    """Names in requests that mean a feature, NAME=FEATURE: observation/image=observation.images.agentview"""
    chunk: Count = 1
    """Actions in an answer to openpi's clients."""
    clients: Count = 64
    """Connections at a time; further ones are turned away."""
    message_limit: Annotated[int, Ge(1), Le(1024)] = 16
    """MiB of the longest message."""
    idle: NotNegative = 600.0
    """Seconds without a request after which a connection is closed; 0: never."""
    device: str = "cpu"
    """Where to act: cpu, cuda or cuda:1."""
    threads: Count = 1
    """Threads of torch; more than 1 are seldom faster for so small a policy."""

    def check(self, name: str = "") -> None:
        """Raises SettingError where the device is not there, or the threshold is no confidence."""
        check_device(self.device)
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise SettingError(f"threshold {self.threshold:g} is impossible: use a number from 0 to 1")
