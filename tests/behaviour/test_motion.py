"""Expert motion: what is refused, and experts that are not good enough to show anything."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from skilltokens.behaviour import motion as module
from skilltokens.behaviour.motion import expert, motion
from skilltokens.behaviour.settings import ExpertPpoSettings, MotionSettings
from skilltokens.configuration import settings_of
from skilltokens.experiments.settings import RewardSettings
from skilltokens.suites.bodies import body_of
from skilltokens.types import DemonstrationError, RunError, SettingError

TINY = MotionSettings(
    steps=640,
    part=320,
    motion_steps=20_000,
    kinds=("runner",),
    ppo=ExpertPpoSettings(envs=4, rollout=16, batch=64, epochs=1),
)


def test_experts_that_fall_at_once_are_given_up_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "SHORT", 6)
    with pytest.raises(DemonstrationError, match="fell at once in 7 episodes one after another: train them longer"):
        motion(body_of("walker2d"), replace(TINY, folder=str(tmp_path)))
    for changed in (replace(TINY, steps=320), replace(TINY, part=640), replace(TINY, seed=1)):
        with pytest.raises(RunError, match="an expert that was trained longer, or with other settings"):
            motion(body_of("walker2d"), replace(changed, folder=str(tmp_path)))


def test_an_expert_of_a_body_with_other_numbers_is_refused(tmp_path: Path):
    walker = body_of("walker2d")
    expert(walker, False, TINY, tmp_path)
    with pytest.raises(RunError, match="other settings"):
        expert(replace(walker, strength=0.5), False, TINY, tmp_path)


def test_an_expert_that_is_trained_longer_resumes_where_it_was(tmp_path: Path):
    walker = body_of("walker2d")
    once, twice = tmp_path / "once", tmp_path / "twice"
    for folder in (once, twice):
        folder.mkdir()
    expert(walker, False, TINY, once)
    expert(walker, False, replace(TINY, steps=320), twice)
    expert(walker, False, TINY, twice)
    (one,), (other,) = once.iterdir(), twice.iterdir()
    assert one.read_bytes() == other.read_bytes()


def test_a_body_without_the_kinds_of_expert_that_are_named_is_refused(tmp_path: Path):
    for body, kinds in (("ant", ("leaper",)), ("halfcheetah", ())):
        with pytest.raises(SettingError, match="names no expert"):
            motion(body_of(body), replace(TINY, folder=str(tmp_path), kinds=kinds))


RESULTS = Path(__file__).parents[2] / "results"


@pytest.mark.skipif(not RESULTS.is_dir(), reason="the published runs are not here")
def test_experts_and_motion_of_the_published_runs_need_not_be_made_again():
    """What their files hold of PPO's settings is what is compared, and what the digest of the motion covers."""
    bodies = set()
    for path in RESULTS.glob("task-tokens*/*/run.json"):
        config = json.loads(path.read_text())["config"]
        if "part" not in config.get("motion", {}):
            continue  # older than the experts that are published
        settings = settings_of(RewardSettings, config)
        written = config["motion"]["ppo"]
        held = {name: written[name] for name in written if name not in ("workers", "presence", "stagger")}
        recipe = module._recipe(body_of(settings.body), settings.motion)
        assert recipe["ppo"] == held, path
        assert module._alike({**recipe, "ppo": {**held, "policy_rate": 0.5}}, recipe)
        assert not module._alike({**recipe, "ppo": {**held, "rate": 0.5}}, recipe)
        bodies.add(settings.body)
    assert bodies == {"halfcheetah", "walker2d", "ant"}
