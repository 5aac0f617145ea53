"""A small client: observations by the names of the library's features, actions as arrays. Free of torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import ModuleType, TracebackType
from typing import Any, Self

from skilltokens.serve.settings import PORT
from skilltokens.serve.wire import pack, unpack
from skilltokens.types import Array, NoSkillError, ServeError, SettingError


def websockets() -> ModuleType:
    """The package websockets, which the extra `serve` brings with msgpack.

    Raises:
        SettingError: one of them is not installed.
    """
    try:
        import msgpack  # noqa: F401
        import websockets
    except ImportError as problem:
        raise SettingError(
            f"serving needs {problem.name or 'websockets'}, which is not installed: run `pip install "
            '"skilltokens[serve]"`'
        ) from problem
    return websockets


@dataclass(frozen=True)
class Answer:
    """What a robot is to do.

    Attributes:
        actions: (n, A) float32, in the robot's own units, the first one first.
        skill: the name of the skill that acts.
        score: the confidence, from 0 to 1, that the instruction means it.
        step: the number of this step in its episode, from 0.
        unused: names of readings that were sent and that the skill does not look at.
        timing: milliseconds at the server: `infer_ms`, and `prev_total_ms` of the last request.
    """

    actions: Array
    skill: str
    score: float
    step: int
    unused: tuple[str, ...] = ()
    timing: Mapping[str, float] = field(default_factory=dict)


class Client:
    """A connection to `skilltokens serve`, which is one robot.

    Args:
        url: `ws://host:port`; a host alone is enough.
        key: the server's key; left out: the environment's `SKILLTOKENS_SERVE_KEY`, if there is one.
        timeout: seconds to wait for a connection or an answer.

    Attributes:
        metadata: what the server says of itself: `skills`, `features`, `names`, `action_dim`, ...

    Raises:
        ServeError: there is no server, it wants another key, or it has clients enough.
        SettingError: the extra `serve` is not installed.
    """

    def __init__(self, url: str = f"127.0.0.1:{PORT}", key: str | None = None, timeout: float = 30.0) -> None:
        websockets()
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect

        self._ending = ExitStack()
        self.url = url if "://" in url else f"ws://{url}"
        self.timeout = timeout
        key = os.environ.get("SKILLTOKENS_SERVE_KEY") if key is None else key
        headers = {"Authorization": f"Api-Key {key}"} if key else None
        try:
            connecting = connect(
                self.url,
                compression=None,
                max_size=None,
                additional_headers=headers,
                open_timeout=timeout,
                ping_interval=None,
            )
            self._connection = self._ending.enter_context(connecting)
            self.metadata: dict[str, Any] = self._receive()
        except (OSError, WebSocketException) as problem:
            self.close()
            response = getattr(problem, "response", None)
            said = response.body.decode("utf-8", "replace").strip() if response is not None and response.body else ""
            raise ServeError(f"{self.url} cannot be reached: {said or problem}") from problem
        except ServeError:
            self.close()
            raise

    def act(self, observation: Mapping[str, Any], instruction: str | None = None, reset: bool = False) -> Answer:
        """The next actions.

        Args:
            observation: raw readings by their names, each of its feature's shape.
            instruction: what the robot shall do; left out: the same as before. Another one begins an episode.
            reset: begin an episode: say it at the first step of each.

        Raises:
            NoSkillError: no skill is sure enough; there is no action. Another instruction may be given.
            ServeError: the request was refused or the server is gone; this connection is over.
        """
        words = {} if instruction is None else {"prompt": instruction}
        content = self._ask({**observation, **words, **({"reset": True} if reset else {})})
        return Answer(
            content["actions"],
            content["skill"],
            content["score"],
            content["step"],
            tuple(content.get("unused", ())),
            content["server_timing"],
        )

    def select(self, instruction: str) -> dict[str, Any]:
        """Which skill an instruction means: `skill` (None: none is sure enough), `score`, `abstained`, `candidates`
        and a `sentence`. Nothing acts, and the episode goes on.

        Raises:
            ServeError: as for `act`.
        """
        return self._ask({"prompt": instruction, "select": True})

    def close(self) -> None:
        """Ends the connection."""
        self._ending.close()

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        from websockets.exceptions import ConnectionClosed

        message = pack(request)
        try:
            self._connection.send(message)
            return self._receive()
        except ConnectionClosed as problem:
            reason = problem.rcvd.reason if problem.rcvd is not None else ""
            raise ServeError(f"{self.url} has closed the connection{f': {reason}' if reason else ''}") from problem

    def _receive(self) -> dict[str, Any]:
        try:
            message = self._connection.recv(self.timeout)
        except TimeoutError:
            self.close()  # an answer that comes late would be taken for the next one's
            raise ServeError(f"{self.url} did not answer in {self.timeout:g} s") from None
        if isinstance(message, str):
            abstention = message.removeprefix("abstained: ")
            raise NoSkillError(abstention) if abstention != message else ServeError(message)
        return unpack(message)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
