"""A template of assets/ -> one HTML page: style, script and videos are inside, nothing is loaded from anywhere."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from markupsafe import Markup

from skilltokens.escaping import terminal

_VIDEO_TYPES = {".webp": "image/webp", ".gif": "image/gif", ".png": "image/png"}
_LARGEST_VIDEO = 4_000_000


def fill(template: str, **values: Any) -> str:
    """The page as text."""
    import jinja2

    room = jinja2.Environment(
        loader=jinja2.PackageLoader("skilltokens.report", "assets"),
        autoescape=True,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    assets = Path(__file__).parent / "assets"
    return room.get_template(template).render(
        style=Markup((assets / "style.css").read_text(encoding="utf-8")),
        script=Markup((assets / "page.js").read_text(encoding="utf-8")),
        **values,
    )


def visible(value: Any) -> Any:
    """Text as a reader shall see it, before it is escaped: what is hidden, or turns the order of letters, spelled out.

    What is HTML already stays as it is.
    """
    return terminal(value) if type(value) is str else value


def embedded(folder: Path, word: str) -> tuple[str | None, str]:
    """A video as a data URI, or None and why not.

    Only pictures inside the run's own folder: a run.json may come from a stranger.
    """
    video = (folder / word).resolve()
    if not video.is_relative_to(folder.resolve()) or video.suffix not in _VIDEO_TYPES:
        return None, "not a picture in the run's folder"
    try:
        content = video.read_bytes()
    except OSError:
        return None, "the file is not beside run.json"
    if len(content) > _LARGEST_VIDEO:
        return None, "the file is too large to embed"
    return f"data:{_VIDEO_TYPES[video.suffix]};base64,{base64.b64encode(content).decode()}", ""
