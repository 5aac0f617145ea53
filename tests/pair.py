"""Several processes that share a training, as torchrun starts them, without torchrun, which takes seconds itself."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
from pathlib import Path

from skilltokens import distributed

ROOT = Path(__file__).parents[1]


def started(words: list[str], size: int = 2, **environment: str) -> list[subprocess.Popen[str]]:
    """`python WORDS` in so many processes, the first of which leads."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    shared = {
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "PYTHONPATH": path,
    }
    return [
        subprocess.Popen(
            [sys.executable, *words],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for rank in range(size)
    ]


def together(words: list[str], size: int = 2, **environment: str) -> list[subprocess.CompletedProcess[str]]:
    """The same, to their ends."""
    processes = started(words, size, **environment)
    said = [process.communicate() for process in processes]
    return [
        subprocess.CompletedProcess(words, process.returncode, out, err)
        for process, (out, err) in zip(processes, said, strict=True)
    ]


def work(place: str, *words: str, size: int = 2) -> list[subprocess.CompletedProcess[str]]:
    """MODULE:FUNCTION(team, *words) in so many processes."""
    return together(["-m", "tests.pair", place, *words], size)


if __name__ == "__main__":
    module, _, function = sys.argv[1].partition(":")
    distributed.PATIENCE = 3.0
    team = distributed.join()
    getattr(importlib.import_module(module), function)(team, *sys.argv[2:])
    team.end()
