"""A repository of the Hugging Face Hub at one commit: what is in it, its files, and one commit on top of it."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skilltokens.exchange.access import PATIENCE, hub_api, sentence
from skilltokens.types import HubError, Progress, Report, SettingError, silent

SMALL = 8 << 20
"""Bytes up to which files are downloaded several at a time: threads end only with their file, also after Ctrl-C."""
AT_ONCE = 8
"""Small files that are downloaded at a time."""
GROUP = 20
"""Files that are uploaded between two pieces of news."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository: its bytes, and the SHA-256 of its content, or of small files git's name for it."""

    size: int
    sha256: str | None
    blob: str

    def is_same(self, size: int, sha256: str | None, content: Callable[[], bytes]) -> bool:
        """Whether it holds what is here; `content` reads that, where it must be looked at."""
        if size != self.size:
            return False
        if self.sha256 is not None:
            return self.sha256 == (sha256 or hashlib.sha256(content()).hexdigest())
        return self.blob == hashlib.sha1(b"blob %d\0" % size + content()).hexdigest()


class Repository:
    """A repository of models at one commit.

    Args:
        name: OWNER/NAME.
        revision: a branch, tag or commit.
        endpoint: the Hub's address; None takes HF_ENDPOINT, or else https://huggingface.co.
        token: None takes HF_TOKEN, or that of `hf auth login`.

    Attributes:
        commit: None where there is no such repository, or none that this user may see.
        files: by path.
        card: the metadata of its model card.
        private: whether it is; None where there is none.

    Raises:
        SettingError: the name or the endpoint is none.
        HubError: huggingface_hub is missing, or the Hub cannot be reached or refuses.
    """

    def __init__(
        self, name: str, revision: str = "main", endpoint: str | None = None, token: str | None = None
    ) -> None:
        check_repository(name)
        self.name, self.revision = name, revision
        self._api = hub_api(endpoint, HubError, token)
        self.commit: str | None = None
        self.files: dict[str, RemoteFile] = {}
        self.card: dict[str, Any] = {}
        self.private: bool | None = None
        self._missing: Exception | None = None
        self._look()

    @property
    def address(self) -> str:
        """Its page."""
        return f"{self._api.endpoint}/{self.name}"

    def _look(self) -> None:
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
        from huggingface_hub.hf_api import RepoFile

        with self._speaking():
            try:
                about = self._api.model_info(self.name, revision=self.revision, timeout=PATIENCE)
            except GatedRepoError:
                raise
            except RepositoryNotFoundError as problem:
                self._missing = problem
                return
            card, self.private = about.card_data, about.private
            self.card = {} if card is None else dict(card.to_dict())
            entries = list(self._api.list_repo_tree(self.name, recursive=True, revision=about.sha))
        self.commit = about.sha
        for entry in entries:
            if isinstance(entry, RepoFile):
                sha256 = None if entry.lfs is None else entry.lfs.sha256
                self.files[entry.path] = RemoteFile(entry.size, sha256, entry.blob_id)

    def needed(self) -> None:
        """Raises HubError where there is no such repository."""
        if self._missing is not None and self.commit is None:
            with self._speaking():
                raise self._missing

    # ---------------------------------------------------------------- reading

    def download(self, paths: Collection[str], folder: Path, report: Report = silent) -> None:
        """Downloads files to their paths below a folder, which must be empty or hold what was downloaded before.

        Args:
            paths: names that the caller has checked; none leads out of the folder.
            report: gets the progress in files; its share is that of the bytes.

        Raises:
            HubError: one is not there, or the Hub cannot be reached or refuses.
        """
        self.needed()
        from huggingface_hub import hf_hub_download

        total, done, count = sum(self.files[path].size for path in paths), 0, 0

        def fetch(path: str) -> str:
            hf_hub_download(
                self.name,
                path,
                revision=self.commit,
                local_dir=folder,
                endpoint=self._api.endpoint,
                token=self._api.token,
            )
            return path

        def tell(path: str) -> None:
            nonlocal done, count
            done, count = done + self.files[path].size, count + 1
            report(Progress("download", count, len(paths), path, {"overall": done / max(total, 1)}))

        small = [path for path in paths if self.files[path].size <= SMALL]
        with self._speaking():
            for path in paths:
                if path not in small:
                    tell(fetch(path))
            pool = ThreadPoolExecutor(AT_ONCE)
            try:
                for future in as_completed([pool.submit(fetch, path) for path in small]):
                    tell(future.result())
            finally:
                pool.shutdown(cancel_futures=True)
        shutil.rmtree(folder / ".cache", ignore_errors=True)  # huggingface_hub's notes on what it downloaded

    # ---------------------------------------------------------------- writing

    def create(self, private: bool) -> None:
        """Makes the repository, which is not there, and looks at it.

        Raises:
            HubError: the Hub does not let this user.
        """
        with self._speaking():
            self._api.create_repo(self.name, private=private, exist_ok=True)
        self._look()
        self.needed()

    def commit_files(
        self,
        files: Mapping[str, bytes | Path],
        removed: Sequence[str],
        message: str,
        description: str,
        report: Report = silent,
    ) -> tuple[str, str]:
        """One commit on top of the one that was looked at; if there is another by now, none is made.

        Args:
            files: path in the repository -> content, or the file that has it.
            removed: paths of files to remove.
            report: gets the progress of the large files, one by one.

        Returns:
            The commit, and the address of its page.

        Raises:
            HubError: somebody else made a commit meanwhile, or the Hub cannot be reached or refuses.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        additions = [CommitOperationAdd(path, content) for path, content in files.items()]
        with self._speaking():
            for first in range(0, len(additions), GROUP):
                group = additions[first : first + GROUP]
                report(Progress("upload", first, len(additions), group[0].path_in_repo))
                self._api.preupload_lfs_files(self.name, group)
            report(Progress("upload", len(additions), len(additions), "committing"))
            created = self._api.create_commit(
                self.name,
                [*additions, *(CommitOperationDelete(path) for path in removed)],
                commit_message=message,
                commit_description=description,
                parent_commit=self.commit,
            )
        return created.oid, created.commit_url

    @contextlib.contextmanager
    def _speaking(self) -> Iterator[None]:
        """Turns whatever huggingface_hub raises into one sentence; its own bars and warnings are not shown."""
        from huggingface_hub.utils import (
            are_progress_bars_disabled,
            disable_progress_bars,
            enable_progress_bars,
            logging,
        )

        shown, level = not are_progress_bars_disabled(), logging.get_verbosity()
        if shown:
            disable_progress_bars()
        logging.set_verbosity_error()
        try:
            yield
        except HubError:
            raise
        except Exception as problem:
            said = sentence(problem, self.name, self.revision, self._api.endpoint, "model")
            raise HubError(said) from problem
        finally:
            logging.set_verbosity(level)
            if shown:
                enable_progress_bars()


def check_repository(name: str) -> None:
    """Raises SettingError unless a name can be that of a repository."""
    if not _NAME.fullmatch(name) or len(name) > 96 or ".." in name or "--" in name or name.endswith((".git", ".", "-")):
        raise SettingError(f"{name!r:.120} cannot name a repository: it is OWNER/NAME")
