"""Selection by language: the nearest wording, and the nearest rows."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from skilltokens.skills.selection import choose, top_rows
from skilltokens.types import Array


def units(random: np.random.Generator, rows: int) -> Array:
    vectors = random.standard_normal((rows, 8)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(0, 40), st.integers(0, 50))
def test_top_rows_are_the_nearest_each_once(seed: int, skills: int, rows: int, k: int):
    random = np.random.default_rng(seed)
    keys, owners = units(random, skills), random.integers(skills, size=rows)
    embedding = units(random, 1)[0]
    chosen_rows = top_rows(embedding, keys, owners, k)
    nearness = (keys @ embedding)[owners]
    assert len(chosen_rows) == len(set(chosen_rows.tolist())) == min(k, rows)
    chosen, left = nearness[chosen_rows], np.delete(nearness, chosen_rows)
    assert (np.diff(chosen) <= 0).all()
    assert not len(chosen) or not len(left) or chosen.min() >= left.max()
    for skill in range(skills):  # rows of one key keep their order
        assert (np.diff(chosen_rows[owners[chosen_rows] == skill]) > 0).all()


@given(st.integers(0, 2**32), st.integers(2, 6), st.integers(1, 20))
def test_rows_added_later_by_farther_skills_do_not_change_the_choice(seed: int, skills: int, k: int):
    random = np.random.default_rng(seed)
    keys, embedding = units(random, skills), units(random, 1)[0]
    keys = keys[np.argsort(-(keys @ embedding))]  # the last skill is the farthest
    owners = np.sort(random.integers(skills - 1, size=20))
    more = np.concatenate([owners, np.full(5, skills - 1)])
    assert top_rows(embedding, keys, owners, k).tolist() == top_rows(embedding, keys, more, k).tolist()


def test_of_equal_keys_the_older_skill_comes_first():
    keys = np.array([[0, 1], [1, 0], [1, 0]], np.float32)
    owners = np.array([2, 1, 0, 1, 2])
    assert top_rows(np.array([1, 0], np.float32), keys, np.sort(owners), 3).tolist() == [1, 2, 3]


@given(st.integers(0, 2**32), st.integers(1, 6))
def test_the_choice_does_not_depend_on_the_order_of_the_skills(seed: int, skills: int):
    random = np.random.default_rng(seed)
    wordings = [units(random, int(random.integers(1, 4))) for _ in range(skills)]
    embedding, order = units(random, 1)[0], random.permutation(skills)
    first, cosine = choose(embedding, wordings)
    second, same = choose(embedding, [wordings[i] for i in order])
    assert order[second] == first
    assert same == cosine == max(float((vectors @ embedding).max()) for vectors in wordings)


@given(st.integers(0, 2**32), st.integers(1, 6), st.data())
def test_every_wording_calls_its_own_skill(seed: int, skills: int, data: st.DataObject):
    random = np.random.default_rng(seed)
    wordings = [units(random, 3) for _ in range(skills)]
    skill, wording = data.draw(st.integers(0, skills - 1)), data.draw(st.integers(0, 2))
    number, cosine = choose(wordings[skill][wording], wordings)
    assert number == skill
    assert abs(cosine - 1) < 1e-5


def test_a_skill_taught_again_replaces_the_older_one():
    one = np.array([[1, 0]], np.float32)
    assert choose(one[0], [one, np.array([[0, 1]], np.float32), one]) == (2, 1.0)
    rounded = one * np.float32(1 - 1e-7)  # the same words in another batch of the sentence encoder
    assert choose(one[0], [one, rounded])[0] == 1
