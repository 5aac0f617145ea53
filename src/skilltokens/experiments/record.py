"""run.json: what a run was, did and found, written after every lesson (docs/formats.md)."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from skilltokens.configuration import flat, plain
from skilltokens.demos.store import DemonstrationStore
from skilltokens.experiments.settings import RunSettings
from skilltokens.files import RUN_SCHEMA, read_json, write_json
from skilltokens.methods import method_of
from skilltokens.methods.base import Method, Training, count
from skilltokens.simulation.demonstrate import store_of
from skilltokens.suites import load_suite
from skilltokens.train import Record
from skilltokens.types import RunError, Suite, Task

FREE = ("evaluate.workers", "evaluate.films", "demonstrations.folder")
"""Settings that change no number of a run: they may differ when a run goes on."""


def open_run(folder: Path, settings: RunSettings[Any], recipe: str, tasks: Sequence[Task]) -> dict[str, Any]:
    """The run in a folder, or a new one.

    Raises:
        RunError: run.json is damaged, or of another configuration.
    """
    path = Path(folder) / "run.json"
    config = plain(settings)
    name, suite = method_of(settings.method), load_suite(settings.suite)
    if path.exists():
        run = read_json(path, RUN_SCHEMA, RunError)
        _check_parts(path, run)
        was, is_ = {"method": run["method"], **flat(run["config"])}, {"method": name, **flat(config)}
        check_same(folder, was, is_, FREE)
        if run["finished"]:
            _check_demonstrations(run, [store_of(suite, task, settings.demonstrations) for task in tasks])
        return run
    return {
        "schema": RUN_SCHEMA,
        "recipe": recipe,
        "method": name,
        "suite": settings.suite,
        "protocol": "A",
        "observations": "images" if any(len(f.shape) == 3 for f in suite.features.values()) else "state",
        "seed": settings.seed,
        "tasks": [{"name": task.name, "instruction": task.instruction} for task in tasks],
        "demonstrations": {},
        "evaluations": [],
        "parameters": {"base": 0, "trained": [], "total": []},
        "timing": {"train_s": [], "evaluate_s": [], "machine": machine()},
        "learning": [],
        "gradients": [],
        "reuse": [],
        "config": config,
        "versions": versions() | suite.versions(),
        "commit": commit(),
        "started": now(),
        "finished": None,
    }


_PARTS: dict[str, Any] = {
    "method": str, "config": dict, "tasks": list, "demonstrations": dict, "evaluations": list, "parameters": dict,
    "parameters.base": int, "parameters.trained": list, "parameters.total": list, "timing": dict,
    "timing.train_s": list, "timing.evaluate_s": list, "learning": list, "gradients": list, "reuse": list,
    "versions": dict, "finished": str | None,
}  # fmt: skip
_CELL = ("task", "split", "policy", "actions", "successes", "episodes", "steps")


def _check_parts(path: Path, run: dict[str, Any]) -> None:
    """Raises RunError unless all that a run needs to go on is there."""
    wrong = ""
    for name, kind in _PARTS.items():
        holder, _, key = name.rpartition(".")
        found = run[holder] if holder else run
        if key not in found or not isinstance(found[key], kind):
            wrong = f"{name!r} is missing or of another kind"
            break
    else:
        for index, cell in enumerate(run["evaluations"]):
            if not isinstance(cell, dict) or any(key not in cell for key in _CELL):
                wrong = f"evaluations[{index}] is no whole cell"
    resumed = run.get("resumed", [])
    entries = resumed if isinstance(resumed, list) else [resumed]
    if not all(isinstance(each, dict) and isinstance(each.get("versions"), dict) for each in entries):
        wrong = "'resumed' is no list of versions"
    if wrong:
        raise RunError(f"{path} is altered ({wrong}): restore it, or start the run again in a new folder")


def note_resumed(run: dict[str, Any], suite: Suite) -> str:
    """Writes down that a run goes on under another commit or other versions than before, and says which; empty where
    nothing differs."""
    was, before = dict(run["versions"]), [run, *run.get("resumed", [])]
    for each in before[1:]:
        was |= each["versions"]
    here, found = commit(), versions() | suite.versions()
    changed = {name: found.get(name) for name in sorted(was | found) if was.get(name) != found.get(name)}
    if not changed and before[-1].get("commit") == here:
        return ""
    run.setdefault("resumed", []).append({"at": now(), "commit": here, "versions": changed})
    return differences({**was, "commit": before[-1].get("commit")}, {**was, **changed, "commit": here}, ())


def write(folder: Path, run: dict[str, Any]) -> None:
    """Replaces run.json atomically."""
    write_json(Path(folder) / "run.json", run, RunError)


def _check_demonstrations(run: dict[str, Any], stores: Sequence[DemonstrationStore | None]) -> None:
    """Raises RunError where others lie now than a finished run learned from: its figures are not theirs."""
    known = run["demonstrations"].get("digest", [])
    if any(store is not None and store.digest != digest for store, digest in zip(stores, known, strict=False)):
        raise RunError(OTHERS)


OTHERS = "the demonstrations are others than those this run began with: restore them, or choose a new folder with --out"


def note_demonstrations(run: dict[str, Any], stores: Sequence[DemonstrationStore]) -> None:
    """Writes down what was learned from; a run that goes on must find the same demonstrations.

    Raises:
        RunError: they are others.
    """
    found = {
        "source": stores[0].source,
        "episodes": [store.episodes for store in stores],
        "digest": [store.digest for store in stores],
    }
    if run["demonstrations"] not in ({}, found):
        raise RunError(OTHERS)
    run["demonstrations"] = found


def note_lesson(
    run: dict[str, Any], method: Method, training: Training, record: Record, train_s: float, evaluate_s: float
) -> None:
    """Appends a lesson's parameters, losses, gradient flow, reuse of rows and times."""
    parameters = run["parameters"]
    if not parameters["trained"]:
        parameters["base"] = count(method.base)
    parameters["trained"].append(sum(parameter.numel() for parameter in training.parameters()))
    parameters["total"].append(method.stored())
    run["learning"].append({"iterations": record.iterations, "loss": [round(x, 6) for x in record.loss]})
    run["gradients"].append({"iterations": record.iterations, "layers": record.gradients})
    reuse = method.reuse()
    if reuse is not None:
        run["reuse"].append(reuse)
    run["timing"]["train_s"].append(round(train_s, 1))
    run["timing"]["evaluate_s"].append(round(evaluate_s, 1))


