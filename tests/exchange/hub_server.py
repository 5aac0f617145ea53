"""A Hugging Face Hub on 127.0.0.1: one data set, the part of the API that downloads use, and faults on request.

As at the real Hub, a file's address sends on to a store of its own (here the same server under another name of the
host), which knows Range requests and nothing of tokens.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.loopback import answering_for

from skilltokens.exchange.hub import Hub, Remote

REPOSITORY = "somebody/LIBERO-datasets"
BOWL, STOVE = "put_the_bowl_on_the_plate", "turn_on_the_stove"
MB = 1_000_000
COMMIT = "f4ff9e2d7c7b1c0d4d1b7c5f5b7a6f0c3e2d1a09"


@dataclass
class HubServer:
    """What the server holds, what goes wrong with it, and what it was asked.

    Attributes:
        repository: the data set's name.
        files: path -> content.
        cuts: bytes after which the next connections to the store break, one for each.
        statuses: what the next connections to the store are answered instead, one for each.
        altered: the store sends the first byte of every file as another one.
        ranges: the store knows Range requests; otherwise it sends everything again.
        digests: the listing says every file's SHA-256.
        hold: number of bytes after which the store waits for `release`.
        asked: (path, Range, Authorization) of every request, in order.
    """

    repository: str
    files: dict[str, bytes]
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    altered: bool = False
    ranges: bool = True
    digests: bool = True
    hold: int | None = None
    address: str = ""
    held: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)

    def stored(self) -> list[tuple[str, str | None, str | None]]:
        """What the store was asked."""
        return [asked for asked in self.asked if asked[0].startswith("/store/")]

    def sha(self, path: str) -> str:
        return hashlib.sha256(self.files[path]).hexdigest()

    def listing(self) -> dict[str, Any]:
        return {
            "id": self.repository,
            "sha": COMMIT,
            "private": False,
            "gated": False,
            "siblings": [
                {
                    "rfilename": path,
                    "size": len(content),
                    "blobId": hashlib.sha1(content).hexdigest(),
                    **(
                        {"lfs": {"sha256": self.sha(path), "size": len(content), "pointerSize": 134}}
                        if self.digests and path.endswith(".hdf5")
                        else {}
                    ),
                }
                for path, content in self.files.items()
            ],
        }


def serving(hub: HubServer) -> AbstractContextManager[HubServer]:
    """Serves until the end of the block; `hub.address` is then known."""
    return answering_for(hub, Answers)


class Answers(BaseHTTPRequestHandler):
    server_hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        hub, path = self.server_hub, unquote(urlsplit(self.path).path)
        hub.asked.append((path, self.headers.get("Range"), self.headers.get("Authorization")))
        listing = re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/revision/(.+)", path)
        resolve = re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if listing:
            self._list(listing[1], listing[2])
        elif resolve and resolve[1] == hub.repository and resolve[3] in hub.files:
            self._send_on(resolve[3])
        elif path.startswith("/store/"):
            self._send(next(content for file, content in hub.files.items() if path.endswith(hub.sha(file))))
        else:
            self._answer(404, b"Entry not found", {"X-Error-Code": "EntryNotFound"})

    def _list(self, repository: str, revision: str) -> None:
        if repository == "somebody/gated":
            self._answer(403, b"{}", {"X-Error-Code": "GatedRepo"})
        elif repository != self.server_hub.repository:
            self._answer(401, b'{"error":"Repository not found"}', {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("main", COMMIT):
            self._answer(404, b'{"error":"Invalid rev id"}', {"X-Error-Code": "RevisionNotFound"})
        else:
            self._answer(200, json.dumps(self.server_hub.listing()).encode(), {"Content-Type": "application/json"})

    def _send_on(self, path: str) -> None:
        hub = self.server_hub
        headers = {
            "Location": f"{hub.address.replace('127.0.0.1', 'localhost')}/store/{hub.sha(path)}?Signature=x",
            "X-Repo-Commit": COMMIT,
            "X-Linked-Etag": f'"{hub.sha(path)}"',
            "X-Linked-Size": str(len(hub.files[path])),
        }
        self._answer(302, b"Found", headers)

    def _send(self, content: bytes) -> None:
        hub = self.server_hub
        if hub.statuses:
            self._answer(hub.statuses.pop(0), b"busy", {})
            return
        if hub.altered:
            content = bytes([content[0] ^ 1]) + content[1:]
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(asked[1]) if asked and hub.ranges else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        stop = hub.cuts.pop(0) if hub.cuts else len(body)
        with contextlib.suppress(OSError):  # a client that was killed is gone
            if hub.hold is not None:
                self.wfile.write(body[: hub.hold])
                hub.held.set()
                hub.release.wait()
                body, stop = body[hub.hold :], stop - hub.hold
            self.wfile.write(body[: max(stop, 0)])
        if stop < len(body):
            self.close_connection = True

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""


def goal_files(server: HubServer, *tasks: str) -> tuple[Hub, list[Remote]]:
    """The Hub at this server, and its files of these tasks of libero-goal, or of all."""
    hub = Hub(REPOSITORY, endpoint=server.address)
    return hub, hub.choose("libero-goal", tasks)


def files_in(folder: Path) -> list[str]:
    """All files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
