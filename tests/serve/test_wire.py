"""Messages: arrays come through bit for bit, and a stranger's bytes end in one sentence."""

from __future__ import annotations

import io
import struct
import tracemalloc
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from skilltokens.serve import wire
from skilltokens.serve.wire import Form, pack, unpack
from skilltokens.types import ServeError

NUMBERS = st.one_of(
    arrays.boolean_dtypes(),
    arrays.integer_dtypes(endianness="?"),
    arrays.unsigned_integer_dtypes(endianness="?"),
    arrays.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
)
ARRAYS = NUMBERS.flatmap(lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, min_side=0)))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=20,
)


def same(a: Any, b: Any) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def packed(content: Any) -> bytes:
    """Plain msgpack."""
    return bytes(msgpack.packb(content) or b"")


def refusal(message: bytes) -> str:
    """The sentence that a message ends in; empty where it is read. Nothing else may be raised."""
    try:
        unpack(message)
    except ServeError as problem:
        return str(problem)
    return ""


@given(st.dictionaries(st.text(max_size=9), ARRAYS, max_size=3), st.sampled_from(["openpi", "vla-eval"]))
def test_arrays_come_through_bit_for_bit(content: dict[str, Any], form: Form):
    back = unpack(pack(content, form))
    assert back.keys() == content.keys()
    assert all(same(back[name], content[name]) for name in content)


@given(PLAIN)
def test_plain_content_comes_through(content: Any):
    marks = {wire.ARRAY, wire.NUMBER, wire.PICTURE}
    text = repr(content)
    if not any(mark in text for mark in marks):
        assert unpack(pack(content)) == content


@given(st.binary(max_size=200))
def test_random_bytes_are_a_value_or_one_sentence(message: bytes):
    assert "\n" not in refusal(message)


@given(PLAIN, st.dictionaries(st.sampled_from(["data", "dtype", "shape", "format"]), PLAIN | st.binary(max_size=9)))
def test_maps_that_only_say_that_they_are_arrays(value: Any, fields: dict[str, Any]):
    for mark in (wire.ARRAY, wire.NUMBER, wire.PICTURE):
        assert "\n" not in refusal(packed({mark: value, **fields}))


@given(st.data())
def test_a_message_that_was_changed_is_a_value_or_one_sentence(data: st.DataObject):
    message = bytearray(pack({"prompt": "go", "observation/state": np.arange(6.0), "n": np.float32(2)}))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    assert "\n" not in refusal(bytes(message))


def test_numbers_and_texts_of_numpy_are_pythons_own():
    assert unpack(pack({"a": np.float32(0.5), "b": np.int64(3), "c": np.str_("go"), "d": np.bool_(True)})) == {
        "a": 0.5,
        "b": 3,
        "c": "go",
        "d": True,
    }
    assert unpack(pack(np.asarray("go there"))) == "go there"
    assert msgpack.unpackb(pack({"a": np.float32(0.5)}, "vla-eval")) == {"a": 0.5}


def test_the_marks_are_openpis_and_vla_evals():
    array = np.array([1, 2], np.int16)
    fields = {"data": array.tobytes(), "dtype": "<i2", "shape": [2]}
    assert msgpack.unpackb(pack(array)) == {b"__ndarray__": True, **{k.encode(): v for k, v in fields.items()}}
    assert msgpack.unpackb(pack(array, "vla-eval")) == {"__ndarray__": True, **fields}


