"""LIBERO's results: the matrix of success rates that its `lifelong/main.py` saves as result.pt, or that matrix alone.

`S_conf_mat` (K, K) holds the rate on task k after lesson t in row t, 0 where nothing was tested. LIBERO keeps rates
alone, so the number of episodes comes from `eval.n_eval` of the config.json beside it, or is said. `S_fwd` is a mean
over a learning curve and not a count; the curves themselves lie beside result.pt as task<k>_auc.log, and are read where
they are there. LIBERO goes on with its best checkpoint, which is the one tested at the end of a lesson here.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skilltokens.experiments.foreign.counting import cell_of, count_of, without_counts
from skilltokens.experiments.foreign.facts import Facts, facts_of, merged, record_of, tasks_said
from skilltokens.experiments.records import Cell, LifelongRecord
from skilltokens.files import parse_json, read_bytes
from skilltokens.types import RunError

SCHEMA = "libero.result"
MATRIX = "S_conf_mat"
MOST = 1000
"""Tasks of a matrix: more are no lifelong run, and a damaged header may claim any number."""


def read(path: Path, said: Mapping[str, str]) -> list[LifelongRecord]:
    """The one run in a result.pt, an .npz with S_conf_mat, or an .npy that is this matrix.

    Raises:
        RunError: it is missing, damaged, without the matrix, or nobody says of how many episodes its rates are.
    """
    facts = facts_of(merged(said, _beside(path)), path)
    matrix = _matrix(path)
    if facts.episodes is None:
        raise without_counts(path)
    names = tasks_said(facts)
    if names is None or len(names) != len(matrix):
        known = "" if names is None else f", and {len(names)} are said"
        raise RunError(
            f"{path} has {len(matrix)} tasks without names{known}: say them, as {path}:suite=libero-goal for a "
            "suite in its own order, or tasks=NAME+NAME+..."
        )
    rows = _tested(matrix, path)
    joint = rows == {len(matrix) - 1} and len(matrix) > 1
    cells = _cells(facts, matrix, rows, path) + ([] if joint else _curves(facts, matrix, path))
    return [record_of(facts, SCHEMA, names, cells, path, ordered=True, first=len(matrix) if joint else 1)]


def _cells(facts: Facts, matrix: NDArray[np.float64], rows: set[int], path: Path) -> list[Cell]:
    episodes = facts.episodes or 0
    return [
        cell_of(facts, k, t, count_of(float(matrix[t, k]), episodes, f"in row {t + 1}", path), episodes)
        for t in sorted(rows)
        for k in range(t + 1)
    ]


def _tested(matrix: NDArray[np.float64], path: Path) -> set[int]:
    """The lessons after which there were tests. A row of nothing but 0 may be a lesson that was never reached.

    Raises:
        RunError: the run may be unfinished, which the file cannot say.
    """
    filled = {t for t in range(len(matrix)) if matrix[t].any()}
    last = len(matrix) - 1
    if filled == {last}:
        return {last}  # LIBERO's Multitask tests once, after all
    if last not in filled:
        raise RunError(
            f"{path} has nothing but 0 in its last row: it is unfinished, or nothing was left in the end; write the "
            "tests that there were as a .csv (docs/compare.md)"
        )
    return set(range(len(matrix)))


def _curves(facts: Facts, matrix: NDArray[np.float64], path: Path) -> list[Cell]:
    """The points of the learning curves before the end of each lesson, where the logs are there."""
    cells: list[Cell] = []
    for k in range(len(matrix)):
        log = path.parent / f"task{k}_auc.log"
        if path.suffix != ".pt" or not log.is_file():
            continue
        rates = _array(_loaded(log).get("success"), log)
        if rates.ndim != 1 or len(rates) < 2:
            raise RunError(f"{log} holds no learning curve: restore it, or take it away")
        for point, rate in enumerate(rates[:-1]):
            successes = count_of(float(rate), facts.episodes or 0, f"at point {point}", log)
            cells.append(cell_of(facts, k, k, successes, facts.episodes or 0, point / (len(rates) - 1)))
    return cells


def _beside(path: Path) -> dict[str, str]:
    """What LIBERO's config.json in the same folder says; nothing where there is none."""
    config = path.parent / "config.json"
    if path.suffix != ".pt" or not config.is_file():
        return {}
    content = parse_json(read_bytes(config, RunError), config, RunError)
    said = {
        "method": _at(content, "lifelong", "algo"),
        "seed": _at(content, "seed"),
        "episodes": _at(content, "eval", "n_eval"),
        "horizon": _at(content, "eval", "max_steps"),
        "batch": _at(content, "train", "batch_size"),
        "window": _at(content, "data", "seq_len"),
    }
    if _at(content, "data", "task_order_index") == 0:  # other orders are LIBERO's own: their tasks must be said
        suite = _at(content, "benchmark_name")
        said["suite"] = suite.lower().replace("_", "-") if isinstance(suite, str) else None
    return {key: str(value) for key, value in said.items() if isinstance(value, str | int | float)}


def _at(content: Any, *keys: str) -> Any:
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def _matrix(path: Path) -> NDArray[np.float64]:
    if path.suffix == ".pt":
        content: Any = _loaded(path).get(MATRIX)
    else:
        content = _numpy(path)
    matrix = _array(content, path)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not 0 < len(matrix) <= MOST:
        raise RunError(
            f"{path} has a {MATRIX} of shape {matrix.shape} where (tasks, tasks) is needed: is it the right file?"
        )
    return matrix


def _array(content: Any, path: Path) -> NDArray[np.float64]:
    if not isinstance(content, np.ndarray) or content.dtype.kind not in "fiu":
        raise RunError(
            f"{path} holds no {MATRIX}, the matrix of success rates that LIBERO saves: is it the right file?"
        )
    array = content.astype(np.float64)
    if not np.isfinite(array).all():
        raise RunError(f"{path} has success rates that are no numbers: restore it")
    return array


def _numpy(path: Path) -> Any:
    """An .npy, or the matrix in an .npz; what would need unpickling is refused."""
    try:
        content = np.load(io.BytesIO(read_bytes(path, RunError)), allow_pickle=False)
        if isinstance(content, np.lib.npyio.NpzFile):
            return content[MATRIX] if MATRIX in content.files else None
        return content
    except Exception as problem:  # NumPy reads headers by Python's own parser: damage raises anything
        raise RunError(f"{path} is truncated or altered, or needs unpickling, which runs code: restore it") from problem


def _loaded(path: Path) -> dict[str, Any]:
    """The dict in a file of torch.save, read without running any code: tensors, numbers, lists and NumPy's arrays."""
    import torch
    from numpy._core import multiarray

    rebuilt: list[Any] = [np.ndarray, np.dtype, np.dtypes.Float64DType, np.dtypes.Float32DType]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):  # NumPy 1 and 2
        rebuilt += [(multiarray._reconstruct, f"{module}._reconstruct"), (multiarray.scalar, f"{module}.scalar")]
    content = read_bytes(path, RunError)
    try:
        with torch.serialization.safe_globals(rebuilt):
            loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as problem:  # torch raises what a damaged archive makes of it: anything
        raise RunError(
            f"{path} is truncated or altered, or holds objects that only running its code would load: save {MATRIX} "
            "with numpy.save, and give that"
        ) from problem
    if not isinstance(loaded, dict):
        raise RunError(
            f"{path} holds no {MATRIX}, the matrix of success rates that LIBERO saves: is it the right file?"
        )
    return {str(key): value.numpy() if isinstance(value, torch.Tensor) else value for key, value in loaded.items()}
