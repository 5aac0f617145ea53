"""What may be named in a comparison, found and read: runs, published experiments, comparisons, and others' results.

runs/demo                                a run's folder, or a folder of such folders
runs/new:method=new                      the same under a name of its own, as to compare two states of one method
metaworld-cw10                           a published experiment: a folder below ./results
all.json                                 a comparison that somebody wrote with `compare --out all.json`
eval_info.json:suite=libero-goal,seed=1  others' results, with what they do not say themselves
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from skilltokens.experiments.foreign import NAMES, read_foreign
from skilltokens.experiments.published import PUBLISHED, published_names
from skilltokens.experiments.reading import LIFELONG, REWARD
from skilltokens.files import COMPARISON_SCHEMA, parse_json, read_bytes
from skilltokens.methods import method_names
from skilltokens.report.comparison.tournament import read_tournament
from skilltokens.report.runs import Run, read_run, run_of
from skilltokens.types import RunError, natural, nearest

_SAID = re.compile(r"(?P<file>.+?):(?P<said>[a-z_]+=[^,]*(?:,[a-z_]+=[^,]*)*)", re.DOTALL)


def read_entries(words: Sequence[str]) -> list[Run]:
    """Every run that is named, or lies in or below a folder that is named, each file once.

    Raises:
        RunError: nothing was named, there is nothing at one of the paths, different things are said of one file, or a
            file cannot be read.
    """
    if not words:
        raise RunError("no run was named: give run folders, such as runs/demo")
    files: dict[Path, tuple[Path, Mapping[str, str]]] = {}
    for word in words:
        path, said = _named(word)
        for file in _files(path):
            known = files.setdefault(file.resolve(), (file, said))
            if known[1] != said:
                raise RunError(f"{file} is named twice, and other things are said of it: name it once")
    return [run for file, said in files.values() for run in _runs(file, said)]


def _named(word: str) -> tuple[Path, dict[str, str]]:
    """The path that a word means, and what is said behind it."""
    if os.path.lexists(word):
        return Path(word), {}
    match = _SAID.fullmatch(word)
    path = Path(match["file"]) if match else Path(word)
    said = dict(part.split("=", 1) for part in match["said"].split(",")) if match else {}
    if not os.path.lexists(path) and path.name == str(path) and os.path.isdir(PUBLISHED / path):
        return PUBLISHED / path, said
    if not os.path.lexists(path):
        raise RunError(f"{path} does not exist{_hint(path)}")
    return path, said


def _hint(path: Path) -> str:
    names = published_names()
    if path.name != str(path) or not names:
        return ": check the path"
    return f", neither here nor as a published experiment below {PUBLISHED}: {nearest(str(path), names)}"


def _files(path: Path) -> list[Path]:
    """The results at a path. Hidden folders are files that a killed process did not finish."""
    if not os.path.isdir(path):
        return [path]
    below = [file for name in ("run.json", *NAMES) for file in path.rglob(name)]
    files = [file for file in below if not any(part.startswith(".") for part in file.relative_to(path).parts)]
    if not files:
        raise RunError(f"{path} holds no run.json, {' and no '.join(NAMES)}: give a run folder, or a folder of those")
    return sorted(files, key=_rank)


def _rank(run: Path) -> tuple[int, list[str | int]]:
    """The order of runs in a folder: methods as `skilltokens list` has them, then seeds by number."""
    names = method_names()
    method = run.parent.name.partition("-seed")[0]
    return names.index(method) if method in names else len(names), natural(str(run))


def _runs(path: Path, said: Mapping[str, str]) -> list[Run]:
    schema = _schema(path)
    if schema in (*LIFELONG, *REWARD, COMPARISON_SCHEMA) and set(said) - ({"method"} if schema in LIFELONG else set()):
        raise RunError(f"{path} says itself what it is: only method=NAME, for a run, can be said behind it")
    if schema in REWARD:
        raise RunError(
            f"{path} is of learning from reward, which has no lessons to compare: `skilltokens report` shows it"
        )
    if schema == COMPARISON_SCHEMA:
        return read_tournament(path)
    if schema in LIFELONG or path.name == "run.json":
        return [_called(read_run(path), said.get("method", ""))]
    return [run_of(record, path) for record in read_foreign(path, said)]


def _called(run: Run, name: str) -> Run:
    """A run under another name than its method's: the same method by another program, say."""
    return run_of(msgspec.structs.replace(run.record, method=name), run.path) if name else run


def _schema(path: Path) -> str:
    """The schema that a JSON file bears; empty where it is another file, or JSON of others."""
    if path.suffix.lower() != ".json":
        return ""
    content = parse_json(read_bytes(path, RunError), path, RunError)
    schema = content.get("schema") if isinstance(content, dict) else None
    if isinstance(schema, str) and schema.startswith("skilltokens."):
        return schema
    return ""
