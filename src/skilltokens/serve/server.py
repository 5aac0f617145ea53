"""Sockets: who may connect, how long and how much; one worker thread in which torch acts for all.

One thread, because an action of a small policy is a hundred small calls of torch, which two threads only take from each
other (docs/serving.md has the figures). Requests are answered in the order in which they come; a client has one at a
time, so none can hold the others up by more than its own request.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import http
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skilltokens.attached.library import AttachedLibrary
from skilltokens.configuration import check_settings
from skilltokens.files import read_bytes
from skilltokens.serve.client import websockets
from skilltokens.serve.dialogue import Dialogue, Reply, metadata
from skilltokens.serve.episodes import Repertoire
from skilltokens.serve.settings import ServeSettings
from skilltokens.skills.acting import ActingLibrary
from skilltokens.types import Report, ServeError, SettingError, silent

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

KEY = "SKILLTOKENS_SERVE_KEY"
"""The environment variable that may hold the key."""
HANDSHAKE, GOODBYE = 10.0, 2.0
"""Seconds that a client may take to connect, and to close."""
BROKEN, AWAY, BUSY = 1011, 1001, 1013
"""WebSocket's codes: the server could not answer; it, or the client, went away; try again later."""
SCHEME = "Api-Key "
HEALTH = {"/healthz": "OK\n", "/health": '{"status": "ok"}\n'}
"""What openpi's and vla-eval's probes ask for, and get without a key."""


