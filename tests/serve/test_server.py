"""A server that listens on loopback: many clients, each with its memory, and strangers who harm nobody."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from tests.serve.served import CLOSE, PUSH, acted, readings
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from skilltokens.serve import Client
from skilltokens.serve.server import PolicyServer, read_key, serving
from skilltokens.serve.settings import ServeSettings
from skilltokens.serve.wire import pack, unpack
from skilltokens.skills.library import SkillLibrary
from skilltokens.types import NoSkillError, ServeError, SettingError

SEEN = list(readings(15))


def works(address: str) -> bool:
    """Whether a new client gets an action."""
    with Client(address) as client:
        return client.act(SEEN[0], PUSH).skill == "push"


@contextlib.contextmanager
def raw(address: str, **options: Any) -> Iterator[ClientConnection]:
    """A connection that has its greeting."""
    with connect(f"ws://{address}", compression=None, max_size=None, **options) as connection:
        connection.recv(10)
        yield connection


def last_words(connection: ClientConnection) -> tuple[str, int]:
    """The text that a refused client gets, and the code of the close behind it."""
    text = connection.recv(20)
    assert isinstance(text, str)
    with pytest.raises(ConnectionClosed) as end:
        connection.recv(20)
    assert end.value.rcvd is not None
    return text, end.value.rcvd.code


# ---------------------------------------------------------------- clients


def test_actions_over_the_wire_are_a_local_actors_bit_for_bit(address: str, library: SkillLibrary):
    for skill, prompt in (("push", PUSH), ("close", CLOSE)):
        with Client(address) as client:
            answers = [client.act(observation, prompt) for observation in SEEN]
        assert np.concatenate([a.actions for a in answers]).tobytes() == acted(library, skill, SEEN).tobytes()
        assert {answer.skill for answer in answers} == {skill}
        assert answers[1].timing.keys() == {"infer_ms", "prev_total_ms"}


def test_many_clients_at_once_have_each_their_memory(address: str, library: SkillLibrary):
    robots = [(number, list(readings(12, seed=number)), (PUSH, CLOSE)[number % 2]) for number in range(12)]
    moved: dict[int, Any] = {}
    together = threading.Barrier(len(robots))

    def robot(number: int, seen: list[Any], prompt: str) -> None:
        with Client(address) as client:
            together.wait(20)
            moved[number] = np.concatenate([client.act(observation, prompt).actions for observation in seen])

    threads = [threading.Thread(target=robot, args=one) for one in robots]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, seen, prompt in robots:
        assert moved[number].tobytes() == acted(library, "push" if prompt == PUSH else "close", seen).tobytes()


def test_the_client_says_what_a_server_says(address: str):
    with Client(f"ws://{address}") as client:
        assert client.metadata["library"] == "library"
        assert client.select("make me a coffee")["abstained"]
        with pytest.raises(NoSkillError, match=r"^no skill is sure enough"):
            client.act(SEEN[0], "make me a coffee")
        assert client.act({**SEEN[0], "force": np.zeros(2)}, PUSH).unused == ("force",)
        assert [client.act(SEEN[0], PUSH, reset=reset).step for reset in (False, True)] == [1, 0]
        with pytest.raises(ServeError, match="lacks 'observation"):
            client.act({}, PUSH)
        with pytest.raises(ServeError, match="has closed the connection"):
            client.act(SEEN[0], PUSH)


def test_a_client_that_waits_no_longer_takes_no_late_answer(address: str):
    with Client(address) as client:
        client.timeout = 0.0
        with pytest.raises(ServeError, match="did not answer in 0 s"):
            client.act(SEEN[0], PUSH)
        client.timeout = 10.0
        with pytest.raises(ServeError, match="has closed the connection"):
            client.act(SEEN[1], PUSH)


def test_no_server_is_one_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ServeError, match="cannot be reached"):
            Client(f"127.0.0.1:{taken.getsockname()[1]}", timeout=5)


# ---------------------------------------------------------------- strangers


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (b"\x00\xff\xfe random", "no msgpack|a map"),
        (b"\x91" * 50_000, "no msgpack"),
        (b"\xdd\x7f\xff\xff\xff", "no msgpack"),
        (msgpack.packb({b"__ndarray__": True, b"data": b"", b"dtype": "<f8", b"shape": [1 << 31, 1 << 31]}), "0 are"),
        (msgpack.packb({b"__ndarray__": True, b"data": b"cos\nsystem", b"dtype": "|O", b"shape": [1]}), "dtype"),
        (msgpack.packb([[]] * 5000), "more than 1000"),
        (pack({"prompt": PUSH, "observation.state": np.full(2, np.nan)}), "not finite|lacks"),
        ("a text", "a text came"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_nonsense_gets_one_sentence_and_others_go_on(address: str, message: bytes | str, sentence: str):
    with Client(address) as other, raw(address) as connection:
        assert other.act(SEEN[0], PUSH).step == 0
        connection.send(message)
        text, code = last_words(connection)
        assert re.search(sentence, text)
        assert "\n" not in text
        assert code == 1011
        assert other.act(SEEN[1], PUSH).step == 1


def test_a_client_may_vanish_at_any_time(address: str):
    with Client(address) as other:
        other.act(SEEN[0], PUSH)
        for sends in (b"", pack({**SEEN[0], "prompt": PUSH}), b"\xc1"):
            with raw(address) as connection:
                if sends:
                    connection.send(sends)
                with contextlib.suppress(OSError):  # a server that refused the message may have closed it by now
                    connection.socket.shutdown(socket.SHUT_RDWR)
        with socket.create_connection(tuple(address.split(":"))) as half:  # pyright: ignore[reportArgumentType]
            half.send(b"GET / HTTP/1.1\r\nHost: ")
        with raw(address) as unread:
            unread.socket.send(b"\x82\xfe\xff\xff" + bytes(4) + b"half of a message")
        assert other.act(SEEN[1], PUSH).step == 1
    assert works(address)


def test_what_is_no_websocket_is_turned_away(address: str):
    host, port = address.split(":")
    for words in (b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(100_000)):
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(words)
            with contextlib.suppress(ConnectionError):
                assert b"101 Switching" not in connection.recv(1000)
    assert works(address)


def test_a_message_beyond_the_limit_is_not_read(folder: Path):
    server = PolicyServer(SkillLibrary.open(folder), ServeSettings(port=0, message_limit=1))
    with serving(server) as (host, port), raw(f"{host}:{port}") as connection:
        with contextlib.suppress(ConnectionClosed):
            connection.send(pack({"prompt": PUSH, "observation/state": np.zeros(1 << 18)}))
        with pytest.raises(ConnectionClosed) as end:
            connection.recv(20)
        assert end.value.rcvd is not None
        assert end.value.rcvd.code == 1009
        assert works(f"{host}:{port}")


def test_pages_in_a_browser_may_not_call(address: str):
    with pytest.raises(InvalidStatus) as refused, raw(address, origin="https://somewhere.example"):
        pass
    assert refused.value.response.status_code == 403


# ---------------------------------------------------------------- limits, keys and health


def test_health(address: str):
    for path, body in (("healthz", b"OK\n"), ("health", b'{"status": "ok"}\n')):
        with urllib.request.urlopen(f"http://{address}/{path}", timeout=20) as answer:
            assert (answer.status, answer.read()) == (200, body)
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"http://{address}/", timeout=20)


def test_a_key_is_asked_for(folder: Path):
    server = PolicyServer(SkillLibrary.open(folder), ServeSettings(port=0), key="secret-1")
    with serving(server) as (host, port):
        place = f"{host}:{port}"
        for wrong in ("", "secret-2", "secret-1x", "\N{SNOWMAN}"):
            with pytest.raises(ServeError, match=r"wants its key|cannot be reached"):
                Client(place, key=wrong)
        for header in ("secret-1", "Bearer secret-1", "Api-Key"):
            with pytest.raises(InvalidStatus) as refused, raw(place, additional_headers={"Authorization": header}):
                pass
            assert refused.value.response.status_code == 401
        with Client(place, key="secret-1") as client:
            assert client.act(SEEN[0], PUSH).skill == "push"
        with urllib.request.urlopen(f"http://{place}/healthz", timeout=20) as answer:
            assert answer.status == 200


def test_a_key_comes_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SKILLTOKENS_SERVE_KEY", raising=False)
    assert read_key(None) == ""
    monkeypatch.setenv("SKILLTOKENS_SERVE_KEY", "one")
    assert read_key(None) == "one"
    (tmp_path / "key").write_text("two\n")
    assert read_key(tmp_path / "key") == "two"
    for text in ("", "\n", "two words", "schl\N{LATIN SMALL LETTER U WITH DIAERESIS}ssel"):
        (tmp_path / "key").write_text(text)
        with pytest.raises(SettingError, match="holds no key"):
            read_key(tmp_path / "key")
    with pytest.raises(SettingError, match="none"):
        read_key(tmp_path / "none")


def test_clients_beyond_the_limit_are_turned_away(folder: Path):
    server = PolicyServer(SkillLibrary.open(folder), ServeSettings(port=0, clients=2))
    with serving(server) as (host, port):
        place = f"{host}:{port}"
        with Client(place), Client(place), pytest.raises(ServeError, match="2 clients are the most"):
            Client(place)
        wait_for(lambda: not server.open_connections)
        assert works(place)


def test_a_client_that_asks_nothing_is_let_go(folder: Path):
    server = PolicyServer(SkillLibrary.open(folder), ServeSettings(port=0, idle=0.2))
    with serving(server) as (host, port), raw(f"{host}:{port}") as connection:
        with pytest.raises(ConnectionClosed) as end:
            connection.recv(20)
        assert end.value.rcvd is not None
        assert (end.value.rcvd.code, end.value.rcvd.reason) == (1001, "no request for 0.2 s")


def test_a_line_a_request(address: str, lines: list[str]):
    before = len(lines)
    with Client(address) as client:
        client.act(SEEN[0], PUSH)
    wait_for(lambda: lines[-1].endswith(" gone") and len(lines) >= before + 3)
    said = [line.split(" ", 1)[1] for line in lines[before:] if "push" in line]
    assert len(said) == 1
    assert said[0].startswith("push (1.00), step 0, ")


def test_a_log_that_cannot_be_written_harms_nobody(folder: Path):
    def gone(line: str) -> None:
        raise BrokenPipeError

    with serving(PolicyServer(SkillLibrary.open(folder), ServeSettings(port=0), log=gone)) as (host, port):
        assert works(f"{host}:{port}")


def test_an_address_that_is_taken(server: PolicyServer, folder: Path):
    other = PolicyServer(SkillLibrary.open(folder), ServeSettings(port=server.address[1]))
    with pytest.raises(SettingError, match=r"cannot be listened on .*choose another --port"), serving(other):
        pass


@pytest.mark.parametrize("settings", [{"port": 70_000}, {"clients": 0}, {"idle": -1.0}, {"message_limit": 0}])
def test_impossible_settings(library: SkillLibrary, settings: dict[str, Any]):
    with pytest.raises(SettingError, match="is impossible"):
        PolicyServer(library, ServeSettings(**settings))


def test_ending_a_server_ends_its_connections(folder: Path):
    with serving(PolicyServer(SkillLibrary.open(folder), ServeSettings(port=0))) as (host, port):
        client = Client(f"{host}:{port}")
        client.act(SEEN[0], PUSH)
    with pytest.raises(ServeError, match="has closed the connection"):
        client.act(SEEN[0], PUSH)


def test_an_unknown_greeting_is_no_server(folder: Path):
    """A WebSocket server of another kind, which says a text first."""
    from websockets.sync.server import serve

    with serve(lambda connection: connection.send("hello"), "127.0.0.1", 0) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        with pytest.raises(ServeError, match="hello"):
            Client(f"127.0.0.1:{other.socket.getsockname()[1]}")
        other.shutdown()
        thread.join()


def wait_for(condition: Any, seconds: float = 20.0) -> None:
    """Waits until something that another thread does is done."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_frames_are_openpis(address: str):
    with raw(address) as connection:
        connection.send(pack({**SEEN[0], "prompt": PUSH}))
        answer = connection.recv(20)
        assert isinstance(answer, bytes)
        plain = msgpack.unpackb(answer)
        assert plain["actions"].keys() == {b"__ndarray__", b"data", b"dtype", b"shape"}
        assert unpack(answer)["actions"].dtype == np.float32
