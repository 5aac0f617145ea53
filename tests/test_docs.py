"""The documentation is true: its code runs, its commands parse, its links lead somewhere, its settings exist.

Code blocks of one page run one after another in one namespace and one temporary folder. A block whose first line is a
comment with a path (`# replay/method.py`) is written there instead. Blocks of other languages are not run.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.skills.making import features, first, make_base
from tests.small import TRAIN, lessons, make_policy, teach, train

from skilltokens.behaviour.settings import AdaptSettings, PpoSettings
from skilltokens.cli import VERBS
from skilltokens.cli.options import known_options, parse
from skilltokens.cli.plan import make_plan
from skilltokens.cli.verbs import demos, hub, skills, transfer, tune
from skilltokens.demos import DemonstrationStore
from skilltokens.experiments.settings import RewardSettings, RunSettings
from skilltokens.methods import METHODS
from skilltokens.methods.examples import Examples, Source
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.methods.sequential.method import Sequential
from skilltokens.methods.t2s import T2SSettings
from skilltokens.methods.t2s_paper import T2SPaperSettings
from skilltokens.report import reference
from skilltokens.report.results import check_results
from skilltokens.report.runs import read_run
from skilltokens.skills.library import SkillLibrary

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MADE = [path for path in (ROOT / "RESULTS.md", *sorted(ROOT.glob("results/*/README.md"))) if path.is_file()]
"""Pages that are made from the runs."""
RUN_ELSEWHERE = {
    "adding-a-suite.md": "suites/test_gymnasium.py",
    "deploying.md": "deploy/test_exporting.py",
    "metrics.md": "test_metrics.py",
    "serving.md": "serve/test_page.py",
}
"""Pages whose code other tests run, and more strictly."""
BRIEF = {
    "README.md": {
        "DemonstrationSettings()": "DemonstrationSettings(episodes=2)",
        "first_iterations=500, iterations=300": "first_iterations=3, iterations=3",
        "range(10)": "range(1)",
    },
    "quickstart.md": {"first_iterations=60, iterations=60": "first_iterations=3, iterations=3"},
    "reward.md": {
        "first_iterations=600": "first_iterations=3",
        "steps=80_000": "steps=64",
        "DemonstrationSettings()": "DemonstrationSettings(episodes=2)",
        "PpoSettings()": "PpoSettings(envs=2, rollout=32, batch=64)",
        "points=5, episodes=20": "points=1, episodes=1",
    },
    "adding-a-method.md": {"first_iterations=30, iterations=30": "first_iterations=6, iterations=6"},
}
"""Numbers that cost time and nothing else, made small."""
PLUGIN = "adding-a-method.md"


class Block(NamedTuple):
    language: str
    text: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    """Fenced blocks, with the number of the line in front of their text."""
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield Block(match[1], match[2], text[: match.start(2)].count("\n"))


def has_code(page: Path) -> bool:
    return any(block.language == "python" for block in blocks(page))


def run_code(page: Path, folder: Path) -> dict[str, Any]:
    """Runs a page's Python, or writes it where its first line says; an error names the page's own line.

    Returns the names that it has defined.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    brief = dict(BRIEF.get(page.name, {}))
    for language, text, line in blocks(page):
        if path := re.match(r"# ([\w./-]+\.(?:py|toml))\n", text):
            (folder / path[1]).parent.mkdir(parents=True, exist_ok=True)
            (folder / path[1]).write_text(text)
            continue
        if language != "python":
            continue
        for long in [long for long in brief if long in text]:
            text = text.replace(long, brief.pop(long))
        exec(compile("\n" * line + text, str(page), "exec"), names)
    assert not brief, f"{page.name} no longer says {list(brief)}"
    return names


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for a page's files, from which its own modules can be imported."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize(
    "page", [p for p in PAGES if has_code(p) and p.name not in {PLUGIN, *RUN_ELSEWHERE}], ids=lambda page: page.name
)
def test_the_code_of_a_page_runs(page: Path, folder: Path):
    run_code(page, folder)


@pytest.mark.parametrize(("page", "test"), RUN_ELSEWHERE.items())
def test_what_is_left_out_here_is_run_elsewhere(page: str, test: str):
    assert page in (ROOT / "tests" / test).read_text(encoding="utf-8")