class PolicyServer:
    """A library that is served.

    Args:
        library: as it was opened: later changes of its folder are seen by the next server only.
        settings: what is allowed.
        key: what clients must send as `Authorization: Api-Key KEY`; empty: nothing.
        log: called with one line a request; None: nobody is told.
        report: told while the sentence encoder is loaded.

    Attributes:
        address: (host, port) that it listens on, once it does.
        requests: how many were answered.
        connections: how many clients there were.
        open_connections: how many there are now.

    Raises:
        SettingError: a setting is impossible, or a package is missing.
    """

    def __init__(
        self,
        library: ActingLibrary | AttachedLibrary,
        settings: ServeSettings | None = None,
        key: str = "",
        log: Callable[[str], None] | None = None,
        report: Report = silent,
    ) -> None:
        self.settings = settings or ServeSettings()
        check_settings(self.settings)
        websockets()
        self.repertoire = Repertoire(library, self.settings, report)
        self.repertoire.rank("hello")  # the sentence encoder and its index are loaded before the first client waits
        self.address = (self.settings.host, self.settings.port)
        self.requests = self.connections = self.open_connections = 0
        self._greeting = metadata(self.repertoire)
        self._key, self._log = key.encode(), log
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._worker = ThreadPoolExecutor(1, "skilltokens-acting", self._use_threads)

    def _use_threads(self) -> None:
        import torch

        torch.set_num_threads(self.settings.threads)

    # ---------------------------------------------------------------- life

    def run(self, ready: Callable[[], None] = lambda: None, signals: bool = True) -> None:
        """Serves until `stop` is called, or until Ctrl-C, SIGTERM or SIGHUP.

        Args:
            ready: called once it listens.
            signals: watch for signals; in the main thread only.

        Raises:
            SettingError: the address cannot be listened on.
        """
        try:
            asyncio.run(self._run(ready, signals))
        finally:
            self._worker.shutdown(cancel_futures=True)

    def stop(self) -> None:
        """Ends `run`, from any thread."""
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._stop.set)

    async def _run(self, ready: Callable[[], None], signals: bool) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        if signals:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                self._loop.add_signal_handler(number, self._stop.set)
        async with await self._listening() as server:
            self.address = next(iter(server.sockets)).getsockname()[:2]
            ready()
            await self._stop.wait()

    async def _listening(self) -> Any:
        from websockets.asyncio.server import serve

        quiet = logging.getLogger("skilltokens.serve.sockets")  # strangers' broken handshakes are nobody's news
        quiet.addHandler(logging.NullHandler())
        quiet.propagate = False
        try:
            return await serve(
                self._serve,
                self.settings.host,
                self.settings.port,
                process_request=self._admit,
                origins=[None],  # no page in somebody's browser
                compression=None,
                server_header=None,
                open_timeout=HANDSHAKE,
                close_timeout=GOODBYE,
                ping_interval=None,  # simulators that take a minute to reset answer no ping
                max_size=self.settings.message_limit << 20,
                max_queue=1,
                logger=quiet,
            )
        except (OSError, OverflowError) as problem:
            place = f"{self.settings.host}:{self.settings.port}"
            raise SettingError(
                f"{place} cannot be listened on ({getattr(problem, 'strerror', None) or problem}): choose another "
                "--port (0: a free one) or --host"
            ) from problem

    # ---------------------------------------------------------------- who may connect

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answers what is no connection, and turns away who may not have one."""
        if request.path in HEALTH:
            return connection.respond(http.HTTPStatus.OK, HEALTH[request.path])
        if self._key and not self._known(request.headers.get_all("Authorization")):
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, "this server wants its key: Api-Key KEY\n")
        if self.open_connections >= self.settings.clients:
            return connection.respond(
                http.HTTPStatus.SERVICE_UNAVAILABLE, f"{self.open_connections} clients are the most\n"
            )
        return None

    def _known(self, given: list[str]) -> bool:
        """Whether the key was given; how long that takes tells nothing of it."""
        sent = given[0] if len(given) == 1 else ""
        key = sent.removeprefix(SCHEME).strip().encode("utf-8", "surrogateescape")
        return hmac.compare_digest(key, self._key) and sent.startswith(SCHEME)

    # ---------------------------------------------------------------- one client

    async def _serve(self, connection: ServerConnection) -> None:
        from websockets.exceptions import ConnectionClosed

        if self.open_connections >= self.settings.clients:  # several knocked at once
            await connection.close(BUSY, "too many clients")
            return
        self.open_connections += 1
        self.connections += 1
        name = ":".join(map(str, (connection.remote_address or ("?",))[:2]))
        self._say(name, "connected")
        try:
            await self._converse(connection, name)
        except ConnectionClosed:
            pass
        except TimeoutError:
            self._say(name, "idle")
            await connection.close(AWAY, f"no request for {self.settings.idle:g} s")
        finally:
            self.open_connections -= 1
            self._say(name, "gone")

    async def _converse(self, connection: ServerConnection, name: str) -> None:
        """Messages and answers until the client goes."""
        _keep_alive(connection.transport.get_extra_info("socket"))
        loop, dialogue = asyncio.get_running_loop(), Dialogue(self.repertoire)
        patience = self.settings.idle or None
        async with asyncio.timeout(patience):
            await connection.send(self._greeting)
        while True:
            async with asyncio.timeout(patience):
                message = await connection.recv()
            began = time.perf_counter()
            reply: Reply = await loop.run_in_executor(self._worker, dialogue.reply, message)
            del message
            self.requests += reply.counts
            self._say(name, reply.line)
            if reply.frame is not None:
                async with asyncio.timeout(patience):
                    await connection.send(reply.frame)
            dialogue.took = 1000 * (time.perf_counter() - began)
            if reply.closing:
                await connection.close(BROKEN, "the text in front says what is wrong")
                return

    def _say(self, name: str, line: str) -> None:
        if self._log is None:
            return
        try:
            self._log(f"{name} {line}")
        except OSError:  # whoever read the log has gone
            self._log = None


def _keep_alive(connected: socket.socket | None) -> None:
    """Lets the system notice, in minutes, that the machine at the other end is gone."""
    if connected is None:
        return
    with contextlib.suppress(OSError, AttributeError):
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)


def read_key(path: Path | None) -> str:
    """The key in a file, or in the environment's `SKILLTOKENS_SERVE_KEY`; empty: there is none.

    Raises:
        SettingError: the file cannot be read, or it, or the variable, holds no key of one word.
    """
    place = str(path) if path is not None else KEY
    if path is None:
        text = os.environ.get(KEY)
        if text is None:
            return ""
    else:
        text = read_bytes(path, SettingError).decode("utf-8", "replace")
    key = text.strip()
    if not key or len(key.split()) > 1 or not key.isascii() or not key.isprintable():
        raise SettingError(f"{place} holds no key: write one word of ASCII letters and digits into it")
    return key


@contextlib.contextmanager
def serving(server: PolicyServer, wait: float = 60.0) -> Iterator[tuple[str, int]]:
    """Serves in a thread of this process for as long as the block lasts; yields (host, port).

    Raises:
        SettingError: the address cannot be listened on.
        ServeError: it does not listen after `wait` seconds.
    """
    listening = threading.Event()
    problems: list[BaseException] = []

    def run() -> None:
        try:
            server.run(listening.set, signals=False)
        except BaseException as problem:
            problems.append(problem)
        finally:
            listening.set()

    thread = threading.Thread(target=run, name="skilltokens-serving", daemon=True)
    thread.start()
    if not listening.wait(wait):
        raise ServeError(f"the server does not listen after {wait:g} s")
    try:
        if problems:
            raise problems[0]
        yield server.address
    finally:
        server.stop()
        thread.join()
