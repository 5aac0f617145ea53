"""The behaviour model: goals that are left out are masked, whatever stands behind their flag."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from skilltokens.behaviour.model import MaskGoals, distil
from skilltokens.demos import DemonstrationStore, write_store
from skilltokens.methods.examples import Examples
from skilltokens.methods.rule import Now
from skilltokens.model.actor import PolicyActor
from skilltokens.model.policy import Policy, Shape
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import TrainSettings
from skilltokens.skills.library import SkillLibrary
from skilltokens.types import ACTION, GOAL, STATE, Episode, Feature, Scale, Task

SETTINGS = PolicySettings(width=32, layers=2, history=1, maps="linear", step="separate")
FEATURES = {f"{GOAL}place": Feature((3,)), f"{GOAL}speed": Feature((2,)), STATE: Feature((4,)), ACTION: Feature((2,))}
SCALES = {name: Scale((0.0,) * f.shape[0], (1.0,) * f.shape[0]) for name, f in FEATURES.items() if name != ACTION}


def policy(history: int = 1) -> Policy:
    settings = PolicySettings(width=32, layers=2, history=history, maps="linear", step="separate")
    return Policy(Shape.of(FEATURES, SCALES, 8), settings, torch.Generator().manual_seed(0))


def seen(batch: int = 5, steps: int = 1) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    observation = {n: torch.randn(batch, steps, f.shape[0], generator=draw) for n, f in FEATURES.items() if n != ACTION}
    for name in observation:
        if name.startswith(GOAL):
            observation[name][..., 0] = 1.0
    return observation


WORDS = torch.full((5, 8), 0.35)


def test_the_robots_own_state_is_the_last_token():
    assert list(policy().shape.scales)[-1] == STATE


@torch.no_grad()
def test_what_stands_behind_a_goal_that_is_not_given_does_not_matter():
    model, one = policy(), seen()
    one[f"{GOAL}place"][..., 0] = 0.0
    other = {name: value.clone() for name, value in one.items()}
    other[f"{GOAL}place"][..., 1:] += 7.0
    assert torch.equal(model(one, WORDS), model(other, WORDS))
    given = {**one, f"{GOAL}place": torch.cat([torch.ones(5, 1, 1), one[f"{GOAL}place"][..., 1:]], -1)}
    assert (model(one, WORDS) - model(given, WORDS)).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("history", [1, 3])
def test_a_goal_that_is_not_given_is_as_if_the_model_had_never_heard_of_it(history: int):
    model, whole = policy(history), seen(steps=history)
    masked = {name: value.clone() for name, value in whole.items()}
    for name in masked:
        if name.startswith(GOAL):
            masked[name][..., 0] = 0.0
    alone = {STATE: whole[STATE]}
    assert torch.allclose(model(masked, WORDS), model(alone, WORDS), atol=1e-6)


@pytest.mark.parametrize("history", [1, 4])
def test_acting_with_a_cache_is_exact_with_goals_that_come_and_go(history: int):
    model, whole = policy(history), seen(steps=9)
    flags = torch.rand(5, 9, 2, generator=torch.Generator().manual_seed(2)) < 0.5
    for column, name in enumerate((f"{GOAL}place", f"{GOAL}speed")):
        whole[name][..., 0] = flags[..., column].float()
    actor = PolicyActor(model, WORDS[0].numpy())
    memory = actor.start(5)
    cached = [actor.act({name: value[:, t].numpy() for name, value in whole.items()}, memory) for t in range(9)]
    with torch.no_grad():
        window = model.head(model(whole, WORDS)).clamp(-1, 1).numpy()
    np.testing.assert_allclose(np.stack(cached, 1), window, rtol=0, atol=2e-5)


def test_a_policy_says_which_feature_it_lacks():
    with pytest.raises(Exception, match=r"lacks 'observation.state'"):
        policy()({f"{GOAL}place": torch.zeros(5, 1, 3)}, WORDS)


def test_masks_leave_out_every_goal_now_and_then_and_the_rest_alone():
    features = {f"{GOAL}{i}": torch.ones(4000, 1, 3) for i in range(4)} | {STATE: torch.ones(4000, 1, 2)}
    whole = Examples(features, torch.ones(4000, 4), torch.ones(4000, 1, 2), torch.ones(4000, 1).bool(), (4000,))
    now = Now(0, 1, np.random.default_rng(1), np.random.default_rng(0))
    features = MaskGoals().examples(whole, now).observation
    given = np.stack([features[f"{GOAL}{i}"][:, 0, 0] for i in range(4)], 1).sum(1)
    shares = np.bincount(given.astype(int), minlength=5) / 4000
    assert 0.1 < shares[0] < 0.2  # a tenth, and of the rest those where chance leaves all out
    assert shares[1] > 0.3  # two tenths, and a quarter of what chance decides
    assert shares[4] > 0.02
    assert (features[STATE] == 1).all()


@pytest.fixture(scope="module")
def motion(tmp_path_factory: pytest.TempPathFactory) -> DemonstrationStore:
    """Motion whose action is told by the goal alone, where that is given."""
    draw = np.random.default_rng(0)

    def episodes():
        for _ in range(20):
            arrays = {n: draw.standard_normal((50, *f.shape)).astype(np.float32) for n, f in FEATURES.items()}
            for name in arrays:
                if name.startswith(GOAL):
                    arrays[name][:, 0] = draw.random(50) < 0.9
            arrays[ACTION] = np.clip(arrays[f"{GOAL}place"][:, 1:] * 0.5, -1, 1)
            yield Episode(arrays)

    path = tmp_path_factory.mktemp("motion") / "store"
    return write_store(
        path, episodes(), task=Task("motion", "move as told"), features=FEATURES, source="scripted", suite="toy"
    )


def test_distillation_makes_a_library_whose_model_follows_its_goal(motion: DemonstrationStore, tmp_path: Path):
    train = TrainSettings(first_iterations=300, batch=128, window=1, rate=3e-3)
    library = distil(tmp_path / "model", motion, policy=SETTINGS, train=train)
    opened = SkillLibrary.open(tmp_path / "model")
    assert opened.base.fingerprint() == library.base.fingerprint()
    actor = PolicyActor(opened.base, opened.instruction_vector(0))
    state = np.zeros((2, 4), np.float32)
    asked = {f"{GOAL}place": np.array([[1, 1.2, 0], [1, -1.2, 0.0]], np.float32), STATE: state}
    actions = actor.act(asked, actor.start(2))
    assert actions[0, 0] > 0.3
    assert actions[1, 0] < -0.3
    untold = actor.act({STATE: state}, actor.start(2))
    assert np.abs(untold).max() < 0.2
    shutil.rmtree(tmp_path / "model")
