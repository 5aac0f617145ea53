"""`python -m benchmarks.story`: the story of docs/library.md, command by command, and what it counted.

Writes results/library/story.json and the paragraph of figures into the page; `--check` compares the two alone.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from skilltokens.experiments.provenance import commit, now, versions
from skilltokens.files import read_json, write_json
from skilltokens.machine import processor
from skilltokens.skills.library import SkillLibrary

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "library.md"
RESULTS = ROOT / "results" / "library" / "story.json"
SCHEMA = "skilltokens.story/1"
BEGIN, END = "<!-- story:begin -->", "<!-- story:end -->"
DIFFERS = 1
"""The exit status of `skills ... diff` where two libraries differ."""


def commands(page: str) -> list[str]:
    """The commands of the page's story."""
    story = page.partition("## A story")[2].partition("\n## ")[0]
    return re.findall(r"^    (.+)$", story, re.MULTILINE)


def tell(folder: Path) -> dict[str, Any]:
    """Runs the story in a folder; a command that was run there before is not run again."""
    steps: list[dict[str, Any]] = []
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    bits: dict[str, str] = {}
    for command in commands(PAGE.read_text(encoding="utf-8")):
        begun = time.perf_counter()
        done = subprocess.run(
            command,
            shell=True,
            cwd=folder,
            text=True,
            capture_output=True,
            check=False,
            env={**os.environ, "PATH": path},
        )
        seconds = round(time.perf_counter() - begun, 1)
        print(f"$ {command}\n{done.stdout}{done.stderr if done.returncode else ''}", flush=True)
        if done.returncode not in ((0, DIFFERS) if " diff " in command else (0,)):
            raise SystemExit(f"the story stops at `{command}`: {done.stderr.strip().splitlines()[-1]}")
        steps.append({"command": command, "status": done.returncode, "seconds": seconds, "says": done.stdout})
        bits |= {name: print_ for name, print_ in _bits(folder).items() if name not in bits}
    library = SkillLibrary.open(folder / "library")
    now_bits = _bits(folder)
    counts = {
        record.name: {key: record.about().get(key) for key in ("successes", "episodes", "split")}
        for record in library.records
    }
    return {
        "schema": SCHEMA,
        "command": "python -m benchmarks.story",
        "finished": now(),
        "commit": commit(),
        "versions": versions(),
        "machine": {"processor": processor(), "cores": os.cpu_count()},
        "steps": steps,
        "successes": counts,
        "unchanged": {name: now_bits[name] == value for name, value in bits.items() if name in now_bits},
    }


def _bits(folder: Path) -> dict[str, str]:
    """SHA-256 of the policy of each skill's first version, as the library has it now."""
    if not (folder / "library" / "library.json").exists():
        return {}
    library = SkillLibrary.open(folder / "library")
    records = [*library.state.older, *library.records]
    return {f"{r.name}@{r.version}": library.policy_of_record(r).fingerprint() for r in records}


def paragraph(results: dict[str, Any]) -> str:
    """What the page says of the story's figures."""
    says = {step["command"]: step["says"] for step in results["steps"]}
    counts = ", ".join(
        f"{name} {about['successes']} of {about['episodes']}"
        for name, about in results["successes"].items()
        if about["episodes"]
    )
    proved = says["skilltokens skills library verify --actions"].count("bit for bit")
    same = sum(results["unchanged"].values())
    minutes = sum(step["seconds"] for step in results["steps"]) / 60
    day, command = results["finished"][:10], results["command"]
    return (
        f"Run on {day} by `{command}`, in {minutes:.0f} minutes: successes on test states {counts}. {same} of "
        f"{len(results['unchanged'])} skills and versions have the same policy, bit for bit, as when they were "
        f"learned, and `verify --actions` proved {proved}. The whole transcript is in "
        "[results/library/story.json](../results/library/story.json)."
    )


def with_figures(page: str, results: dict[str, Any]) -> str:
    """The page with the paragraph in its place."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{paragraph(results)}\n{END}{rest.partition(END)[2]}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.story", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/story"), help="where it is run; made anew")
    parser.add_argument("--check", action="store_true", help="compare the page with the results alone")
    options = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    if options.check:
        results = read_json(RESULTS, SCHEMA)
        raise SystemExit(0 if with_figures(page, results) == page else f"{PAGE} is not what {RESULTS} says")
    shutil.rmtree(options.folder, ignore_errors=True)
    options.folder.mkdir(parents=True)
    results = tell(options.folder)
    write_json(RESULTS, results)
    PAGE.write_text(with_figures(page, results), encoding="utf-8")


if __name__ == "__main__":
    main()
