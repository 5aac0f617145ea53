"""What a stranger gets: light imports, public names that exist, metadata that agrees with itself."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest

import skilltokens

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]

HEAVY = {"torch", "sentence_transformers", "transformers", "metaworld", "mujoco", "h5py", "gymnasium", "PIL", "jinja2"}
HEAVY |= {"libero", "robosuite", "numba", "scipy", "cv2", "matplotlib"}
"""What costs seconds or needs an extra: imported only where it is used."""


def loaded_by(code: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after `code`."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_importing_the_package_loads_nothing_but_itself():
    assert not loaded_by("import skilltokens") & {*HEAVY, "numpy", "tyro", "rich"}


@pytest.mark.parametrize(
    "module",
    [
        "types",
        "settings",
        "files",
        "demos",
        "language",
        "suites",
        "suites.libero",
        "methods",
        "metrics",
        "behaviour.settings",
        "experiments.recipes",
        "experiments.experiment",
        "experiments.records",
        "experiments.repeating",
        "configuration",
        "plugins",
        "serve",
        "cli",
        "cli.plan",
    ],
)
def test_reading_rooms_load_no_torch_and_no_simulator(module: str):
    assert not loaded_by(f"import skilltokens.{module}") & (HEAVY - {"h5py"})


def test_every_public_name_can_be_had_and_is_what_its_home_defines():
    for name in skilltokens.__all__:
        value = getattr(skilltokens, name)
        if name != "__version__":
            home = importlib.import_module(value.__module__)
            assert getattr(home, name) is value


def test_the_lazy_names_are_the_public_ones():
    assert {*skilltokens._HOMES, "__version__"} == {*skilltokens.__all__}
    assert {*skilltokens.__all__} <= {*dir(skilltokens)}


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = skilltokens.nonsense


def test_versions_agree():
    citation = (ROOT / "CITATION.cff").read_text()
    assert skilltokens.__version__ == PROJECT["version"] == metadata.version("skilltokens")
    assert f"version: {PROJECT['version']}\n" in citation
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text()


def names_in(declared: Iterable[str]) -> set[str]:
    """The distributions that requirements name."""
    return {canonical(re.split(r"[^A-Za-z0-9._-]", line)[0]) for line in declared}


def pinned(text: str) -> set[str]:
    """The distributions that a file of constraints pins."""
    assert "://" not in text
    return names_in(line for line in text.splitlines() if line.strip() and not line.startswith("#"))


def test_constraints_pin_every_declared_dependency_and_nothing_by_address():
    text = (ROOT / "constraints.txt").read_text()
    declared = [*PROJECT["dependencies"], *(d for extra in PROJECT["optional-dependencies"].values() for d in extra)]
    assert names_in(declared) <= pinned(text)
    assert re.search(r"^torch==[\d.]+$", text, re.MULTILINE), "torch without a version and a build is gigabytes of CUDA"


def test_the_lane_of_lerobot_pins_what_it_installs():
    plugin = tomllib.loads((ROOT / "plugins" / "lerobot_policy_skilltokens" / "pyproject.toml").read_text())["project"]
    assert plugin["name"].startswith("lerobot_policy_"), "LeRobot would not find it"
    (extras,) = re.findall(r'--editable "\.\[([a-z,]+)\]" --editable plugins', (ROOT / "Makefile").read_text())
    declared = [d for extra in extras.split(",") for d in PROJECT["optional-dependencies"][extra]]
    asked = names_in([*PROJECT["dependencies"], *declared, *plugin["dependencies"], "pytest", "hypothesis"])
    assert asked - {"skilltokens"} <= pinned((ROOT / "constraints-lerobot.txt").read_text())


def test_type_information_and_the_command_are_installed():
    assert (Path(skilltokens.__file__).parent / "py.typed").exists()
    (entry,) = (e for e in metadata.entry_points(group="console_scripts") if e.name == "skilltokens")
    assert entry.value == "skilltokens.cli:main"


def test_continuous_integration_runs_make_test():
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    assert "make test" in (ROOT / ".github" / "workflows" / "test.yml").read_text()


# ---------------------------------------------------------------- the order of the rooms


def layers() -> list[set[str]]:
    """The rooms from left to right, those that know nothing of each other together."""
    (contract,) = (entry for entry in PYPROJECT["tool"]["importlinter"]["contracts"] if entry["type"] == "layers")
    assert contract["exhaustive"], "a room that is not named may import anything"
    assert "ignore_imports" not in contract
    return [{room.strip() for room in layer.split("|")} for layer in reversed(contract["layers"])]


def test_the_order_of_imports_names_every_room():
    home = ROOT / "src" / "skilltokens"
    rooms = {path.stem for path in home.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    named = [room for layer in layers() for room in layer]
    assert sorted(named) == sorted(rooms - {"__init__"})


def test_contributing_prints_the_order_that_is_held():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (order,) = re.findall(r"^ {4}types -> .*(?:\n {4}-> .*)*", text, re.MULTILINE)
    printed = [{room.strip() for room in layer.split(",")} for layer in order.split("->")]
    assert printed == [layer for layer in layers() if layer != {"__main__"}]


def test_make_check_holds_the_order():
    assert re.search(r"^check:.*\n(\t.*\n)*\t\$\(BIN\)/lint-imports$", (ROOT / "Makefile").read_text(), re.MULTILINE)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
