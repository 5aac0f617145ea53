"""A Hugging Face Hub on 127.0.0.1 for repositories of models, which huggingface_hub takes for the real one.

It knows what pushes and pulls use: making a repository, the listing of a commit, small files inside a commit and large
ones in a store beside it (Git LFS), one commit on top of another, files by revision, tokens, and faults on request.
Nothing leaves this machine.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants
from tests.loopback import answering_for

TOKEN = "hf_of_me"
"""The token that may do everything; another one may read."""
LARGE = re.compile(r".*\.safetensors")
"""Paths of files that go to the store: as the Hub's own .gitattributes says."""


class Asked(NamedTuple):
    """A request: what it asked for, and how many bytes of files it brought."""

    method: str
    path: str
    bytes: int


@dataclass
class Commit:
    name: str
    files: dict[str, bytes]
    message: str = ""


@dataclass
class Stored:
    """A repository: its commits, the newest last, tags and other names of commits, and who may see it."""

    commits: list[Commit]
    names: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1].files

    def at(self, revision: str) -> Commit | None:
        if revision in ("", "main"):
            return self.commits[-1]
        name = self.names.get(revision, revision)
        return next((commit for commit in self.commits if commit.name == name), None)

    def put(self, files: dict[str, bytes], message: str = "") -> Commit:
        """A commit of just these files."""
        content = (
            f"{len(self.commits)}{message}{sorted((path, hashlib.sha1(c).hexdigest()) for path, c in files.items())}"
        )
        self.commits.append(Commit(hashlib.sha1(content.encode()).hexdigest(), files, message))
        return self.commits[-1]