def array_of(**changed: Any) -> bytes:
    fields = {"data": bytes(8), "dtype": "<f4", "shape": [2], **changed}
    return packed({b"__ndarray__": True, **{name.encode(): value for name, value in fields.items()}})


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"shape": [3]}, "takes 12 bytes: 8 are there"),
        ({"shape": [1 << 40, 1 << 40]}, "8 are there"),
        ({"shape": [-2, -1]}, "whole numbers"),
        ({"shape": [True, 2]}, "whole numbers"),
        ({"shape": [2.0]}, "whole numbers"),
        ({"shape": 2}, "whole numbers"),
        ({"shape": [1] * 9}, "at most 8"),
        ({"shape": [0, (1 << 64) - 1], "data": b""}, "cannot|can be read|too"),
        ({"data": "text"}, "no are there"),
        ({"dtype": "|O"}, "dtype"),
        ({"dtype": "|V4"}, "dtype"),
        ({"dtype": "<c8"}, "dtype"),
        ({"dtype": "<M8[s]"}, "dtype"),
        ({"dtype": "<f16"}, "dtype"),
        ({"dtype": "f4,f4"}, "dtype"),
        ({"dtype": [["a", "<f4"]]}, "dtype"),
        ({"dtype": "<U2", "shape": [1]}, "utf|decode|read"),
        ({"dtype": "<U1", "shape": [2]}, "texts"),
        ({"dtype": None}, "dtype"),
    ],
    ids=str,
)
def test_no_array_is_believed(changed: dict[str, Any], sentence: str):
    message = array_of(**changed)
    if changed.get("dtype") == "<U2":
        message = array_of(**changed, data=b"\xff" * 8)
    with pytest.raises(ServeError, match=sentence):
        unpack(message)


@pytest.mark.parametrize(
    "message",
    [
        b"\xdd\x7f\xff\xff\xff",  # a list of two thousand million
        b"\xdf\x7f\xff\xff\xff",
        b"\xdd\x00\xff\xff\xff" * 400,  # lists of sixteen million in each other
        b"\xdc\x40\x01" + bytes(16_385),  # a list of one more than is read
        b"\x91" * 100_000,  # as deep as it is long
        b"\xdc\x40\x00" + b"\x90" * 16_384,
        b"\xdb\x00\x10\x00\x00" + b"a" * (1 << 20),
        b"\xc6\x7f\xff\xff\xff",
        b"\xc7\x05\x01abcde",
        b"\xc1",
        b"",
        b"\x80\x80",
    ],
    ids=lambda message: message[:6].hex(),
)
def test_what_is_too_much_takes_no_memory(message: bytes):
    tracemalloc.start()
    try:
        with pytest.raises(ServeError):
            unpack(message)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_a_picture_that_is_larger_than_it_says_is_not_decoded():
    message = picture("png", np.zeros((3000, 3000, 3), np.uint8), shape=[8, 6, 3])
    tracemalloc.start()
    try:
        with pytest.raises(ServeError, match="3000 x 3000 pixels"):
            unpack(message)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_what_cannot_be_sent_is_said():
    for content in (np.array([object()]), np.array([1j]), {1, 2}, {"a": object()}, np.datetime64(1, "s")):
        with pytest.raises(ServeError, match="cannot be sent"):
            pack(content)


# ---------------------------------------------------------------- pictures, as vla-eval sends them


def picture(form: str, pixels: Any, **changed: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form)
    return packed(
        {"__image__": True, "format": form, "data": stream.getvalue(), "shape": list(pixels.shape), **changed}
    )


def test_pictures_come_as_png_jpeg_and_bytes():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 6, 3), np.uint8)
    assert same(unpack(picture("png", pixels)), pixels)
    assert unpack(picture("jpeg", pixels)).shape == pixels.shape
    plain = {"__image__": True, "format": "raw", "data": pixels.tobytes(), "dtype": "|u1", "shape": [8, 6, 3]}
    assert same(unpack(packed(plain)), pixels)


def test_a_picture_that_is_another_than_it_says_is_refused():
    pixels = np.zeros((8, 6, 3), np.uint8)
    header = struct.pack(">IIBBBBB", 1 << 20, 1 << 20, 8, 2, 0, 0, 0)
    huge = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(header)) + b"IHDR" + header + bytes(4)
    for message in (
        picture("png", pixels, shape=[8, 7, 3]),
        picture("png", pixels, shape=[8, 6, 4]),
        picture("png", pixels, shape=[8, 6]),
        picture("png", pixels, data=b"GIF89a" + bytes(30)),
        picture("png", pixels, data=b""),
        picture("png", pixels, data=None),
        picture("png", pixels, data=huge),
        picture("png", pixels, data=huge, shape=[1 << 20, 1 << 20, 3]),
    ):
        with pytest.raises(ServeError, match="picture"):
            unpack(message)
