"""What words say beside vectors, and what around an instruction is none."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skilltokens.skills.bare import bare
from skilltokens.skills.words import FEATURES, compare, said, stem

NEXT, ON = "pick up the bowl next to the box", "pick up the bowl on the box"


def told(instruction: str, *wordings: str) -> list[dict[str, float]]:
    rows = compare(instruction, wordings, range(len(wordings)))
    return [dict(zip(FEATURES, row, strict=True)) for row in rows.tolist()]


@given(st.text(max_size=80), st.lists(st.text(max_size=80), max_size=6))
def test_any_text_can_be_compared(instruction: str, wordings: list[str]) -> None:
    rows = compare(instruction, wordings, range(len(wordings)))
    assert rows.shape == (len(wordings), len(FEATURES))
    assert np.isfinite(rows).all()
    assert (rows >= 0).all()
    assert (rows[:, :3] <= 1 + 1e-9).all()


@pytest.mark.parametrize(
    "forms", [("push", "pushes", "pushed", "pushing"), ("close", "closes", "closed", "closing"), ("stop", "stopping")]
)
def test_forms_of_a_word_are_one(forms: tuple[str, ...]) -> None:
    assert len({stem(form) for form in forms}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("grab the cube and set it on the shelf", "take the block and place it on the shelf"),
        ("shut the tap", "close the faucet"),
        ("the bowl close to the plate", "the bowl beside the plate"),
        ("the bowl on top of the plate", "the bowl on the plate"),
        ("could you please open the drawer for me", "open the drawer"),
    ],
)
def test_sentences_of_one_meaning_have_the_same_words(one: str, other: str) -> None:
    assert said(one) == said(other)


def test_equal_sentences_share_all_and_contradict_in_nothing() -> None:
    same, other = told(ON, ON, "open the drawer")
    assert (same["wording"], same["instruction"]) == (1, 1)
    assert [same[name] for name in FEATURES[2:]] == [0] * 5
    assert (other["wording"], other["instruction"]) == (0, 0)


def test_words_that_all_wordings_have_count_least() -> None:
    on, beside = told("the bowl next to the box", ON, NEXT)
    assert beside["wording"] > on["wording"]
    common, rare = told("bowl", "open bowl", "open drawer")[0], told("open", "open bowl", "open drawer")[0]
    assert common["wording"] > rare["wording"]


@pytest.mark.parametrize(
    ("instruction", "wording", "feature"),
    [
        ("open the window", "close the window", "opposite"),
        ("turn off the stove", "turn on the stove", "opposite"),
        ("open the bottom drawer", "open the top drawer", "opposite"),
        ("do not push the puck", "push the puck", "negated"),
        ("don't push the puck", "push the puck", "negated"),
        ("you mustn\u2019t push the puck", "push the puck", "negated"),
        (NEXT, ON, "relation"),
        ("put the bowl on the stove", "put the bowl on the plate", "things"),
        ("put the cup on the plate", "put the bowl on the plate", "things"),
    ],
)
def test_contradictions_are_seen_both_ways(instruction: str, wording: str, feature: str) -> None:
    assert told(instruction, wording)[0][feature] == 1
    assert told(wording, instruction)[0][feature] == (feature != "negated")
    assert told(wording, wording)[0][feature] == 0


def test_a_known_word_that_looks_like_a_misspelling_keeps_its_meaning() -> None:
    assert told("open the bottom drawer", "open the middle drawer", "put the bottle away")[0]["opposite"] == 1


def test_every_process_finds_the_same_bits() -> None:
    words = ["puck", "drawer", "window", "bowl", "plate", "cup", "lid", "door", "nut", "peg", "lever", "dial"]
    wordings = [f"push the {' '.join(words[number:])}" for number in range(len(words))]
    code = (
        "from skilltokens.skills.words import compare; import sys; w = sys.argv[1:];"
        "print(compare('push the plate, the cup and the dial', w, range(len(w))).tobytes().hex())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code, *wordings],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "123456"
    }
    assert len(found) == 1


def test_mistyped_words_are_known() -> None:
    row = told("hamer the nail", "hammer the nail", "open the drawer")[0]
    assert row["unseen"] == 0
    assert 0.8 < row["wording"] < 1
    assert told("xylophone the nail", "hammer the nail")[0]["unseen"] == 0.5


def test_signs_of_chinese_are_words_and_letters_of_others_stay_together() -> None:
    assert said("把红").words == ("把", "红")
    assert said("drücke Knöpfe").words == ("drück", "knöpf")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("open the drawer", "open the drawer"),
        ("  open   the drawer ", "open the drawer"),
        ("open_the_drawer", "open the drawer"),
        ("KITCHEN_SCENE3_turn_on_the_stove_demo", "turn on the stove"),
        ("In: What action should the robot take to open the drawer?\nOut:", "open the drawer"),
        ("USER: open the drawer ASSISTANT:", "open the drawer"),
        ("open the drawer view 0 0 100 2 352 initstate 0", "open the drawer"),
        ("open the drawer light -1.5", "open the drawer"),
        ("turn the dial 90", "turn the dial 90"),
        ("put 2 cups on the table", "put 2 cups on the table"),
        ("table 17", "table 17"),
        ("a demo", "a demo"),
        ("Task:", "Task:"),
        ("___", "___"),
    ],
)
def test_what_is_no_instruction_is_left_out(text: str, left: str) -> None:
    assert bare(text) == left


def test_numbers_that_mean_something_stay() -> None:
    assert bare("press button 2") == "press"
    assert bare("press button 2", numbers=True) == "press button 2"


@given(st.text(max_size=200))
def test_something_is_always_left(text: str) -> None:
    assert bool(bare(text)) == bool(text.split())