@dataclass
class Hub:
    """What the server holds, what goes wrong with it, and what it was asked.

    Attributes:
        address: to be given as the endpoint.
        statuses: path pattern -> the status that such requests are answered instead.
        hold: pattern of paths of files that are not sent, or taken into /store/, until `release`; `held` is set when
            one is asked for.
        before_commit: called when a commit arrives, before it is looked at.
    """

    repositories: dict[str, Stored] = field(default_factory=dict)
    store: dict[str, bytes] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    address: str = ""
    statuses: dict[str, int] = field(default_factory=dict)
    hold: str = ""
    held: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    before_commit: Callable[[], None] | None = None

    def make(self, name: str, private: bool = False) -> Stored:
        """A new repository, as the Hub makes one."""
        kept = self.repositories[name] = Stored([], private=private)
        kept.put({".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}, "initial commit")
        return kept

    def sent(self) -> int:
        """Bytes of files that were sent here so far."""
        return sum(asked.bytes for asked in self.asked)

    def fetched(self) -> list[str]:
        """Paths of the files that were fetched so far."""
        return [
            asked.path.split("/resolve/")[1].partition("/")[2]
            for asked in self.asked
            if asked.method == "GET" and "/resolve/" in asked.path
        ]


def serving(hub: Hub) -> AbstractContextManager[Hub]:
    """Serves until the end of the block; `hub.address` is then known."""
    return answering_for(hub, Answers)


@contextlib.contextmanager
def at_home(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Hub]:
    """A Hub that processes of this test take for theirs, and this one where it is told the address.

    Nothing of the user's is read or written.
    """
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_HOME", str(folder / "hf"))
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    # What huggingface_hub read when it was imported.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "hf" / "token"))
    with serving(Hub()) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        yield hub


def yaml_of(card: str) -> dict[str, Any]:
    """The metadata in front of a model card, of the simple form that our cards have."""
    metadata: dict[str, Any] = {}
    if not card.startswith("---\n"):
        return metadata
    key = ""
    for line in card.split("---\n")[1].splitlines():
        if line.startswith("- "):
            metadata.setdefault(key, []).append(line[2:].strip('"'))
        else:
            key, _, value = line.partition(":")
            if value.strip():
                metadata[key] = value.strip().strip('"')
    return metadata


class Answers(BaseHTTPRequestHandler):
    server_hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        hub, path = self.server_hub, self._begin(0)
        if path is None:
            return
        if listed := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)/?", path):
            if at := self._at(listed[1], listed[2]):
                self._json([self._entry(name, content) for name, content in at.files.items()])
        elif described := re.fullmatch(r"/api/models/([^/]+/[^/]+?)(?:/revision/(.+))?", path):
            if at := self._at(described[1], described[2] or ""):
                self._json(self._about(described[1], at))
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            if at := self._at(match[1], match[2]):
                self._file(at, match[3])
        elif path.startswith("/store/"):
            self._answer(200, hub.store[path.removeprefix("/store/")])
        else:
            self._answer(404, b"{}")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        hub, content = self.server_hub, self._body()
        uploaded = 0
        if re.fullmatch(r"/api/models/.+/commit/.+", self.path):
            lines = [json.loads(line) for line in content.splitlines()]
            uploaded = sum(len(base64.b64decode(line["value"]["content"])) for line in lines if line["key"] == "file")
        path = self._begin(uploaded)
        if path is None:
            return
        if path == "/api/repos/create":
            self._create(json.loads(content))
        elif path == "/api/validate-yaml":
            self._validate(json.loads(content)["content"])
        elif match := re.fullmatch(r"/api/models/(.+)/preupload/.+", path):
            self._preupload(hub.repositories[match[1]], json.loads(content)["files"])
        elif match := re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", path):
            self._batch(json.loads(content)["objects"])
        elif match := re.fullmatch(r"/api/models/(.+)/commit/.+", path):
            self._commit(match[1], [json.loads(line) for line in content.splitlines()])
        else:
            self._answer(404, b"{}")

    def do_PUT(self) -> None:
        content = self._body()
        if (path := self._begin(len(content))) is not None:
            self._wait(path)
            self.server_hub.store[path.removeprefix("/store/")] = content
            self._answer(200, b"")

    # ---------------------------------------------------------------- what is asked

    def _begin(self, uploaded: int) -> str | None:
        """The path that is asked for; None where a fault was answered."""
        hub, path = self.server_hub, unquote(urlsplit(self.path).path)
        hub.asked.append(Asked(self.command, path, uploaded))
        status = next((status for pattern, status in hub.statuses.items() if re.search(pattern, path)), None)
        if status is None:
            return path
        self._answer(status, json.dumps({"error": "as the test asks"}).encode())
        return None

    def _token(self) -> str:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def _at(self, name: str, revision: str) -> Commit | None:
        """The commit that is asked for; None where it was refused."""
        stored = self.server_hub.repositories.get(name)
        if stored is None or (stored.private and not self._token()):
            self._answer(
                404 if self._token() else 401, b'{"error":"Repository not found"}', {"X-Error-Code": "RepoNotFound"}
            )
            return None
        if stored.gated and self._token() != TOKEN:
            self._answer(403, b"{}", {"X-Error-Code": "GatedRepo"})
            return None
        commit = stored.at(revision)
        if commit is None:
            self._answer(404, b'{"error":"Invalid rev id"}', {"X-Error-Code": "RevisionNotFound"})
        return commit

    def _wait(self, path: str) -> None:
        """Where a test asks for it, waits for its sign."""
        hub = self.server_hub
        if hub.hold and re.fullmatch(hub.hold, path):
            hub.held.set()
            hub.release.wait()

    def _may_write(self) -> bool:
        if self._token() == TOKEN:
            return True
        if self._token():
            self._answer(403, b'{"error":"You don\'t have the rights"}')
        else:
            self._answer(401, b'{"error":"Invalid username or password."}')
        return False

    def _body(self) -> bytes:
        if (length := self.headers.get("Content-Length")) is not None:
            return self.rfile.read(int(length))
        content = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    # ---------------------------------------------------------------- answers

    def _create(self, about: dict[str, Any]) -> None:
        if not self._may_write():
            return
        hub, name = self.server_hub, f"{about.get('organization') or 'me'}/{about['name']}"
        if name in hub.repositories:
            self._json({"error": "You already created this model repo", "url": f"{hub.address}/{name}"}, 409)
            return
        hub.make(name, about.get("visibility") == "private" or bool(about.get("private")))
        self._json({"url": f"{hub.address}/{name}", "name": name})

    def _validate(self, card: str) -> None:
        license = yaml_of(card).get("license")
        if license == "no-such-license":
            self._json(
                {"errors": [{"message": '"license" must be one of [apache-2.0, mit, ...]'}], "warnings": []}, 400
            )
        else:
            self._json({"errors": [], "warnings": []})

    def _preupload(self, stored: Stored, files: list[dict[str, Any]]) -> None:
        def entry(path: str) -> dict[str, Any]:
            mode = "lfs" if LARGE.fullmatch(path) else "regular"
            known = stored.files.get(path)
            oid = None if known is None else sha256(known) if mode == "lfs" else blob(known)
            return {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid}

        self._json({"files": [entry(file["path"]) for file in files]})

    def _batch(self, objects: list[dict[str, Any]]) -> None:
        hub, answers = self.server_hub, []
        for entry in objects:
            upload = {"upload": {"href": f"{hub.address}/store/{entry['oid']}", "header": {}}}
            answers.append({**entry, **({} if entry["oid"] in hub.store else {"actions": upload})})
        self._json({"transfer": "basic", "objects": answers})

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        hub = self.server_hub
        if not self._may_write():
            return
        if hub.before_commit is not None:
            hub.before_commit()
        stored, header = hub.repositories[name], lines[0]["value"]
        if header.get("parentCommit") not in (None, stored.commits[-1].name):
            self._json({"error": "A commit has happened since. Please refresh and try again."}, 412)
            return
        files = dict(stored.files)
        for line in lines[1:]:
            value = line["value"]
            match line["key"]:
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = hub.store[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        kept = stored.put(files, header["summary"])
        self._json(
            {
                "success": True,
                "commitOid": kept.name,
                "commitUrl": f"{hub.address}/{name}/commit/{kept.name}",
                "hookOutput": "",
            }
        )

    def _about(self, name: str, at: Commit) -> dict[str, Any]:
        card = yaml_of(at.files.get("README.md", b"").decode())
        stored = self.server_hub.repositories[name]
        return {
            "_id": "1",
            "id": name,
            "modelId": name,
            "sha": at.name,
            "private": stored.private,
            "tags": card.get("tags", []),
            "cardData": card,
            "siblings": [{"rfilename": path} for path in at.files],
            "downloads": 0,
            "likes": 0,
        }

    def _entry(self, path: str, content: bytes) -> dict[str, Any]:
        lfs = {"oid": sha256(content), "size": len(content), "pointerSize": 134}
        large = {"lfs": lfs} if LARGE.fullmatch(path) else {}
        return {"type": "file", "path": path, "size": len(content), "oid": blob(content), **large}

    def _file(self, at: Commit, path: str) -> None:
        content = at.files.get(path)
        if content is None:
            self._answer(404, b"Entry not found", {"X-Error-Code": "EntryNotFound"})
            return
        if self.command == "GET":
            self._wait(path)
        large = LARGE.fullmatch(path) is not None
        name = sha256(content) if large else blob(content)
        headers = {"ETag": f'"{name}"', "X-Repo-Commit": at.name}
        if large:
            headers |= {"X-Linked-Etag": f'"{name}"', "X-Linked-Size": str(len(content))}
        self._answer(200, content, headers)

    def _json(self, content: Any, status: int = 200) -> None:
        self._answer(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        with contextlib.suppress(OSError):  # a client that was stopped is gone
            self.send_response(status)
            for name, text in (headers or {}).items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def blob(content: bytes) -> str:
    """Git's name for a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
