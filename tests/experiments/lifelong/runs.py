"""A small run of the toy suite, and what the tests of learn() do with its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.killing import Moment

from skilltokens.experiments.lifelong import learn
from skilltokens.experiments.settings import RunSettings
from skilltokens.files import sealed
from skilltokens.locking import LOCKS

TASKS = ("reach-red", "reach-blue", "between")
Settings = RunSettings[Any]


def figures(folder: Path) -> dict[str, Any]:
    """All of a finished run but the times, the commits of the checkout that ran it, and the seal over them."""
    content = json.loads((folder / "run.json").read_text())
    assert content["finished"]
    others = ("timing", "started", "finished", "commit", "resumed", "digest")
    return {key: value for key, value in content.items() if key not in others}


def work(moment: Moment, folder: Path, settings: Settings) -> None:
    learn(settings, folder, lambda news: moment(news.stage), recipe="small")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in LOCKS
    }


def rewrite(folder: Path, **changes: Any) -> None:
    """Changes keys of a run.json and seals it anew."""
    path = folder / "run.json"
    path.write_text(json.dumps(sealed(json.loads(path.read_text()) | changes)))
