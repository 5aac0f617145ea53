"""A web server on 127.0.0.1 for as long as a block lasts."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol, TypeVar


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was stopped breaks its connection: nothing to print."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # pyright: ignore[reportArgumentType]


@contextlib.contextmanager
def answering(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serves on a free port; yields the address."""
    server = _Server(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Stub(Protocol):
    """What a handler answers for, by its attribute `server_hub`."""

    address: str
    release: threading.Event
    """Lets go of the answers that are held back."""


S = TypeVar("S", bound=Stub)


@contextlib.contextmanager
def answering_for(hub: S, answers: type[BaseHTTPRequestHandler]) -> Iterator[S]:
    """Serves a stub of the Hub until the end of the block; `hub.address` is then known."""
    handler = type("Handler", (answers,), {"server_hub": hub})
    with answering(handler) as hub.address:
        try:
            yield hub
        finally:
            hub.release.set()
