"""What the Hugging Face Hub has of LIBERO's published demonstrations: which files, how large, with which SHA-256.

The repository holds one folder a suite: libero_goal/put_the_bowl_on_the_plate_demo.hdf5.
"""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from skilltokens.types import DemonstrationError, SettingError, nearest

REPOSITORY = "yifengzhu-hf/LIBERO-datasets"
ENDING = "_demo.hdf5"
SUITES = ("libero-spatial", "libero-object", "libero-goal", "libero-10", "libero-90")
PATIENCE = 30.0
"""Seconds without an answer, or a byte of it, that count as a failure."""


@dataclass(frozen=True)
class Remote:
    """One file at the Hub: its suite and task, path in the repository, bytes, and SHA-256 in hex."""

    suite: str
    task: str
    path: str
    size: int
    sha256: str


class Hub:
    """A repository of LIBERO's demonstrations at one commit.

    Args:
        repository: its name, OWNER/NAME; a data set.
        revision: a branch, tag or commit.
        endpoint: the Hub's address; None takes HF_ENDPOINT, or else https://huggingface.co.

    Attributes:
        files: what there is, by suite and task.

    Raises:
        SettingError: the endpoint is no address.
        DemonstrationError: huggingface_hub is missing, the Hub cannot be reached, or there is no such repository.
    """

    def __init__(self, repository: str = REPOSITORY, revision: str = "main", endpoint: str | None = None) -> None:
        if endpoint is not None and not endpoint.startswith(("http://", "https://")):
            raise SettingError(f"{endpoint!r} is no address of a Hub: it begins with https://")
        try:
            from huggingface_hub import HfApi, constants, hf_hub_url
            from huggingface_hub.utils import build_hf_headers
        except ImportError as problem:
            raise DemonstrationError(
                'downloading needs huggingface_hub: run `pip install "skilltokens[hub]"`'
            ) from problem
        self.repository, self.endpoint = repository, (endpoint or constants.ENDPOINT).rstrip("/")
        try:
            found = HfApi(endpoint=self.endpoint).dataset_info(
                repository, revision=revision, files_metadata=True, timeout=PATIENCE
            )
        except Exception as problem:
            raise DemonstrationError(_unreachable(problem, repository, revision, self.endpoint)) from problem
        self.files = tuple(sorted(_remotes(repository, found.siblings or ()), key=lambda file: file.path))
        commit = found.sha or revision
        self._url = lambda path: hf_hub_url(
            repository, path, repo_type="dataset", revision=commit, endpoint=self.endpoint
        )
        self._headers = {name.lower(): text for name, text in build_hf_headers().items()}

    def choose(self, suite: str, tasks: Sequence[str] = ()) -> list[Remote]:
        """The files of `suite`, or of `tasks` of it, in that order.

        Raises:
            SettingError: there is no such suite or task.
        """
        if suite not in SUITES:
            raise SettingError(f"people demonstrated no suite {suite!r}: {nearest(suite, SUITES)}")
        there = {file.task: file for file in self.files if file.suite == suite}
        if not there:
            raise SettingError(f"{self.repository} has no files of {suite}: choose another repository")
        for task in tasks:
            if task not in there:
                raise SettingError(f"{self.repository} has no task {task!r} of {suite}: {nearest(task, list(there))}")
        return [there[task] for task in dict.fromkeys(tasks or there)]

    def open(self, file: Remote, offset: int) -> Any:
        """The file's bytes from `offset` on, as a response of urllib."""
        request = urllib.request.Request(self._url(file.path))
        for name, text in self._headers.items():
            # The token is for the Hub alone, and not for the store that it sends us on to.
            add = request.add_unredirected_header if name == "authorization" else request.add_header
            add(name, text)
        request.add_header("Accept-Encoding", "identity")
        if offset:
            request.add_header("Range", f"bytes={offset}-")
        return urllib.request.urlopen(request, timeout=PATIENCE)


def _remotes(repository: str, siblings: Sequence[Any]) -> Iterator[Remote]:
    known = {suite.replace("-", "_"): suite for suite in SUITES}
    for entry in siblings:
        place = PurePosixPath(entry.rfilename)
        if len(place.parts) != 2 or place.parts[0] not in known or not place.name.endswith(ENDING):
            continue
        if entry.lfs is None or not entry.size or not re.fullmatch(r"[0-9a-f]{64}", entry.lfs.sha256):
            raise DemonstrationError(
                f"{repository} gives no SHA-256 of {place}, so it could not be checked: choose another repository"
            )
        yield Remote(known[place.parts[0]], place.name.removesuffix(ENDING), str(place), entry.size, entry.lfs.sha256)


def _unreachable(problem: Exception, repository: str, revision: str, endpoint: str) -> str:
    """One sentence about what huggingface_hub raised; its classes move between versions, so their names are asked."""
    kinds = {kind.__name__ for kind in type(problem).__mro__}
    login = "log in with `hf auth login`"
    if "OfflineModeIsEnabled" in kinds:
        return "HF_HUB_OFFLINE is set: unset it to download demonstrations"
    if "GatedRepoError" in kinds:
        return f"{repository} asks for consent: give it at {endpoint}/datasets/{repository} and {login}"
    if "RepositoryNotFoundError" in kinds:
        return f"{endpoint} has no public data set {repository!r}: check its name, or {login}"
    if "RevisionNotFoundError" in kinds:
        return f"{repository} has no revision {revision!r}: check its name"
    if "HFValidationError" in kinds:
        return f"{repository!r} cannot name a repository: it is OWNER/NAME"
    said = next(iter(str(problem).splitlines()), "") or type(problem).__name__
    return f"{endpoint} could not be reached ({said[:160]}): check the connection, or name a mirror with --endpoint"
