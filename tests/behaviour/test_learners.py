"""Ways to learn from reward: what each trains, and how a task token acts in a policy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.small import make_policy, observations

from skilltokens.behaviour.agents import MlpAgent, Shaken
from skilltokens.behaviour.builder import make_agent
from skilltokens.behaviour.environments import challenge
from skilltokens.behaviour.learners import LEARNERS
from skilltokens.behaviour.settings import PpoSettings
from skilltokens.demos import DemonstrationStore
from skilltokens.model.actor import PolicyActor
from skilltokens.model.settings import PolicySettings
from skilltokens.model.task_token import TaskToken
from skilltokens.model.trunked import TrunkEye
from skilltokens.types import ENVIRONMENT_STATE, STATE, Actor, ObservationError

PPO = PpoSettings(envs=4, rollout=32, batch=64, epochs=2, hidden=(16,), critic_hidden=(16,))
ENV = "tests.toy:Toy"


def test_what_begins_from_nothing_and_what_has_no_chance_follow_from_the_table():
    assert [name for name, learner in LEARNERS.items() if learner.scratch] == ["transformer", "mlp"]
    assert [name for name, learner in LEARNERS.items() if learner.untrained] == ["goal"]
    assert [name for name, learner in LEARNERS.items() if not learner.token] == ["goal", "mlp"]


@pytest.mark.parametrize("name", list(LEARNERS))
def test_a_learner_trains_what_it_says_and_nothing_of_the_frozen_policy(name: str):
    policy = make_policy(PolicySettings(width=32, layers=2, history=1)).requires_grad_(False)
    before = policy.fingerprint()
    space = challenge(f"{ENV}/between").make().observation_space
    language = np.zeros(policy.shape.language, np.float32)
    agent = make_agent(name, policy, language, space, PPO, 0)  # pyright: ignore[reportArgumentType]
    trained = {id(parameter) for parameter in agent.learned()}
    own = sum(parameter.numel() for parameter in agent.learned())
    assert not trained & {id(parameter) for parameter in policy.parameters()}
    whole = sum(parameter.numel() for parameter in policy.parameters())
    if name == "goal":
        assert own == 0
    elif name in ("token", "token-goal"):
        assert 0 < own < whole / 5
    elif name in ("finetune", "finetune-goal", "transformer"):
        assert own > whole
    optimizer = torch.optim.Adam(agent.groups(), lr=0.1)
    seen = {STATE: torch.randn(8, 2), ENVIRONMENT_STATE: torch.randn(8, 4)}
    (agent.mean(seen).square().mean() + agent.value(seen).square().mean()).backward()
    optimizer.step()
    assert policy.fingerprint() == before


def test_a_policy_that_is_trained_has_a_rate_of_its_own_and_the_encoder_keeps_its_own():
    policy = make_policy(PolicySettings(width=32, layers=2, history=1)).requires_grad_(False)
    space: Any = challenge(f"{ENV}/between").make().observation_space
    settings = replace(PPO, rate=1e-2, policy_rate=1e-5)
    for name in ("finetune", "lora", "token"):
        agent = make_agent(name, policy, np.zeros(policy.shape.language, np.float32), space, settings, 0)
        rates = {id(parameter): group["lr"] for group in agent.groups() for parameter in group["params"]}
        for path, parameter in agent.named_parameters():
            if parameter.requires_grad and not path.startswith("critic"):
                assert rates[id(parameter)] == (1e-2 if "prompt" in path else 1e-5), path
        assert set(rates.values()) == ({1e-2, PPO.critic_rate} | ({1e-5} if name != "token" else set()))


@pytest.mark.parametrize("name", ["token", "lora", "mlp"])
def test_who_learns_elsewhere_is_measured_here_and_leaves_the_library_where_it_is(name: str):
    policy = make_policy(PolicySettings(width=32, layers=2, history=1)).requires_grad_(False)
    space: Any = challenge(f"{ENV}/between").make().observation_space
    agent = make_agent(name, policy, np.zeros(policy.shape.language, np.float32), space, PPO, 0)
    agent.double()  # stands for another device: what moves the agent must not move the policy
    assert {parameter.dtype for parameter in policy.parameters()} == {torch.float32}
    agent.float().to("meta")
    assert {parameter.device.type for parameter in policy.parameters()} == {"cpu"}


def test_lora_and_the_token_begin_as_the_frozen_policy_with_a_token():
    policy = make_policy(PolicySettings(width=32, layers=2, history=1)).requires_grad_(False)
    space = challenge(f"{ENV}/between").make().observation_space
    language = np.zeros(policy.shape.language, np.float32)
    seen = {STATE: torch.randn(8, 2), ENVIRONMENT_STATE: torch.randn(8, 4)}
    actions = [
        make_agent(name, policy, language, space, PPO, 0).mean(seen)  # pyright: ignore[reportArgumentType]
        for name in ("token", "lora", "finetune")
    ]
    assert torch.allclose(actions[0], actions[1], atol=1e-6)
    assert torch.allclose(actions[0], actions[2], atol=1e-6)


@pytest.mark.parametrize(("tokens", "presence"), [(1, 0.0), (3, -0.5)])
@pytest.mark.parametrize("step", ["joint", "separate"])
def test_acting_with_a_cache_is_exact_with_task_tokens(
    tokens: int, presence: float, step, toy_stores: list[DemonstrationStore]
):
    policy = make_policy(PolicySettings(width=32, layers=1, history=4, step=step))
    draw = torch.Generator().manual_seed(1)
    token = TaskToken({ENVIRONMENT_STATE: 4, STATE: 2}, 32, tokens, (16,), draw, presence=presence)
    prompted = policy.with_task_token(token)
    language = np.full(policy.shape.language, 0.1, np.float32)
    seen = observations(toy_stores[0], 9)
    actor = PolicyActor(prompted, language)
    memory = actor.start(len(seen[0][STATE]))
    cached = np.stack([actor.act(observation, memory) for observation in seen])
    window = {name: torch.as_tensor(np.stack([step[name] for step in seen], 1)) for name in seen[0]}
    words = torch.as_tensor(language).expand(len(seen[0][STATE]), -1)
    with torch.no_grad():
        whole = prompted.head(prompted(window, words)).clamp(-1, 1).numpy()
        plain = policy.head(policy(window, words)).clamp(-1, 1).numpy()
    np.testing.assert_allclose(cached, whole.swapaxes(0, 1), rtol=0, atol=2e-5)
    assert np.abs(whole - plain).max() > 1e-3


def test_a_token_of_low_presence_begins_nearly_as_no_token_and_learns(toy_stores: list[DemonstrationStore]):
    policy = make_policy(PolicySettings(width=32, layers=2, history=1, step="separate"))
    seen = {name: torch.as_tensor(value)[:, None] for name, value in observations(toy_stores[0], 1)[0].items()}
    words = torch.full((len(seen[STATE]), policy.shape.language), 0.1)

    def act(presence: float) -> tuple[torch.Tensor, TaskToken]:
        draw = torch.Generator().manual_seed(1)
        token = TaskToken({ENVIRONMENT_STATE: 4, STATE: 2}, 32, 2, (16,), draw, presence=presence)
        prompted = policy.with_task_token(token)
        return prompted.head(prompted(seen, words)), token

    plain = policy.head(policy(seen, words))
    loud, quiet = (float((act(presence)[0] - plain).abs().max().detach()) for presence in (0.0, -5.0))
    assert 0 < quiet < loud / 20
    assert torch.equal(act(float("-inf"))[0], plain)
    moved, token = act(-5.0)
    moved.square().sum().backward()
    assert all(value.grad is not None and bool(value.grad.abs().max() > 0) for value in token.parameters())


def test_a_shaken_actor_adds_the_same_noise_to_the_same_episodes(toy_stores: list[DemonstrationStore]):
    policy = make_policy(PolicySettings(width=32, layers=1, history=4))
    language = np.full(policy.shape.language, 0.1, np.float32)
    seen = observations(toy_stores[0], 30)

    def act(actor: Actor) -> np.ndarray:
        memory = actor.start(len(seen[0][STATE]))
        return np.stack([actor.act(observation, memory) for observation in seen])

    still = act(PolicyActor(policy, language))
    shaken = Shaken(PolicyActor(policy, language), -3.0)
    first, second = act(shaken), act(shaken)
    np.testing.assert_array_equal(first, second)
    assert first.dtype == still.dtype
    inside = np.abs(still) < 0.8
    assert 0.03 < (first - still)[inside].std() < 0.07


def test_plain_ppo_acts_on_nothing_that_is_wrong():
    widths = {STATE: 2, "observation.things": 6}
    agent = MlpAgent(widths, 2, PpoSettings(hidden=(8,)), torch.Generator().manual_seed(0))
    actor, seen = agent.actor(), {STATE: np.zeros((3, 2)), "observation.things": np.ones((3, 2, 3))}
    assert actor.act(seen, actor.start(3)).shape == (3, 2)
    for wrong, message in (
        ({STATE: np.full((3, 2), np.nan)}, r"'observation.state' holds nan, in row 0 at \(0,\)"),
        ({"observation.things": np.ones((3, 2, 4))}, r"has shape \(3, 2, 4\) where \(3, 6\)"),
    ):
        with pytest.raises(ObservationError, match=message):
            actor.act({**seen, **wrong}, None)


def test_a_token_reads_a_picture_in_place_of_numbers():
    token = TaskToken({STATE: 2}, 32, 1, (16,), torch.Generator().manual_seed(0), ("observation.images.top",))
    seen = {STATE: torch.zeros(2, 3, 2), "observation.images.top": torch.zeros(2, 3, 32, 48, 3, dtype=torch.uint8)}
    dark = token(seen)
    assert dark.shape == (2, 3, 1, 32)
    seen["observation.images.top"][1, 2, 4:10, 30:40] = 255
    lit = token(seen)
    assert torch.equal(dark[0], lit[0])
    assert (dark[1, 2] - lit[1, 2]).abs().max() > 1e-4


@pytest.mark.parametrize("trunk", ["lite0", "lite0-random"])
def test_a_token_sees_the_same_through_a_trunk_whether_it_looked_before_or_not(trunk: str):
    top = "observation.images.top"
    token = TaskToken({STATE: 2}, 32, 1, (16,), torch.Generator().manual_seed(0), (top,), trunk=trunk)
    pictures = torch.randint(0, 255, (2, 3, 32, 48, 3), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    seen = {STATE: torch.zeros(2, 3, 2), top: pictures}
    (eye,) = token.eyes
    assert isinstance(eye, TrunkEye)
    features = eye.look(pictures)
    assert features.shape == (2, 3, 2, 3, eye.trunk.channels)
    assert torch.equal(token(seen), token({**seen, top: features}))
    names = {name for name, _ in token.named_parameters()}
    assert not any("trunk" in name for name in names)
    assert "eyes.0.digest" in token.state_dict()
