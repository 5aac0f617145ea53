"""Files that somebody damaged or made with ill intent, and what a reader makes of them.

    variants    flipped bits, cuts, replaced values, mended digests, links, pipes and folders in place of files
    survives    reads each in a process of its own, with limits of time and memory, and says how it went

A reader must refuse a file in one sentence (a SkilltokensError), or load what is equal to the whole one. Where a digest
was mended, or a format bears none, it may also load what the file says now: nobody can know that it is not meant.
"""

from __future__ import annotations

import copy
import json
import math
import os
import random
import resource
import shutil
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from skilltokens.files import SEAL, digest, sealed
from skilltokens.tensors import pack, unpack
from skilltokens.types import SkilltokensError

REFUSED, EQUAL, OTHER = "refused", "equal", "other"
"""How it may go; the last only where a digest was mended or there is none."""
CPU, WAIT = 2.0, 30.0
"""Seconds of work, and seconds of waiting on a busy machine, after which a reader is taken to hang."""
SLACK = 64 << 20
"""Bytes that a reader may take beyond twice the files: for its own code."""


@dataclass(frozen=True)
class Variant:
    """One damage: `apply` does it to a copy of the whole file or folder."""

    name: str
    apply: Callable[[Path], None]
    mended: bool = False
    """Whether the digests are right all the same."""


# ---------------------------------------------------------------- what is damaged


