"""A skill's file holds all that decides its actions, and gives the same back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.skills.making import adapted, first, grown, make_base, steering, whole

from skilltokens.model.policy import Policy
from skilltokens.skills.skill import BASE, Content, Proof, Rows, Skill
from skilltokens.skills.skillfile import pack_skill, unpack_skill
from skilltokens.tensors import pack, unpack
from skilltokens.types import LibraryError

PATH = Path("push.safetensors")
FORMS: dict[str, Callable[[Policy], Skill]] = {
    "the base": lambda base: first(),
    "rows": lambda base: grown(base, "push"),
    "rows of others, gates": lambda base: grown(base, "pull", [grown(base, "push"), grown(base, "turn")], gates=True),
    "LoRA": lambda base: adapted(base, "turn"),
    "whole": lambda base: whole(base, "copy"),
    "a task token": lambda base: steering(base, "steer", grown(base, "push")),
}


@pytest.mark.parametrize("form", FORMS)
def test_content_comes_back_whole(form: str):
    base = make_base()
    proof = Proof(torch.ones(12, 2), "ab", {"processor": "x"})
    content = replace(FORMS[form](base).content, proof=proof, scene={"mean": torch.arange(3.0)})
    data = pack_skill(content, base.fingerprint())
    assert data == pack_skill(content, base.fingerprint())
    back = unpack_skill(data, PATH, base.fingerprint())
    assert (back.identity, back.form, back.task_token) == (content.identity, content.form, content.task_token)
    assert (back.needs, back.parameters) == (content.needs, content.parameters)
    np.testing.assert_array_equal(back.key, content.key)
    assert back.tensors.keys() == content.tensors.keys()
    assert all(torch.equal(back.tensors[name], tensor) for name, tensor in content.tensors.items())
    assert back.active.keys() == content.active.keys()
    for path, rows in content.active.items():
        assert [back.active[path].sources[n] for n in back.active[path].source] == [
            rows.sources[n] for n in rows.source
        ]
        np.testing.assert_array_equal(back.active[path].row, rows.row)
    assert back.proof is not None
    assert torch.equal(back.proof.actions, proof.actions)
    assert (back.proof.observations, back.proof.machine) == (proof.observations, proof.machine)
    assert torch.equal(back.scene["mean"], torch.arange(3.0))


@given(st.lists(st.tuples(st.sampled_from([BASE, "a" * 64, "b" * 64, "c" * 64]), st.integers(0, 3)), max_size=5))
@settings(max_examples=40)
def test_rows_of_any_sources_come_back_in_their_order(parts: list[tuple[str, int]]):
    rows = Rows.of([(name, np.arange(count)) for name, count in parts])
    content = Content(np.ones(4, np.float32), active={"layers.0.q": rows})
    back = unpack_skill(pack_skill(content, "base"), PATH, "base").active["layers.0.q"]
    expected = [(name, n) for name, count in parts for n in range(count)]
    assert [(back.sources[s], int(n)) for s, n in zip(back.source, back.row, strict=True)] == expected


def test_the_identity_is_of_what_decides_actions_and_of_nothing_else():
    base = make_base()
    skill = grown(base, "push")
    content, identity = skill.content, skill.identity
    assert replace(content, scene={"mean": torch.ones(1)}).identity == identity
    assert replace(content, proof=Proof(torch.ones(1, 1), "", {})).identity == identity
    assert skill.named("other").identity == identity
    flipped = {**content.tensors, "head.map.weight": content.tensors["head.map.weight"].nextafter(torch.tensor(9.0))}
    others = [
        replace(content, tensors=flipped),
        replace(content, key=-content.key),
        replace(content, form="lora"),
        replace(content, active={**content.active, "layers.0.q": Rows.of([(BASE, np.arange(3))])}),
        replace(content, active={**content.active, "layers.0.q": Rows.of([("a" * 64, np.arange(16))])}),
        steering(base, "push", skill).content,
    ]
    assert len({identity, *(other.identity for other in others)}) == 7


def test_a_file_of_another_base_or_of_no_skill_is_refused():
    base = make_base()
    data = pack_skill(grown(base, "push").content, base.fingerprint())
    with pytest.raises(LibraryError, match="another base"):
        unpack_skill(data, PATH, make_base(seed=1).fingerprint())
    tensors, about = unpack(data, PATH)
    with pytest.raises(LibraryError, match="not what its identity says"):
        unpack_skill(pack(tensors, {**about, "identity": "0" * 64}), PATH, base.fingerprint())
    for other in (pack({"key": torch.ones(4)}, {}), pack({}, {"schema": "skilltokens.skill/1"}), b"", data[:-1]):
        with pytest.raises(LibraryError, match=PATH.name):
            unpack_skill(other, PATH, base.fingerprint())


def test_every_flipped_bit_of_a_byte_is_found():
    """One bit in every 97th byte, and in each of the header's first 200."""
    base = make_base()
    data = pack_skill(adapted(base, "turn").content, base.fingerprint())
    for place in [*range(200), *range(200, len(data), 97)]:
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        with pytest.raises(LibraryError):
            unpack_skill(bytes(flipped), PATH, base.fingerprint())


def test_nothing_is_pickled_and_the_words_are_plain_json():
    base = make_base()
    data = pack_skill(grown(base, "push").content, base.fingerprint())
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert set(header["__metadata__"]) == {"sealed"}
    assert unpack(data, PATH)[1]["schema"] == "skilltokens.skill/1"
