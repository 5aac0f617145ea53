"""LIBERO's published demonstrations at the Hugging Face Hub: names, sizes and SHA-256 of the files.

The repository has one folder for each suite: libero_goal/put_the_bowl_on_the_plate_demo.hdf5.
"""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from skilltokens.exchange.access import PATIENCE, hub_api, sentence
from skilltokens.types import DemonstrationError, SettingError, nearest

REPOSITORY = "yifengzhu-hf/LIBERO-datasets"
ENDING = "_demo.hdf5"
SUITES = ("libero-spatial", "libero-object", "libero-goal", "libero-10", "libero-90")


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
        repository: the name of a data set, OWNER/NAME.
        revision: a branch, tag or commit.
        endpoint: the Hub's address; None takes HF_ENDPOINT, or else https://huggingface.co.

    Attributes:
        files: its demonstrations, sorted by path.

    Raises:
        SettingError: the endpoint is no address.
        DemonstrationError: huggingface_hub is missing, the Hub cannot be reached, or there is no such repository.
    """

    def __init__(self, repository: str = REPOSITORY, revision: str = "main", endpoint: str | None = None) -> None:
        api = hub_api(endpoint, DemonstrationError)
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers

        self.repository, self.endpoint = repository, api.endpoint
        try:
            repository_info = api.dataset_info(repository, revision=revision, files_metadata=True, timeout=PATIENCE)
        except Exception as problem:
            raise DemonstrationError(sentence(problem, repository, revision, api.endpoint, "dataset")) from problem
        self.files = tuple(sorted(_remotes(repository, repository_info.siblings or ()), key=lambda file: file.path))
        commit = repository_info.sha or revision
        self._url = lambda path: hf_hub_url(
            repository, path, repo_type="dataset", revision=commit, endpoint=self.endpoint
        )
        self._headers = {name.lower(): text for name, text in build_hf_headers().items()}

    def choose(self, suite: str, tasks: Sequence[str] = ()) -> list[Remote]:
        """The files of `suite`: of all its tasks, or of `tasks` in that order.

        Raises:
            SettingError: there is no such suite or task.
        """
        if suite not in SUITES:
            raise SettingError(f"people demonstrated no suite {suite!r}: {nearest(suite, SUITES)}")
        by_task = {file.task: file for file in self.files if file.suite == suite}
        if not by_task:
            raise SettingError(f"{self.repository} has no files of {suite}: choose another repository")
        for task in tasks:
            if task not in by_task:
                raise SettingError(f"{self.repository} has no task {task!r} of {suite}: {nearest(task, list(by_task))}")
        return [by_task[task] for task in dict.fromkeys(tasks or by_task)]

    def open(self, file: Remote, offset: int) -> Any:
        """The file's bytes from number `offset` to the end, as urllib's response."""
        request = urllib.request.Request(self._url(file.path))
        for name, text in self._headers.items():
            # The token is for the Hub alone, not for the file server that it redirects to.
            add = request.add_unredirected_header if name == "authorization" else request.add_header
            add(name, text)
        request.add_header("Accept-Encoding", "identity")
        if offset:
            request.add_header("Range", f"bytes={offset}-")
        return urllib.request.urlopen(request, timeout=PATIENCE)


def _remotes(repository: str, siblings: Sequence[Any]) -> Iterator[Remote]:
    known = {suite.replace("-", "_"): suite for suite in SUITES}
    for entry in siblings:
        path = PurePosixPath(entry.rfilename)
        if len(path.parts) != 2 or path.parts[0] not in known or not path.name.endswith(ENDING):
            continue
        if entry.lfs is None or not entry.size or not re.fullmatch(r"[0-9a-f]{64}", entry.lfs.sha256):
            raise DemonstrationError(
                f"{repository} gives no SHA-256 of {path}, so it could not be checked: choose another repository"
            )
        yield Remote(known[path.parts[0]], path.name.removesuffix(ENDING), str(path), entry.size, entry.lfs.sha256)
