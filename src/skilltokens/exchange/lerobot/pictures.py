"""Pictures as PNG in a column of a Parquet table."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from PIL import Image

from skilltokens.types import Array, DemonstrationError

COLUMN = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""How Hugging Face's datasets store a picture."""
EFFORT = 1
"""How hard PNG tries to be small, 0 to 9; LeRobot's own."""
FORMATS = ["PNG", "JPEG", "WEBP"]
MODES = {"L": 1, "RGB": 3, "RGBA": 4}


def encoded(pictures: Array) -> pa.Array:
    """Pictures (steps, height, width, colours) of uint8 as a column."""
    return pa.array([{"bytes": png(picture), "path": None} for picture in pictures], COLUMN)


def png(picture: Array) -> bytes:
    """One picture (height, width, colours) of uint8."""
    content = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else np.ascontiguousarray(picture)).save(
        content, "PNG", compress_level=EFFORT
    )
    return content.getvalue()


def decoded(column: pa.ChunkedArray, shape: Sequence[int], where: str) -> Array:
    """A column of pictures as an array (steps, height, width, colours) of uint8.

    Args:
        where: the episode and the column, for messages.

    Raises:
        DemonstrationError: one is damaged, of another size, or lies in a file of its own.
    """
    pictures = np.empty(0, np.uint8)
    if not pa.types.is_struct(column.type) or "bytes" not in {field.name for field in column.type}:
        raise DemonstrationError(f"{where} holds {str(column.type)[:60]} where pictures are declared: correct one")
    for step, entry in enumerate(column):
        content = entry["bytes"].as_py() if entry.is_valid else None
        if not isinstance(content, bytes):
            raise DemonstrationError(
                f"{where}, step {step} holds no picture: it is missing, or lies in a file of its own, and must be "
                "stored within the Parquet file"
            )
        picture = _picture(content, shape, f"{where}, step {step}")
        if step == 0:  # only now is it known that the declared shape is no fancy, which might fit no memory
            pictures = np.empty((len(column), *shape), np.uint8)
        pictures[step] = picture
    return pictures


def _picture(content: bytes, shape: Sequence[int], where: str) -> Array:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content), formats=FORMATS)
            if image.format == "PNG":  # decoding forgives wrong checksums and missing ends
                image.verify()
                image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Exception as problem:  # Pillow fails in as many ways as there are formats
        raise DemonstrationError(
            f"{where} holds no readable picture ({_reason(problem)}): get the file again"
        ) from problem
    if image.mode not in MODES:
        depth = "a depth picture" if image.mode[0] in "IF" else f"a picture of mode {image.mode}"
        raise DemonstrationError(f"{where} holds {depth} where RGB is needed: convert it first, or leave it out")
    size = (image.height, image.width, MODES[image.mode])
    if size != tuple(shape):
        raise DemonstrationError(f"{where} holds a picture of {list(size)} where {list(shape)} is declared")
    try:
        return np.asarray(image).reshape(shape)
    except Exception as problem:
        raise DemonstrationError(
            f"{where} holds a damaged picture ({_reason(problem)}): get the file again"
        ) from problem


def _reason(problem: Exception) -> str:
    return str(problem).splitlines()[0][:100] if str(problem) else type(problem).__name__
