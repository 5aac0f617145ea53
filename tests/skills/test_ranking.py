"""Ranking: who comes first, how sure that is, when nothing is called, and what the words say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks import instructions, paraphrases
from benchmarks.selecting import make_index
from hypothesis import given
from hypothesis import strategies as st

from skilltokens.language import LanguageEncoder, load_encoder
from skilltokens.skills.ranking import NEAREST, Index, Ranking, Weights, ask, packaged_weights, rank
from skilltokens.suites.registry import load_suite
from skilltokens.types import Array, LanguageError

ROOT = Path(__file__).parents[2]
KITCHEN = {
    "drawer": ("open the drawer", "pull the drawer out"),
    "window": ("close the window", "slide the window shut"),
    "puck": ("push the puck to the goal", "slide the puck across the table to the goal"),
    "bowl": ("put the bowl on the plate",),
}
CHOOSES_ALL = Weights({"cosine": 1.0, **dict.fromkeys(instructions.FEATURES, 0.0)}, -10.0, 0.0)
"""The cosine alone, and never none."""


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> LanguageEncoder:
    return load_encoder("minilm", tmp_path_factory.mktemp("cache"))


def index_of(skills: dict[str, tuple[str, ...]], encoder: LanguageEncoder) -> Index:
    return Index.of([(name, own, encoder(own)) for name, own in skills.items()])


def units(seed: int, rows: int) -> Array:
    vectors = np.random.default_rng(seed).standard_normal((rows, 8)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def plain(seed: int, skills: int, each: int) -> Index:
    """An index of random vectors whose wordings share no word."""
    names, wordings = [f"s{i}" for i in range(skills)], [f"w{i}x" for i in range(skills * each)]
    return Index(names, wordings, units(seed, skills * each), np.arange(skills * each) // each)


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 3))
def test_probabilities_fall_and_leave_room_for_none(seed: int, skills: int, each: int) -> None:
    ranking = rank("something else", units(seed + 1, 1)[0], plain(seed, skills, each))
    probabilities = [one.probability for one in ranking.candidates]
    assert probabilities == sorted(probabilities, reverse=True)
    assert 0 <= sum(probabilities) < 1
    assert ranking.confidence == probabilities[0]
    assert len({one.name for one in ranking.candidates}) == len(ranking.candidates) == min(skills, NEAREST)


@given(st.integers(0, 2**32), st.integers(1, 80), st.integers(1, 3))
def test_without_words_the_nearest_vector_comes_first(seed: int, skills: int, each: int) -> None:
    index, vector = plain(seed, skills, each), units(seed + 1, 1)[0]
    ranking = rank("something else", vector, index, weights=CHOOSES_ALL)
    cosines = index.vectors @ vector
    best = cosines.reshape(skills, each).max(1)
    assert ranking.chosen == int(best.argmax())
    assert ranking.candidates[0].wording == index.wordings[int(cosines.argmax())]
    np.testing.assert_allclose([one.cosine for one in ranking.candidates], np.sort(best)[::-1][:NEAREST], atol=1e-6)


@given(st.integers(0, 2**32), st.integers(2, 40))
def test_wordings_that_do_not_call_are_never_found(seed: int, skills: int) -> None:
    index, vector = plain(seed, skills, 2), units(seed + 1, 1)[0]
    live = np.random.default_rng(seed).random(2 * skills) < 0.5
    part = Index(index.names, index.wordings, index.vectors, index.owners, live)
    ranking = rank("something else", vector, part, weights=CHOOSES_ALL)
    callable_wordings = {index.wordings[i] for i in np.flatnonzero(live).tolist()}
    assert {one.wording for one in ranking.candidates} <= callable_wordings
    assert bool(ranking.candidates) == bool(callable_wordings)
    if not callable_wordings:
        assert ranking.chosen is None
        assert "there is none" in ranking.sentence()


def test_vectors_may_lie_on_the_disk(tmp_path: Path) -> None:
    index, vector = plain(3, 50, 2), units(4, 1)[0]
    np.save(tmp_path / "vectors.npy", index.vectors)
    mapped = Index(index.names, index.wordings, np.load(tmp_path / "vectors.npy", mmap_mode="r"), index.owners)
    assert rank("something else", vector, mapped) == rank("something else", vector, index)


@pytest.mark.parametrize(
    ("owners", "live"), [([1, 0, 1], None), ([0, 1], None), ([0, 1, 5], None), ([0, 0, 1], [True])]
)
def test_sizes_that_do_not_fit_are_refused(owners: list[int], live: list[bool] | None) -> None:
    with pytest.raises(ValueError, match="one vector, owner and mark"):
        Index(["a", "b"], ["x", "y", "z"], units(0, 3), np.array(owners), None if live is None else np.array(live))


def test_own_words_are_certain_whatever_their_form(minilm: LanguageEncoder) -> None:
    index = index_of(KITCHEN, minilm)
    for text in ("close the window", " Close  the WINDOW.", "close_the_window", "Task: close the window"):
        ranking = ask(text, minilm, index)
        assert (ranking.chosen, ranking.confidence, ranking.tied) == (1, 1.0, ())


def test_words_that_two_skills_have_are_not_certain(minilm: LanguageEncoder) -> None:
    index = index_of({**KITCHEN, "other": ("Close the window!",)}, minilm)
    ranking = ask("close the window", minilm, index)
    assert (ranking.confidence, ranking.abstains, ranking.tied) == (0.5, True, (1,))
    assert [one.name for one in ranking.candidates[:2]] == ["other", "window"]
    assert ask("close the window", minilm, index, threshold=0.5).chosen == 4  # the newest


def test_versions_of_a_skill_are_one_and_the_newest_is_called(minilm: LanguageEncoder) -> None:
    old = [(name, own, minilm(own)) for name, own in KITCHEN.items()]
    index = Index.of([*old, ("window", KITCHEN["window"], minilm(KITCHEN["window"]))])
    for text in ("close the window", "please shut the window"):
        ranking = ask(text, minilm, index)
        assert (ranking.chosen, ranking.tied) == (4, ())
        assert [one.name for one in ranking.candidates].count("window") == 1


def test_equal_wordings_that_are_only_near_are_told_as_a_tie(minilm: LanguageEncoder) -> None:
    index = index_of({**KITCHEN, "other": KITCHEN["window"]}, minilm)
    ranking = ask("please shut the window", minilm, index)
    assert (ranking.candidates[0].number, ranking.tied, ranking.margin) == (4, (1,), 0.0)
    assert ranking.confidence < 0.5
    assert ranking.abstains


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("please shut the window", "window"),
        ("pull out the drawer", "drawer"),
        ("shove the puck over to the goal", "puck"),
        ("In: What action should the robot take to put the bowl on the plate?\nOut:", "bowl"),
        ("put_the_bowl_on_the_plate", "bowl"),
        ("open the drawer view 0 0 100 2 352 initstate 0", "drawer"),
    ],
)
def test_other_words_and_frames_call_the_skill(text: str, name: str, minilm: LanguageEncoder) -> None:
    ranking = ask(text, minilm, index_of(KITCHEN, minilm))
    assert not ranking.abstains
    assert ranking.candidates[0].name == name
    assert f"calls {name!r}" in ranking.sentence()


@pytest.mark.parametrize(
    "text",
    [
        "do not push the puck to the goal",
        "don't close the window",
        "never open the drawer",
        "open the window",
        "close the drawer",
        "put the bowl next to the plate",
        "put the cup on the plate",
        "make me a coffee",
        "把红色方块放进盒子",
        "\U0001f916",
    ],
)
def test_the_opposite_and_the_unknown_call_nothing_and_name_the_nearest(text: str, minilm: LanguageEncoder) -> None:
    ranking = ask(text, minilm, index_of(KITCHEN, minilm))
    assert ranking.chosen is None
    assert "nearest are" in ranking.sentence()
    assert repr(ranking.candidates[0].name) in ranking.sentence()
    assert ask(text, minilm, index_of(KITCHEN, minilm), threshold=0).chosen == ranking.candidates[0].number


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_that_is_no_confidence_is_refused(threshold: float, minilm: LanguageEncoder) -> None:
    with pytest.raises(LanguageError, match="from 0 to 1"):
        ask("open the drawer", minilm, index_of(KITCHEN, minilm), threshold)


def test_an_empty_instruction_is_refused(minilm: LanguageEncoder) -> None:
    with pytest.raises(LanguageError, match="empty"):
        ask(" ", minilm, index_of(KITCHEN, minilm))


def test_numbers_stay_where_they_mean_something(minilm: LanguageEncoder) -> None:
    index = index_of({"one": ("press button 1",), "two": ("press button 2",)}, minilm)
    assert ask("press button 2", minilm, index).chosen == 1
    assert ask("press button 1", minilm, index).chosen == 0


def test_libero_spatial_survives_what_surrounds_its_instructions(minilm: LanguageEncoder) -> None:
    tasks = load_suite("libero-spatial").tasks
    index = index_of({task.name: (task.instruction,) for task in tasks}, minilm)
    frames = (
        "{} view 0 0 100 2 352 initstate 0",
        "{} light 1",
        "{} table 17",
        "{} add 20",
        "In: What action should the robot take to {}?\nOut:",
    )
    for number, task in enumerate(tasks):
        for text in (*(frame.format(task.instruction) for frame in frames), task.instruction.replace(" ", "_")):
            assert ask(text, minilm, index).chosen == number


def test_the_ranking_of_many_is_that_of_the_near_ones() -> None:
    index = make_index(2000)
    ranking = rank("push the puck next to the door", index.vectors[17], index)
    assert len(ranking.candidates) == NEAREST
    assert ranking == rank("push the puck next to the door", index.vectors[17], index)


def test_a_candidate_is_compared_by_its_nearest_wordings_alone() -> None:
    vectors = np.concatenate([units(0, 1000), units(5, 1)])
    index = Index(["many", "one"], [f"w{i}" for i in range(1001)], vectors, np.array([0] * 1000 + [1]))
    places, cosines = index.nearest(vectors[3])
    assert 3 in places
    assert 1000 in places
    assert len(places) == 9
    np.testing.assert_allclose(cosines, vectors[places] @ vectors[3], atol=1e-6)


def test_a_ranking_is_plain_data() -> None:
    assert Ranking("x", (), 0.0, 0.0, 0.5).chosen is None


def test_the_packaged_weights_say_which_command_made_them() -> None:
    content = json.loads(instructions.WEIGHTS.read_text())
    results = json.loads((ROOT / "results" / "instructions" / "results.json").read_text())
    chosen = results["ways"][instructions.SHIPPED]
    assert content["command"] == f"{instructions.COMMAND} --weights"
    assert (content["features"], content["none"]) == (chosen["weights"], chosen["none"])
    assert packaged_weights() == Weights(chosen["weights"], chosen["none"], chosen["threshold"])


def test_the_tables_on_the_page_are_those_of_the_results() -> None:
    results = json.loads((ROOT / "results" / "instructions" / "results.json").read_text())
    assert results["schema"] == instructions.SCHEMA
    assert instructions.tables(results) in (ROOT / "docs" / "instructions.md").read_text()


def test_few_enough_reported_instructions_call_a_wrong_skill() -> None:
    results = json.loads((ROOT / "results" / "instructions" / "results.json").read_text())
    counts = [instructions.total(found) for kind, found in results["package"].items() if kind != "left out"]
    assert sum(wrong for _, wrong, _ in counts) <= 0.01 * sum(map(sum, counts))


def test_the_package_ranks_as_the_results_say(minilm: LanguageEncoder) -> None:
    results = json.loads((ROOT / "results" / "instructions" / "results.json").read_text())
    own = [c for c in paraphrases.cases("reporting") if (c.kind, c.library) == ("paraphrase", "libero-goal")]
    index = index_of({name: tuple(wordings) for name, wordings in own[0].skills.items()}, minilm)
    rankings = [ask(case.text, minilm, index) for case in own]
    found = results["package"]["paraphrase"]["libero-goal"]
    assert sum(ranking.abstains for ranking in rankings) == found["abstained"]


def test_choosing_and_reporting_share_no_instruction_and_repeat_no_known_one() -> None:
    content = json.loads(paraphrases.DATA.read_text(encoding="utf-8"))
    known = {
        text.casefold()
        for suite in ("metaworld", "libero-spatial", "libero-object", "libero-goal")
        for task in load_suite(suite).tasks
        for text in (task.instruction, *task.wordings, *task.held_out)
    }
    halves = {
        half: [
            t.casefold() for own in content["libraries"].values() for task in own["tasks"].values() for t in task[half]
        ]
        for half in ("choosing", "reporting")
    }
    assert {half: len(texts) for half, texts in halves.items()} == {"choosing": 400, "reporting": 400}
    assert len({*halves["choosing"], *halves["reporting"]}) == 800
    assert not known & {*halves["choosing"], *halves["reporting"]}
