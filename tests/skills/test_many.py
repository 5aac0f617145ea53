"""A hundred skills later: every one that is left acts bit for bit as on its first day, in another process too."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from tests.skills.making import ENCODER, adapted, features, fingerprints, first, grown, make_base, steering

from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.parcel import export_skill, import_skill, merge
from skilltokens.skills.skill import Skill
from skilltokens.skills.verifying import verify

LOOK = """
import json, sys, torch
torch.set_num_threads(int(sys.argv[2]))
from skilltokens.skills.acting import ActingLibrary
from skilltokens.skills.verifying import verify
library = ActingLibrary.open(sys.argv[1])
records = library.state.everything()
found = {r.identity: library.policy_of_record(r).fingerprint() for r in records}
proofs = {r.identity: library.skill_of(r).content.proof.actions.numpy().tobytes().hex() for r in records}
replayed = [f.sentence for f in verify(sys.argv[1], actions=True)]
print(json.dumps([found, proofs, replayed]))
"""


def made(base, name: str, number: int, known: list[Skill]) -> Skill:
    """Skills of every kind by turns, some of which build on earlier ones."""
    rows = [skill for skill in known if skill.form == "rows" and skill.task_token is None and skill.tensors]
    rng = random.Random(name)
    match number % 5:
        case 0:
            return adapted(base, name)
        case 1:
            return steering(base, name, rng.choice(rows)) if rows else grown(base, name)
        case _:
            return grown(base, name, rng.sample(rows, min(2, len(rows))), gates=number % 2 == 0)


@pytest.mark.slow
def test_a_hundred_skills_later_every_one_acts_as_on_its_first_day(tmp_path: Path):
    folder, base, rng = tmp_path / "library", make_base(), random.Random(0)
    library = SkillLibrary.create(folder, base, first(), features(), ENCODER)
    prints, proofs, known = fingerprints(library), {}, list[Skill]()

    def remember() -> None:
        """What is new as it is on its first day."""
        view = SkillLibrary.open(folder)
        for record in view.state.everything():
            if record.identity not in proofs:
                proof = view.skill_of(record).content.proof
                assert proof is not None
                prints[record.identity] = view.policy_of_record(record).fingerprint()
                proofs[record.identity] = proof.actions.numpy().tobytes().hex()

    for number in range(100):
        skill = made(base, f"skill-{number}", number, known)
        library.add(skill)
        known.append(skill)
        if number % 10 == 9:
            remember()
        if number % 17 == 16:
            library.rename(f"skill-{number - 3}", f"renamed-{number}")
    remember()
    for name in rng.sample(library.names[1:], 20):
        library.remove(name)
    other = SkillLibrary.create(tmp_path / "other", base, first(), features(), ENCODER)
    theirs = grown(base, "theirs")
    for skill in (theirs, grown(base, "merged", [theirs]), steering(base, "steered", theirs)):
        other.add(skill)
    import_skill(library, export_skill(other, "merged", tmp_path), name="imported")
    merge(library, other)
    library.add(grown(base, "merged", rows=1), again=True)
    library.undo()
    library.remove("theirs")
    remember()

    library = SkillLibrary.open(folder)
    assert len(library.names) == 1 + 100 - 20 + 3 - 1  # "merged" was there as "imported"
    for threads in (1, 2):
        done = subprocess.run(
            [sys.executable, "-c", LOOK, str(folder), str(threads)], capture_output=True, text=True, check=True
        )
        found, replayed_proofs, replayed = json.loads(done.stdout)
        assert found.keys() == {record.identity for record in library.state.everything()}
        assert found.items() <= prints.items()
        assert replayed_proofs.items() <= proofs.items()
        acting = [sentence for sentence in replayed if sentence == "acts bit for bit as when it was learned"]
        assert len(acting) == len(library.state.everything())
    before = fingerprints(library)
    library.prune()
    assert fingerprints(SkillLibrary.open(folder)) == before
    assert verify(folder) == []
