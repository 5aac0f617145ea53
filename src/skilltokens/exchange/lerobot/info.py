"""meta/info.json of a LeRobot data set: its features, totals and the paths of its files, all checked."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from skilltokens.files import depth, parse_json, read_bytes, shown
from skilltokens.types import DemonstrationError, nearest

INFO = "meta/info.json"
VERSION = "v3.0"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
ROW = ("timestamp", "frame_index", "episode_index", "index", "task_index")
"""The columns of every data set that say which step a row is."""
DEEPEST = 5
"""How deep the names of a feature's entries may lie in lists and maps."""
_SLOT = re.compile(r"\{(video_key|chunk_index|file_index)(?::0?([1-9])d)?\}")

_Size = Annotated[int, msgspec.Meta(ge=1, le=10**12)]


class _Feature(msgspec.Struct):
    dtype: str
    shape: list[_Size]
    names: Any = None
    info: dict[str, Any] | None = None
    video_info: dict[str, Any] | None = None


class _Info(msgspec.Struct):
    """The file; what else it holds is ignored, as by LeRobot."""

    codebase_version: str
    fps: Annotated[float, msgspec.Meta(gt=0, le=1e6)]
    features: dict[str, _Feature]
    total_episodes: _Size
    total_frames: _Size
    total_tasks: _Size
    data_path: str = DATA_PATH
    video_path: str | None = None
    robot_type: str | None = None
    splits: dict[str, str] = {}


@dataclass(frozen=True)
class Column:
    """A feature of a data set, as info.json describes it."""

    dtype: str
    shape: tuple[int, ...]
    names: Any
    is_depth: bool


@dataclass(frozen=True)
class Info:
    """What info.json says of a data set.

    Attributes:
        folder: the data set's folder.
        columns: name -> feature, those of `ROW` included.
        episodes, frames, tasks: how many there are.
        splits: name of a part -> its first episode, and the one behind its last.
    """

    folder: Path
    fps: float
    columns: dict[str, Column]
    episodes: int
    frames: int
    tasks: int
    data_path: str
    video_path: str | None
    robot: str | None
    splits: dict[str, tuple[int, int]]

    @property
    def path(self) -> Path:
        return self.folder / INFO

    def data_file(self, chunk: int, file: int) -> Path:
        """The Parquet file of that number."""
        return self.folder / _filled(self.path, self.data_path, chunk_index=chunk, file_index=file)

    def video_file(self, column: str, chunk: int, file: int) -> Path:
        """The video of that number."""
        if self.video_path is None:
            raise DemonstrationError(f"{self.path} has videos and no video_path: restore it")
        return self.folder / _filled(self.path, self.video_path, video_key=column, chunk_index=chunk, file_index=file)

    def split(self, name: str) -> range:
        """The episodes of a part of the data set, such as "train"."""
        if name not in self.splits:
            raise DemonstrationError(f"{self.path} names no split {name!r}: {nearest(name, list(self.splits))}")
        return range(*self.splits[name])


def read_info(folder: Path) -> Info:
    """
    Raises:
        DemonstrationError: the file is missing, of another version, or breaks a rule of the format.
    """
    path = folder / INFO
    content = parse_json(read_bytes(path, DemonstrationError), path, DemonstrationError)
    _check_version(path, content.get("codebase_version") if isinstance(content, dict) else None)
    try:
        if depth(content) > DEEPEST + 5:
            raise ValueError("nested too deep")
        json.dumps(content, allow_nan=False, ensure_ascii=False).encode()  # half a character is JSON, but no text
        said = msgspec.convert(content, _Info, strict=True)
        columns = {name: _column(name, feature) for name, feature in said.features.items()}
        splits = {name: _split(words, said.total_episodes) for name, words in said.splits.items()}
    except (ValueError, RecursionError) as problem:
        reason = str(problem).replace("`", "").replace("$.", "")[:200]
        raise DemonstrationError(f"{path} breaks a rule of LeRobot's format ({reason}): restore it") from problem
    return Info(
        folder, said.fps, columns, said.total_episodes, said.total_frames, said.total_tasks,
        said.data_path, said.video_path, said.robot_type, splits,
    )  # fmt: skip


def _check_version(path: Path, version: object) -> None:
    if isinstance(version, str) and version.startswith(("v1.", "v2.")):
        command = "python -m lerobot.scripts.convert_dataset_v21_to_v30 --repo-id=OWNER/NAME"
        older = "" if version.startswith("v2.1") else " (first to v2.1, with lerobot 0.3's convert_dataset_v20_to_v21)"
        raise DemonstrationError(
            f"{path} is of LeRobot's old version {version[:8]}: convert it with lerobot's own `{command}`{older}, and "
            "import the result"
        )
    if not isinstance(version, str) or not re.fullmatch(r"v3\.\d{1,3}", version):
        raise DemonstrationError(
            f"{path} is of version {shown(version)} where LeRobot's {VERSION} is needed: is it a data set of LeRobot's?"
        )


def _column(name: str, feature: _Feature) -> Column:
    if math.prod(feature.shape) > 2**31:
        raise ValueError(f"the feature {name[:60]!r} has a shape that fits no memory")
    if depth(feature.names) > DEEPEST:
        raise ValueError(f"the names of {name[:60]!r} are nested too deep")
    about = {**(feature.video_info or {}), **(feature.info or {})}
    is_depth = bool(about.get("is_depth_map") or about.get("video.is_depth_map"))
    return Column(feature.dtype, tuple(feature.shape), feature.names, is_depth)


def _split(words: str, episodes: int) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,12}):(\d{1,12})", words)
    if match is None or not int(match[1]) < int(match[2]) <= episodes:
        raise ValueError(f"the split {words[:60]!r} is no FIRST:LAST of {episodes} episodes")
    return int(match[1]), int(match[2])


def _filled(path: Path, template: str, **values: str | int) -> str:
    """A template of a path with its values in it. It may not lead out of the data set's folder.

    Python's own `format` would do more than a stranger's template may ask for.
    """

    def value(match: re.Match[str]) -> str:
        word = values.get(match[1])
        if word is None or (match[2] and not isinstance(word, int)):
            raise DemonstrationError(f"{path}: the template {shown(template)} cannot be filled in: restore it")
        return f"{word:0{match[2]}d}" if match[2] and isinstance(word, int) else str(word)

    filled = _SLOT.sub(value, template) if len(template) < 1000 else "{"
    parts = re.split(r"[/\\]", filled)
    if "{" in filled or "}" in filled or any(part in ("", ".", "..") or ":" in part for part in parts):
        raise DemonstrationError(
            f"{path}: the template {shown(template)} names no file in the data set's folder: do not trust it"
        )
    if "\0" in filled:
        raise DemonstrationError(f"{path}: the template {shown(template)} holds a null character: restore it")
    return filled
