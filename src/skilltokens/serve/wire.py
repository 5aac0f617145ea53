"""Messages: msgpack with arrays, in openpi's form and in vla-eval's. Whoever sends them may be a stranger.

Nothing is unpickled, and no size is believed: an array is a view of bytes that are there. openpi marks arrays by keys
that are bytes (openpi_client.msgpack_numpy), vla-eval by keys that are text, and may send pictures as PNG or JPEG
(vla_eval.protocol.numpy_codec, image_codec); both are read alike.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from skilltokens.types import Array, ServeError

Form = Literal["openpi", "vla-eval"]
"""Whose marks arrays are sent with."""

ARRAY, NUMBER, PICTURE = "__ndarray__", "__npgeneric__", "__image__"
MAPS, ENTRIES = 1000, 16_384
"""The most maps and lists in a message, and entries in each: arrays of any size are one map of four."""
TEXT = 65_536
"""The most bytes of a text."""
DIMENSIONS = 8
PIXELS = 1 << 26
"""The most bytes of a picture that comes compressed."""

_NUMBERS = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248])|\?")
_TEXT = re.compile(r"<U(\d{1,5})")


def pack(content: Any, form: Form = "openpi") -> bytes:
    """A message. Arrays may be of booleans, integers and floats.

    Raises:
        ServeError: something in it cannot be sent, such as an array of objects; one sentence.
    """
    import msgpack

    try:
        return bytes(msgpack.packb(content, default=_packed if form == "openpi" else _plainly_packed) or b"")
    except (TypeError, ValueError, OverflowError) as problem:
        raise ServeError(f"this cannot be sent: {problem}") from problem


def _packed(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        _check_kind(value.dtype)
        return {
            ARRAY.encode(): True,
            b"data": value.tobytes(),
            b"dtype": value.dtype.str,
            b"shape": value.shape,
        }
    if isinstance(value, np.generic):
        _check_kind(value.dtype)
        return {NUMBER.encode(): True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"a value of type {type(value).__name__} is no number, text, list, map or array")


def _plainly_packed(value: Any) -> Any:
    """The same with keys that are text, and plain numbers."""
    content = _packed(value)
    if NUMBER.encode() in content:
        return content[b"data"]
    return {key.decode(): part for key, part in content.items()}


def _check_kind(dtype: np.dtype[Any]) -> None:
    if _NUMBERS.fullmatch(dtype.str) is None and dtype.kind != "U":
        raise TypeError(f"arrays of dtype {dtype} are not sent: use booleans, integers or floats")


def unpack(message: bytes) -> Any:
    """What a message holds. Arrays are views of it, which cannot be written to.

    Raises:
        ServeError: it is no msgpack, is too deep or has too many parts, or an array is not what it says it is.
    """
    import msgpack

    parts = 0

    def counted(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def hook(value: Any) -> Any:
            nonlocal parts
            parts += 1
            if parts > MAPS:
                raise ServeError(f"the message has more than {MAPS} maps and lists: send arrays as arrays")
            return read(value)

        return hook

    try:
        return msgpack.unpackb(
            message,
            object_hook=counted(_read),
            list_hook=counted(lambda value: value),
            ext_hook=_refused,
            max_array_len=ENTRIES,
            max_map_len=ENTRIES,
            max_str_len=TEXT,
        )
    except ServeError:
        raise
    except (msgpack.UnpackException, ValueError, TypeError, LookupError, OverflowError, RecursionError) as problem:
        raise ServeError(f"the message is no msgpack that can be read: {problem!s:.100}") from problem


def _refused(code: int, data: bytes) -> Any:
    raise ServeError(f"the message has a msgpack extension (type {code}): send numbers, text, lists, maps and arrays")


def _read(content: dict[Any, Any]) -> Any:
    """A map, or the array, number or picture that it stands for."""
    for mark, read in ((ARRAY, _array), (NUMBER, _number), (PICTURE, _picture)):
        if mark in content or mark.encode() in content:
            return read({key.decode() if isinstance(key, bytes) else key: value for key, value in content.items()})
    return content


def _array(fields: Mapping[str, Any]) -> Array | str:
    """The array of a map; of an array with one text, that text."""
    kind, data = fields.get("dtype"), fields.get("data")
    text = _TEXT.fullmatch(kind) if isinstance(kind, str) else None
    if not isinstance(kind, str) or (text is None and _NUMBERS.fullmatch(kind) is None):
        raise ServeError(f"an array has the dtype {kind!r:.40}: send booleans, integers or floats of at most 8 bytes")
    shape, size = _shape(fields), 4 * int(text[1]) if text else np.dtype(kind).itemsize
    if not isinstance(data, bytes) or math.prod(shape) * size != len(data):
        there = len(data) if isinstance(data, bytes) else "no"
        raise ServeError(
            f"an array of shape {shape!s:.60} and dtype {kind} takes {math.prod(shape) * size} bytes: {there} are there"
        )
    if text is not None:
        if math.prod(shape) != 1:
            raise ServeError("an array of texts cannot be read: send each as a text")
        return data.decode("utf-32-le").rstrip("\0")
    return np.ndarray(shape, np.dtype(kind), data)


def _shape(fields: Mapping[str, Any]) -> tuple[int, ...]:
    """The shape in a map: a few whole numbers from 0."""
    shape = fields.get("shape")
    if (
        not isinstance(shape, list)
        or len(shape) > DIMENSIONS
        or not all(type(size) is int and size >= 0 for size in shape)
    ):
        raise ServeError(f"an array has the shape {shape!r:.60}: send a list of at most {DIMENSIONS} whole numbers")
    return tuple(shape)


def _number(fields: Mapping[str, Any]) -> Any:
    """A NumPy scalar, as Python's number or text."""
    value = fields.get("data")
    if not isinstance(value, bool | int | float | str):
        raise ServeError(f"a number is {type(value).__name__}: send a boolean, an integer, a float or a text")
    return value


def _picture(fields: Mapping[str, Any]) -> Array | str:
    """A picture (height, width, colours) of a PNG, a JPEG or plain bytes."""
    if fields.get("format") == "raw":
        return _array(fields)
    from PIL import Image

    shape, data = _shape(fields), fields.get("data")
    if not isinstance(data, bytes) or len(shape) != 3 or math.prod(shape) > PIXELS:
        raise ServeError(f"a picture of shape {shape!s:.60} cannot be read: send (height, width, colours)")
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
        if image.size != (shape[1], shape[0]):
            raise ValueError(f"it has {image.size[1]} x {image.size[0]} pixels")
        pixels = np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as problem:
        raise ServeError(f"a picture of shape {shape} cannot be read: {problem!s:.100}") from problem
    if pixels.shape != shape or pixels.dtype != np.uint8:
        raise ServeError(f"a picture of shape {shape} holds {pixels.dtype} numbers of shape {pixels.shape}")
    return pixels