def same_bits(evaluations: Sequence[dict[str, Any]], entry: dict[str, Any]) -> int | None:
    """The first cell that was rolled out with the same policy, bit for bit, on the same task and states."""
    for index, other in enumerate(evaluations):
        if "same_as" not in other and all(other[k] == entry[k] for k in ("task", "split", "policy", "actions")):
            return index
    return None


def machine() -> dict[str, Any]:
    """What the figures of time depend on."""
    return {"system": platform.platform(), "processor": _processor(), "cores": os.cpu_count()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def versions(*more: str) -> dict[str, str]:
    """Versions of what the figures depend on, and of `more` packages."""
    names = (*more, "skilltokens", "torch", "numpy", "gymnasium", "sentence-transformers", "safetensors")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """The git commit of a source checkout, with a plus where files differ from it; None for an installed package."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        return head + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no", "--", "src") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def now() -> str:
    """The time in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def check_same(folder: Path, old: dict[str, Any], new: dict[str, Any], free: Sequence[str]) -> None:
    """Raises RunError unless two flat configurations are equal, but for settings in `free`, which change no number."""
    found = differences(old, new, free)
    if found:
        raise RunError(
            f"{folder} holds a run of another configuration ({found}): give these settings to go on with it, or choose "
            "a new folder with --out"
        )


def differences(old: dict[str, Any], new: dict[str, Any], free: Sequence[str]) -> str:
    """Where two flat configurations differ, but for settings in `free`: the first three, as text; empty where equal."""
    was, is_ = ({k: v for k, v in config.items() if k not in free} for config in (old, new))
    found = [f"{k} was {was.get(k)!r}, is {is_.get(k)!r}" for k in sorted(was | is_) if was.get(k) != is_.get(k)]
    return "; ".join(found[:3])