def variants(path: Path, rng: random.Random, count: int, unsealed: bool = False) -> Iterator[Variant]:
    """So many damages of a file, or of the files of a folder by turns.

    Args:
        unsealed: the format bears no digests, so that any change may be meant.
    """
    files = [Path()] if path.is_file() else sorted(p.relative_to(path) for p in path.rglob("*") if p.is_file())
    for number in range(count):
        file = files[number % len(files)]
        whole = path / file
        kinds: list[Callable[[Path, random.Random], Variant | None]]
        kinds = [_flipped, _flipped, _cut, _overwritten, _instead]
        if whole.suffix == ".json":
            kinds += [_replaced, _replaced, _mended, _mended, _text]
        if whole.suffix == ".safetensors":
            kinds += [_header, _tensors, _tensors]
        if whole.suffix == ".npy":
            kinds += [_array, _array]
        made = kinds[number // len(files) % len(kinds)](whole, rng) or _flipped(whole, rng)
        change = made.apply
        yield Variant(
            f"{file.suffix or whole.suffix} {made.name}",
            lambda copy, change=change, file=file: change(copy / file if file.name else copy),
            made.mended or unsealed,
        )


def every_bit(path: Path, step: int = 1) -> Iterator[Variant]:
    """Each bit of a file flipped, or every `step`th."""
    for bit in range(0, 8 * path.stat().st_size, step):
        yield Variant("each bit", lambda copy, bit=bit: _write(copy, _with_bit(copy.read_bytes(), bit)))


def _with_bit(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _flipped(whole: Path, rng: random.Random) -> Variant:
    bit = rng.randrange(8 * max(1, whole.stat().st_size))
    return Variant("bit", lambda copy: _write(copy, _with_bit(copy.read_bytes() or b"\0", bit)))


def _cut(whole: Path, rng: random.Random) -> Variant:
    size = whole.stat().st_size
    kept = rng.choice([0, 1, 8, size // 2, size - 1, rng.randrange(max(1, size))])
    if rng.random() < 0.2:
        return Variant("grown", lambda copy: _write(copy, copy.read_bytes() + bytes(kept + 1)))
    return Variant("cut", lambda copy: _write(copy, copy.read_bytes()[:kept]))


def _overwritten(whole: Path, rng: random.Random) -> Variant:
    size = whole.stat().st_size
    start, length = rng.randrange(max(1, size)), rng.choice([1, 8, 64, size])
    block = rng.choice([bytes(length), b"\xff" * length, rng.randbytes(length)])

    def change(copy: Path) -> None:
        content = copy.read_bytes()
        _write(copy, content[:start] + block[: len(content) - start] + content[start + length :])

    return Variant("block", change)


def _instead(whole: Path, rng: random.Random) -> Variant:
    """Something else in place of a file."""

    def pipe(copy: Path) -> None:
        os.mkfifo(copy)

    def link(target: str) -> Callable[[Path], None]:
        return lambda copy: copy.symlink_to(target)

    def elsewhere(copy: Path) -> None:
        copy.symlink_to(whole)

    kinds: dict[str, Callable[[Path], object]] = {
        "pipe": pipe,
        "folder": lambda copy: copy.mkdir(),
        "nothing": lambda copy: None,
        "empty": lambda copy: copy.touch(),
        "link to nothing": link("/nowhere/at/all"),
        "link to itself": lambda copy: copy.symlink_to(copy.name),
        "link to a device": link("/dev/zero"),
        "link to another file": link("/etc/hostname"),
        "link to the same": elsewhere,
    }
    name = rng.choice(list(kinds))

    def change(copy: Path) -> None:
        copy.unlink()
        kinds[name](copy)

    return Variant(name, change)


# ---------------------------------------------------------------- JSON

HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 7, 10**30, -(10**30), 2**63, 0.5, -0.0, 1e308, math.nan, math.inf, -math.inf, "", "x",
    "x" * 100_000, "../../../etc/passwd", "/", "a\nb", "\u202e\x00\x1b[31m", "<script>alert(1)</script>", [], {},
    [[]], [None], [-1], [2**62], [2**62, 2**62], {"": 0}, {"schema": 1},
)  # fmt: skip
DEEP = "[" * 100_000 + "]" * 100_000


def hostile(content: Any, rng: random.Random) -> Any:
    """A JSON value in which one value is another, a key is missing, or there is one more."""
    content = copy.deepcopy(content)
    places = list(_places(content))
    holder, key = rng.choice(places)
    chance = rng.random()
    if chance < 0.1:
        del holder[key]
    elif chance < 0.2 and isinstance(holder, dict):
        holder["stranger"] = rng.choice(HOSTILE)
    elif chance < 0.35 and isinstance(holder[key], str) and holder[key]:
        text, i = holder[key], rng.randrange(len(holder[key]))
        holder[key] = text[:i] + chr(ord(text[i]) ^ 1 << rng.randrange(6)) + text[i + 1 :]
    elif chance < 0.45 and isinstance(holder[key], int | float):
        holder[key] = rng.choice([-holder[key], holder[key] * 10**12, holder[key] + 1, str(holder[key])])
    elif chance < 0.55:
        holder[key] = copy.deepcopy(rng.choice(places)[0])
    else:
        holder[key] = copy.deepcopy(rng.choice(HOSTILE))
    return content


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(content) if isinstance(content, dict) else range(len(content)):
        yield content, key
        if isinstance(content[key], dict | list):
            yield from _places(content[key])


def _json(whole: Path) -> dict[str, Any]:
    return json.loads(whole.read_text(encoding="utf-8"))


def _replaced(whole: Path, rng: random.Random) -> Variant:
    changed = hostile(_json(whole), rng)
    return Variant("value", lambda copy: _write(copy, json.dumps(changed).encode()))


def _mended(whole: Path, rng: random.Random) -> Variant:
    changed = sealed(hostile(_json(whole), rng))
    return Variant("value, digest mended", lambda copy: _write(copy, json.dumps(changed).encode()), mended=True)


def _text(whole: Path, rng: random.Random) -> Variant:
    """What only the text of JSON can have."""
    content = _json(whole)
    key = rng.choice(list(content))
    text, zero = json.dumps(content), json.dumps({**content, key: 0})
    twice = json.dumps(rng.choice(HOSTILE))
    kinds = {
        "nested": DEEP,
        "nested within": zero.replace(f"{json.dumps(key)}: 0", f"{json.dumps(key)}: {DEEP}"),
        "a key twice": f"{text[:-1]}, {json.dumps(key)}: {twice}}}",
        "a key before": f"{{{json.dumps(key)}: {twice}, {text[1:]}",
        "a long number": zero.replace(f"{json.dumps(key)}: 0", f"{json.dumps(key)}: {'9' * 10_000}"),
        "a list": "[]",
        "UTF-16": text.encode("utf-16"),
        "no text": b"\xff\xfe\xfd",
        "half a character": text.replace(key, key + "\\ud800"),
    }
    name = rng.choice(list(kinds))
    made = kinds[name]
    return Variant(name, lambda copy: _write(copy, made if isinstance(made, bytes) else made.encode()))


# ---------------------------------------------------------------- safetensors and arrays


def _header(whole: Path, rng: random.Random) -> Variant | None:
    """The header of a safetensors file, otherwise than its tensors are."""
    content = whole.read_bytes()
    length = int.from_bytes(content[:8], "little")
    try:
        changed = hostile(json.loads(content[8 : 8 + length]), rng)
    except ValueError:
        return None
    text = json.dumps(changed).encode()
    length = rng.choice([len(text)] * 8 + [0, 2**40, 2**63, 2**64 - 1])
    return Variant("header", lambda copy: _write(copy, length.to_bytes(8, "little") + text + content[8 + length :]))


def _tensors(whole: Path, rng: random.Random) -> Variant | None:
    """Tensors, or what is said beside them, otherwise; the digest is mended."""
    try:
        tensors, about = unpack(whole.read_bytes(), whole)
    except SkilltokensError:
        return None
    if rng.random() < 0.4 and about:
        about = hostile(about, rng)
        about = about if isinstance(about, dict) else {}
    else:
        name = rng.choice(sorted(tensors))
        tensor = tensors[name]
        changes: dict[str, Callable[[], torch.Tensor | None]] = {
            "gone": lambda: None,
            "not a number": lambda: torch.full_like(tensor, math.nan) if tensor.is_floating_point() else None,
            "endless": lambda: torch.full_like(tensor, math.inf) if tensor.is_floating_point() else None,
            "double": lambda: tensor.double(),
            "half": lambda: tensor.half(),
            "whole numbers": lambda: tensor.long(),
            "flat": lambda: tensor.reshape(-1, 1).clone(),
            "empty": lambda: tensor.new_zeros(0),
            "of one": lambda: tensor.new_zeros(1),
            "longer": lambda: torch.cat([tensor.reshape(-1), tensor.reshape(-1)]),
            "negative": lambda: -tensor if tensor.dtype != torch.bool else ~tensor,
        }
        made = changes[rng.choice(list(changes))]()
        tensors = {key: value for key, value in tensors.items() if key != name}
        if made is not None:
            tensors[rng.choice([name, name, name, "stranger", "../stranger", f"{name}.x"])] = made
    content = pack(tensors, about)
    return Variant("tensors, digest mended", lambda copy: _write(copy, content), mended=True)


def _array(whole: Path, rng: random.Random) -> Variant:
    """The header of a .npy file, otherwise; the digests of a demonstration store beside it are mended."""
    array = np.load(whole)
    size = rng.choice([0, -1, 1, len(array) + 1, 2**31, 2**62, 10**30, True, "7", (), array.shape])
    shapes: Sequence[Any] = [(size, *array.shape[1:]), (*array.shape, size), size, list(array.shape)]
    dtypes = ("O", "<f8", ">f4", "<i8", "|b1", "<U9", "V4", "<M8[s]", [("a", "<f4")], array.dtype.str, "", 7)
    head = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
    key = rng.choice(["descr", "fortran_order", "shape", "stranger"])
    head[key] = rng.choice({"descr": dtypes, "shape": shapes}.get(key, (True, None, 1, "x" * 20_000)))
    text = repr(head).encode() if rng.random() < 0.9 else b"(" * 3000 + b")" * 3000
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    content = b"\x93NUMPY\x02\x00" + len(text).to_bytes(4, "little") + text + array.tobytes()

    def change(copy: Path) -> None:
        _write(copy, content)
        header = copy.with_name("header.json")
        if header.exists():
            said = _json(header)
            said["files"][copy.name] = {"bytes": copy.stat().st_size, "sha256": digest(copy)}
            _write(header, json.dumps(sealed({k: v for k, v in said.items() if k != SEAL})).encode())

    return Variant("array, digest mended", change, mended=True)


# ---------------------------------------------------------------- what a reader makes of it


def survives(
    reader: Callable[[Path], object],
    fingerprint: Callable[[Any], str],
    source: Path,
    place: Path,
    damages: Sequence[Variant],
) -> Counter[tuple[str, str]]:
    """Reads every variant of a file or folder, in a process that has limits.

    Args:
        reader: path -> what is read.
        fingerprint: of what is read; equal ones are taken to be the same.
        source: the whole file or folder.
        place: for the copies.

    Returns:
        (kind of damage, outcome) -> how many.

    Raises:
        AssertionError: one was taken without a word, ended in an error that is none of ours, took too long or too much
            memory; with what was done to it.
    """
    whole = fingerprint(reader(source))
    outcomes: list[str] = []
    while len(outcomes) < len(damages):
        outcomes += _in_child(reader, fingerprint, whole, source, place, damages[len(outcomes) :])
    counts = Counter(zip((variant.name for variant in damages), outcomes, strict=True))
    faults = {key: number for key, number in counts.items() if key[1] not in (REFUSED, EQUAL, OTHER)}
    assert not faults, "\n".join(f"{number} x {name}: {outcome}" for (name, outcome), number in faults.items())
    return counts


def _in_child(
    reader: Callable[[Path], object],
    fingerprint: Callable[[Any], str],
    whole: str,
    source: Path,
    place: Path,
    damages: Sequence[Variant],
) -> list[str]:
    """The outcomes of as many as one process lives through."""
    place.mkdir(parents=True, exist_ok=True)
    log = place / "outcomes"
    log.unlink(missing_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside the thread of pytest-xdist, which waits
        child = os.fork()
    if child == 0:
        try:
            with log.open("w") as lines:
                for variant in damages:
                    outcome = _outcome(reader, fingerprint, whole, source, place, variant)
                    print(json.dumps(outcome), file=lines, flush=True)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    outcomes = [json.loads(line) for line in log.read_text().splitlines()]
    if os.WIFSIGNALED(status):
        ends: dict[int, str] = {signal.SIGALRM: f"waits over {WAIT:g} s", signal.SIGPROF: f"works over {CPU:g} s"}
        outcomes.append(ends.get(os.WTERMSIG(status), "the process crashed"))
    assert outcomes, "the process that reads ended at once"
    return outcomes


def _outcome(
    reader: Callable[[Path], object],
    fingerprint: Callable[[Any], str],
    whole: str,
    source: Path,
    place: Path,
    variant: Variant,
) -> str:
    path = place / "copy" / source.name
    shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir(parents=True)
    shutil.copytree(source, path) if source.is_dir() else shutil.copy(source, path)
    variant.apply(path)
    bytes_of = sum(p.stat().st_size for p in (path.rglob("*") if path.is_dir() else [path]) if p.is_file())
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (used + 2 * bytes_of + SLACK, most))
        signal.setitimer(signal.ITIMER_PROF, CPU)
        signal.setitimer(signal.ITIMER_REAL, WAIT)
        found = fingerprint(reader(path))
    except SkilltokensError as refusal:
        text = str(refusal)
        return REFUSED if "\n" not in text and len(text) < 1500 else f"refused in many words: {text[:200]!r}"
    except MemoryError:
        return "takes too much memory"
    except BaseException as problem:
        return f"{type(problem).__name__}: {str(problem)[:160]}"
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, most))
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    if found == whole:
        return EQUAL
    return OTHER if variant.mended else "silent"
