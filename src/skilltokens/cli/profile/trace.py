"""A profile as a file that https://ui.perfetto.dev and chrome://tracing open, and what it says in a few lines.

The format is Chrome's trace events in JSON: complete events ("X") of a begin and a length in microseconds. One row
shows the rooms, the other the functions, each as long as the samples saw it without a break.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from skilltokens.cli.profile.rooms import ELSEWHERE, LOOPS, Place, entries, name_of, place_of, room_of
from skilltokens.cli.profile.sampling import Sampler
from skilltokens.files import write_bytes
from skilltokens.types import RunError

_Key = TypeVar("_Key")
ROOMS, FUNCTIONS = 1, 2
"""The numbers of the two rows."""
LEAST, USUAL, MOST = 0.01, 0.95, 12
"""Lines are shown from this share of the time on; functions up to that one, since those above hold all the others, and
so many."""


class Summary(msgspec.Struct, kw_only=True):
    """What a profile says in a few lines, as its file has it."""

    name: str
    seconds: float
    places: list[tuple[str, str, float]]
    """Loop, room, seconds."""
    functions: list[tuple[str, float]]
    """The functions of this package, and their seconds with all that they called."""

    @classmethod
    def of(cls, sampler: Sampler, name: str) -> Summary:
        total = sum(sampler.seconds)
        places: dict[Place, float] = defaultdict(float)
        functions: dict[str, float] = defaultdict(float)
        for stack, spent in zip(sampler.stacks, sampler.seconds, strict=True):
            places[place_of(stack)] += spent
            for function in {name_of(code) for code in entries(stack)}:
                functions[function] += spent
        telling = [entry for entry in _longest(functions) if LEAST * total <= entry[1] <= USUAL * total]
        return cls(
            name=name,
            seconds=round(total, 3),
            places=[(place.loop, place.room, round(spent, 3)) for place, spent in _longest(places)],
            functions=[(function, round(spent, 3)) for function, spent in telling[:MOST]],
        )

    def lines(self, path: Path) -> Iterator[str]:
        """As people read it. `path` is the file's."""
        total = self.seconds or 1.0
        yield f"profile of {self.name}: {self.seconds:.1f} s; https://ui.perfetto.dev opens {path}"
        loops: dict[str, float] = defaultdict(float)
        for loop, _, spent in self.places:
            loops[loop] += spent
        shown = {loop: whole for loop, whole in _longest(loops) if whole >= LEAST * total}
        for loop, whole in shown.items():
            yield f"  {whole / total:4.0%}  {loop:<20}  {LOOPS.get(loop) or Place(loop, loop).words}".rstrip()
            for inside, room, spent in self.places:
                if inside != loop or loop not in LOOPS or spent < LEAST * total:
                    continue
                yield f"        {spent / total:4.0%}  {room:<14}  {Place(loop, room).words}".rstrip()
        if len(shown) < len(loops):
            yield f"  {1 - sum(shown.values()) / total:4.0%}  others"
        if self.functions:
            yield "  functions, each with what it calls"
        for function, spent in self.functions:
            yield f"        {spent / total:4.0%}  {function}"


def write_trace(path: Path, name: str, sampler: Sampler) -> None:
    """Raises RunError where it cannot be written."""
    samples = list(sampler.samples())
    places = [_of_place(place_of(stack)) for stack in sampler.stacks]
    functions = [
        [name_of(code) for code in reversed(stack) if not code.co_filename.startswith("<frozen")]
        for stack in sampler.stacks
    ]
    rooms = {name_of(code): room_of(code) or ELSEWHERE for stack in sampler.stacks for code in stack}
    events = [
        {"name": "process_name", "ph": "M", "pid": os.getpid(), "tid": 0, "args": {"name": name}},
        *_row(ROOMS, "rooms", _events((end, places[number]) for end, number in samples), {}),
        *_row(FUNCTIONS, "functions", _events((end, functions[number]) for end, number in samples), rooms),
    ]
    content = {
        "displayTimeUnit": "ms",
        "otherData": {"summary": msgspec.to_builtins(Summary.of(sampler, name))},
        "traceEvents": events,
    }
    write_bytes(path, json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(), RunError)


def read_summary(path: Path) -> Summary | None:
    """What `write_trace` wrote; None where it was not."""
    try:
        return msgspec.convert(json.loads(path.read_bytes())["otherData"]["summary"], Summary)
    except (OSError, ValueError, LookupError):
        return None


def _longest(seconds: dict[_Key, float]) -> list[tuple[_Key, float]]:
    return sorted(seconds.items(), key=lambda entry: -entry[1])


def _of_place(place: Place) -> list[str]:
    return [place.loop] if place.loop == place.room else [place.loop, place.room]


def _row(number: int, name: str, events: Iterable[tuple[str, float, float]], rooms: dict[str, str]) -> Iterator[Any]:
    """A row of the trace: its name, then its events."""
    where = {"pid": os.getpid(), "tid": number}
    yield {"name": "thread_name", "ph": "M", **where, "args": {"name": name}}
    for function, start, end in events:
        begin = round(start * 1e6)
        yield {
            "name": function,
            "cat": rooms.get(function, "room"),
            "ph": "X",
            "ts": begin,
            "dur": round(end * 1e6) - begin,
            **where,
        }


def _events(samples: Iterable[tuple[float, Sequence[str]]]) -> Iterator[tuple[str, float, float]]:
    """Name, begin and end of all that was on a stack, the outermost first, for as long as it was there unbroken."""
    open_now: list[tuple[str, float]] = []
    last = 0.0
    for end, stack in samples:
        same = 0
        while same < min(len(open_now), len(stack)) and open_now[same][0] == stack[same]:
            same += 1
        yield from ((name, begin, last) for name, begin in reversed(open_now[same:]))
        open_now[same:] = [(name, last) for name in stack[same:]]
        last = end
    yield from ((name, begin, last) for name, begin in reversed(open_now))