# ---------------------------------------------------------------- the plug-in


def install(folder: Path) -> None:
    """What `pip install -e .` would write for the entry points of the page's pyproject.toml."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = [
        line
        for group, entries in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {place}" for name, place in entries.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    importlib.invalidate_caches()


def try_rules(names: dict[str, Any], stores: Sequence[DemonstrationStore]) -> None:
    """Trains a second lesson by each further rule of the page: the same batches, other numbers than fine-tuning."""
    first, second = lessons(stores[:2])
    makers: dict[str, Callable[[Sequential, Examples], Any]] = {
        "Rule": lambda method, memory: names["Rule"](),
        "Springs": lambda method, memory: names["Springs"](method.base, springs_of(method), 1e3),
        "Project": lambda method, memory: names["Project"](method.base, memory, TRAIN),
        "Distil": lambda method, memory: names["Distil"](method.base, memory.words[:2], 1.0),
        "Pack": lambda method, memory: names["Pack"](method.base, owners_of(method)),
    }

    def springs_of(method: Sequential) -> dict[str, Any]:
        fisher = names["fisher_of"](method, first, windows=5)
        named = dict(method.base.named_parameters())
        anchors = {f"anchor.{name}": value.detach().clone() for name, value in named.items()}
        return anchors | {f"fisher.{name}": value for name, value in zip(named, fisher, strict=True)}

    def owners_of(method: Sequential) -> dict[str, Any]:
        return {name: (value > 0).short() for name, value in method.base.named_parameters()}

    fingerprints: dict[str, str] = {}
    for name, maker in makers.items():
        method = Sequential(make_policy(), SequentialSettings(), TRAIN, 0)
        teach(method, first)
        memory = Source(first, TRAIN).draw(np.random.default_rng(0))
        training = method.begin(second)
        training.rule = maker(method, memory)
        train(training, TRAIN)
        fingerprints[name] = method.base.fingerprint()
    assert len(set(fingerprints.values())) == len(fingerprints)


def test_the_plug_in_of_the_guide_works_from_entry_point_to_report(folder: Path, toy_stores: list[DemonstrationStore]):
    page = ROOT / "docs" / PLUGIN
    (toml,) = (block for block in blocks(page) if block.language == "toml")
    (folder / "pyproject.toml").write_text(toml.text)
    install(folder)
    (folder / "my_suite.py").write_text(
        "from tests.toy import TASKS, Toy\n\n\ndef suite():\n    return Toy(TASKS[:3])\n"
    )
    names = run_code(page, folder)
    try_rules(names, toy_stores)
    assert "replay" in (folder / "report.html").read_text()
    whole, cut = (load_file(folder / "runs" / name / "state-3.safetensors") for name in ("test", "cut"))
    assert any(name.startswith("kept.") for name in whole)
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    # Which methods the command knows is read once a process, so the commands are tried in a fresh one.
    asked = [shlex.split(command) for command in commands(page) if command.startswith("skilltokens run")]
    assert asked
    code = (
        "from skilltokens.cli import main; from skilltokens.cli.plan import make_plan; main(['list', 'methods'])\n"
        f"for words in {asked!r}: print([run.learner for run in make_plan(words[2:]).runs])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (folder, ROOT, ROOT / "src")))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "fine-tunes with replay" in done.stdout
    assert "'t2s', 'sequential', 'replay'" in done.stdout


# ---------------------------------------------------------------- commands and settings


def commands(page: Path) -> list[str]:
    """Command lines in blocks, indented or fenced, and the commands with options inside sentences."""
    text = page.read_text(encoding="utf-8")
    lines = re.findall(r"^(?: {4})?((?:skilltokens|make|python -m) .*)$", text, re.MULTILINE)
    lines += re.findall(r"`(skilltokens [a-z][^`]*)`", text)
    lines = [re.sub(r"\bMETHOD\b", "sequential", line.removesuffix(" &")) for line in lines]
    commands = [" ".join(shlex.split(line.replace("|", " "), comments=True)) if "#" in line else line for line in lines]
    # Other words in capitals stand for something too, and dots for something left out.
    return [line for line in commands if not re.search(r"\b[A-Z]{3,}\b|\.\.\.", line)]


def try_command(words: list[str]) -> None:
    """Parses a command line as the command would; raises SettingError, or exits, where that refuses it."""
    program, *rest = words
    if program == "make":
        assert re.search(rf"^{rest[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), f"no target {rest[0]}"
    elif program == "python":
        assert importlib.util.find_spec(rest[1]), f"no module {rest[1]}"
    elif rest[0] == "run":
        if rest[1:]:
            make_plan([word for word in rest[1:] if word != "--help"])
    elif rest[0] == "tune":
        if rest[1:]:
            tune.plan_of(rest[1:])
    elif rest[0] == "transfer":
        if rest[1:]:
            transfer.plan_of(rest[1:])
    elif rest[0] == "demos":
        if rest[1:]:
            parse(demos.ACTIONS[rest[1]][1], _complete(rest[1], rest[2:]), "demos")
    elif rest[0] == "hub":
        if rest[1:]:
            parse(hub.ACTIONS[rest[1]][1], rest[2:], "hub")
    elif rest[0] == "skills":
        if rest[2:]:
            parse(
                skills.ACTIONS[rest[2]][1], [word for word in rest[3:] if word != "--help"] or _named(rest[2]), "skills"
            )
    elif rest[0] == "help":
        assert rest[1] in VERBS
    elif not rest[0].startswith("--"):
        verb = importlib.import_module(f"skilltokens.cli.verbs.{rest[0]}")
        if rest[1:]:
            parse(getattr(verb, f"{rest[0].capitalize()}Options"), rest[1:], rest[0])


def _complete(action: str, words: list[str]) -> list[str]:
    """An action that is only named gets something to do."""
    return words or {"make": ["metaworld"], "import": ["a.hdf5", "store"]}.get(action, ["store"])


def _named(action: str) -> list[str]:
    """The same of an action on a library."""
    named = dataclasses.fields(skills.ACTIONS[action][1])
    return ["some", "other"][: sum(field.default is dataclasses.MISSING for field in named)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_can_be_parsed(page: Path, tmp_path: Path):
    library = SkillLibrary.create(tmp_path / "library", make_base(), first(), features(), "minilm").folder
    for command in commands(page):
        if "replay" in command and page.name == PLUGIN:
            continue  # needs the plug-in: tried above
        try:
            # What an earlier command would have left: a library, of which a plan reads all, and runs.
            left_before = {"--base": library, "--resume": ROOT / "results" / "metaworld-cw10"}
            for option, folder in left_before.items():
                command = re.sub(rf"(?<={option} )\S+", str(folder), command)
            try_command(shlex.split(command))
        except (Exception, SystemExit) as problem:
            pytest.fail(f"{page.name}: `{command}`: {problem}")


@pytest.mark.parametrize(("page", "example"), [("lerobot.md", "arm"), ("attached-lerobot.md", "attached")])
def test_the_story_of_a_lerobot_page_is_the_script_that_its_lane_runs(page: str, example: str):
    story = (ROOT / "examples" / example / "story.sh").read_text()
    assert story in [block.text for block in blocks(ROOT / "docs" / page) if block.language == "bash"]


def test_settings_that_are_named_exist():
    methods = [RunSettings(method=registration.settings()) for registration in METHODS.values()]
    kinds = [*(("", kind) for kind in methods), ("adapt.", AdaptSettings()), ("ppo.", PpoSettings())]
    known = {name.removeprefix("--") for prefix, kind in kinds for name in known_options(kind, prefix)}
    pattern = re.compile(r"`(?:--)?((?:policy|train|evaluate|demonstrations|cotrain|method|adapt|ppo)\.[a-z_-]+)")
    named = {(page.name, name) for page in PAGES for name in pattern.findall(page.read_text(encoding="utf-8"))}
    assert len(named) > 5
    strange = {
        (page, name)
        for page, name in named
        if name.replace("_", "-") not in known
        and name.rpartition(".")[2] not in ("py", "fit")
        and not hasattr(torch.nn.Module, name.rpartition(".")[2])  # `policy.train()` of a page on torch's modules
    }
    assert not strange


@pytest.mark.parametrize(
    ("section", "settings"),
    [("What we added", T2SSettings), ("T2S as the paper describes it", T2SPaperSettings)],
)
def test_the_tables_of_t2s_settings_have_their_defaults(section: str, settings: type[Any]):
    text = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    text = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", text, re.MULTILINE))
    defaults = {field.name: field.default for field in dataclasses.fields(settings)}
    assert {name: value.strip('"') for name, value in rows.items()} == {
        name: str(value) for name, value in defaults.items()
    }


# ---------------------------------------------------------------- links and results


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*PAGES, *MADE], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(place), f"{page.name}: {target}"


def test_the_page_of_all_settings_is_that_of_the_code():
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == reference.page(), "run `make settings`"


def test_the_page_of_all_settings_names_every_option_of_every_method():
    named = {f"--{name}" for name in re.findall(r"^\| `([\w.-]+)` \|", reference.page(), re.MULTILINE)}
    for registration in METHODS.values():
        assert set(known_options(RunSettings(method=registration.settings()))) <= named
    assert set(known_options(RewardSettings())) <= named


def test_the_ideas_of_transfer_have_the_figures_of_their_runs():
    page = (ROOT / "docs" / "transfer.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .* \| (\S+) \| (\S+) \| (\d) \| `(\S+)` \|$", page, re.MULTILINE)
    assert len(rows) > 10
    for final, area, seeds, cell in rows:
        paths = sorted((ROOT / "results" / "metaworld-few-ablations").glob(f"{cell}-episodes5-seed*/run.json"))
        figures = [figures for path in paths if (figures := read_run(path).figures) is not None]
        assert len(figures) == int(seeds), cell
        assert float(final) == pytest.approx(np.mean([one.final for one in figures]), abs=6e-4), cell
        assert float(area) == pytest.approx(np.mean([one.fwt or 0.0 for one in figures]), abs=6e-4), cell


def test_the_table_of_active_rows_has_the_figures_of_its_runs():
    page = (ROOT / "docs" / "transfer.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (0\.\d) \| (0\.\d{3}) \| (0\.\d{3}) \| (0\.\d{3}) \|$", page, re.MULTILINE)
    assert len(rows) == 4
    for mu, *finals in rows:
        for active, final in zip(("0.25", "0.5", "0.75"), finals, strict=True):
            run = read_run(ROOT / "results" / "transfer-rows" / f"t2s-paper-mu{mu}-active{active}-seed0")
            assert run.figures is not None
            assert float(final) == pytest.approx(run.figures.final, abs=6e-4), run.path


def test_the_table_of_budgets_is_that_of_the_runs():
    page = (ROOT / "docs" / "transfer.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) % \| (0\.\d{3}) \| (0\.\d{3}) \|$", page, re.MULTILINE)
    assert [int(share) for share, _, _ in rows] == [3, 4, 8, 16]
    for share, *finals in rows:
        for method, final in zip(("t2s", "lora"), finals, strict=True):
            run = read_run(ROOT / "results" / "transfer-budget" / f"{method}-share{int(share) / 100:g}-seed0")
            assert run.figures is not None
            assert float(final) == pytest.approx(run.figures.final, abs=6e-4), run.path


def test_published_figures_are_those_of_the_runs():
    if not any((ROOT / "results").rglob("run.json")):
        assert not (ROOT / "RESULTS.md").exists()
        return
    check_results(ROOT / "results")


def test_the_table_of_skills_beside_act_is_that_of_the_runs():
    page = (ROOT / "docs" / "attached.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `(attached_\w+)` \| (0\.\d{3}) [^|]* \| (0\.\d{3}) [^|]* \| [\d.]+ % \|$", page, re.MULTILINE
    )
    assert len(rows) == 5
    for method, *finals in rows:
        for episodes, final in zip((5, 20), finals, strict=True):
            names = [f"{method}-act-episodes{episodes}-seed{seed}" for seed in range(3)]
            figures = [read_run(ROOT / "results" / "attached" / name).figures for name in names]
            mean = sum(figure.final for figure in figures if figure is not None) / 3
            assert float(final) == pytest.approx(mean, abs=6e-4), method
