"""A skill's recorded actions come out again bit for bit, in another process and with any number of threads."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.pictured import Pictured, pictured_policy
from tests.skills.making import features, first, grown, make_base

from skilltokens.skills.acting import ActingLibrary
from skilltokens.skills.proof import STEPS, compare, observations, prove
from skilltokens.types import ENVIRONMENT_STATE, STATE

REPLAY = """
import sys, torch
torch.set_num_threads(int(sys.argv[2]))
from skilltokens.skills.verifying import verify
for finding in verify(sys.argv[1], actions=True):
    print(finding.subject, finding.sentence)
assert torch.get_num_threads() == int(sys.argv[2])
"""


@pytest.mark.parametrize("threads", [1, 4])
def test_every_form_acts_the_same_in_another_process_with_other_threads(threads: int, folder: Path):
    done = subprocess.run(
        [sys.executable, "-c", REPLAY, str(folder), str(threads)], capture_output=True, text=True, check=True
    )
    names = ("base", "push", "pull", "turn", "copy", "steer")
    assert done.stdout.splitlines() == [f"{name} acts bit for bit as when it was learned" for name in names]


def test_the_observations_are_fixed_for_good():
    """Their digest is in every proof: were they others, old proofs could not be replayed."""
    base = make_base()
    seen = observations(base, features())
    assert len(seen) == STEPS
    assert {name: array.shape for name, array in seen[0].items()} == {STATE: (1, 2), ENVIRONMENT_STATE: (1, 4)}
    assert prove(base, first().key, features()).observations == (
        "f0562ae6809844a81bc9dbee1a865524c590fd81e54ec78bd51c0af8f83ee0c2"
    )


def test_pictures_are_among_the_observations():
    policy = pictured_policy().requires_grad_(False)
    seen = observations(policy, Pictured().features)
    pictures = [array for array in seen[0].values() if array.dtype == "uint8"]
    assert pictures
    assert all(len(set(picture.reshape(-1).tolist())) > 100 for picture in pictures)


def test_a_skill_that_acts_otherwise_is_told_with_how_much_and_where(folder: Path):
    view = ActingLibrary.open(folder)
    policy, key = view.policy_of("push"), view.skill("push").key
    old = view.skill("push").content.proof
    assert old is not None
    assert compare(old, prove(policy, key, view.features)) == (True, 0.0, "")
    other = prove(view.policy_of("pull"), key, view.features)
    told = compare(old, other)
    assert not told.same
    assert told.difference == float((old.actions - other.actions).abs().max()) > 0
    moved = compare(replace(old, machine={**old.machine, "torch": "1.0"}), prove(policy, key, view.features))
    assert moved.same
    assert "torch 1.0" in moved.elsewhere
    strange = replace(old, observations="x")
    assert compare(strange, prove(policy, key, view.features)).difference == float("inf")
    one_bit = old.actions.clone()
    one_bit.view(torch.int32)[0, 0] ^= 1
    assert not compare(replace(old, actions=one_bit), prove(policy, key, view.features)).same


def test_a_proof_does_not_depend_on_gradients_or_on_what_acted_before():
    base = make_base()
    skill = grown(base, "push")
    before = prove(base, skill.key, features()).actions
    with torch.enable_grad():
        assert torch.equal(prove(base, skill.key, features()).actions, before)
