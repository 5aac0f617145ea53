"""Pictures: a trunk that is trained once and asked once a picture, and small heads of the skills' own."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.pictured import TOP, Pictured, pictured_lessons, pictured_policy, pictured_stores
from tests.small import LANGUAGE, act, called, changed, numbers, teach, train

from skilltokens.demos import DemonstrationStore, write_store
from skilltokens.experiments import checkpoint
from skilltokens.methods.base import Training, count
from skilltokens.methods.lora import LoraSettings
from skilltokens.methods.lora.method import Lora
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.methods.sequential.method import Sequential
from skilltokens.methods.skilled import SkillMethod
from skilltokens.methods.t2s import T2SSettings
from skilltokens.methods.t2s.method import T2S
from skilltokens.model import features, images
from skilltokens.model.encoders import kind_of
from skilltokens.model.features import precomputed
from skilltokens.model.images import ImageEncoder, Trunk, pixels
from skilltokens.model.policy import Policy, Shape
from skilltokens.settings import TrainSettings
from skilltokens.skills.library import SkillLibrary
from skilltokens.train import fit
from skilltokens.types import ACTION, STATE, Array, Episode, Feature, SettingError

PATH = TOP.replace(".", "/")
SHORT = TrainSettings(iterations=4, first_iterations=4, batch=4, window=6, warmup=2, log_every=1)
METHODS = {"t2s": T2SSettings(), "lora": LoraSettings()}
each_method = pytest.mark.parametrize("name", METHODS)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[DemonstrationStore]:
    return pictured_stores(tmp_path_factory.mktemp("pictured"))


def method_of(name: str, seed: int = 0) -> SkillMethod:
    base = pictured_policy(seed)
    return T2S(base, T2SSettings(), SHORT, 0) if name == "t2s" else Lora(base, LoraSettings(), SHORT, 0)


def encoder_of(policy: Policy) -> ImageEncoder:
    encoder = policy.encoders[PATH]
    assert isinstance(encoder, ImageEncoder)
    return encoder


def seen(store: DemonstrationStore, steps: int, batch: int = 3) -> list[dict[str, Array]]:
    """Raw observations of `batch` episodes in lock-step."""
    rows = [(np.arange(batch) * 7 + step) % store.steps for step in range(steps)]
    return [{name: np.asarray(store[name][row]) for name in (STATE, TOP)} for row in rows]


def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures each call of a trunk gets, from now on."""
    calls: list[int] = []
    forward = Trunk.forward

    def counted(self: Trunk, x: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return forward(self, x)

    monkeypatch.setattr(Trunk, "forward", counted)
    return calls


# ------------------------------------------------ reading


def test_pictures_need_no_scale_and_are_read_as_pictures():
    suite = Pictured()
    shape = Shape.of(suite.features, suite.scales, LANGUAGE)
    assert shape.kinds == {TOP: "image"}
    assert shape.scales[TOP] == pixels(3)
    assert list(shape.scales)[-1] == STATE
    assert Shape.fromdict(shape.asdict()) == shape


@pytest.mark.parametrize(
    "feature", [Feature((40, 40, 3), "int32"), Feature((31, 40, 3), "uint8"), Feature((2, 40, 40, 3), "uint8")]
)
def test_what_is_no_picture_is_refused(feature: Feature):
    with pytest.raises(SettingError, match=r"of shape \(.*\(height, width, colours\) in uint8"):
        kind_of(TOP, feature)


def test_pictures_in_floats_look_the_same_as_in_bytes():
    in_bytes, in_floats = (
        ImageEncoder(pixels(3, dtype), 16, torch.Generator().manual_seed(0)) for dtype in ("uint8", "float32")
    )
    x, instruction = torch.randint(0, 256, (2, 3, 40, 48, 3), dtype=torch.uint8), torch.randn(2, 1, 16)
    expected = in_bytes(x, instruction)
    torch.testing.assert_close(in_floats(x / 255, instruction), expected, atol=1e-4, rtol=0)
    assert (in_floats(x.float(), instruction) - expected).abs().max() > 0.01


@pytest.mark.parametrize(("height", "width", "colours"), [(40, 40, 3), (32, 56, 1), (128, 128, 4)])
def test_any_size_and_number_of_colours_gives_one_token_a_step(height: int, width: int, colours: int):
    encoder = ImageEncoder(pixels(colours), 16, torch.Generator().manual_seed(0))
    x = torch.randint(0, 256, (2, 3, height, width, colours), dtype=torch.uint8)
    token = encoder(x, torch.randn(2, 1, 16))
    assert token.shape == (2, 3, 16)
    assert token.isfinite().all()
    assert encoder.features(x[0]).shape == (3, height // 8, width // 8, images.CHANNELS)


def test_a_token_tells_where_things_are_and_what_the_instruction_asks():
    encoder = ImageEncoder(pixels(3), 16, torch.Generator().manual_seed(0))
    x = torch.full((1, 1, 40, 40, 3), 200, dtype=torch.uint8)
    x[:, :, 8:16, 8:16, 1:] = 0
    words = torch.randn(1, 1, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        token, moved = encoder(x, words), encoder(x.roll(16, 2), words)
        assert (token - moved).abs().max() > 0.05
        assert (token - encoder(x, -words)).abs().max() > 0.05


def test_pictures_get_no_noise(stores: list[DemonstrationStore]):
    policy, (lesson, *_) = pictured_policy(), pictured_lessons(stores)
    training = Training(policy, [{"params": list(policy.parameters()), "lr": 1e-3}], [lesson])
    record = train(training, dataclasses.replace(SHORT, observation_noise=0.1))
    assert len(record.loss) == 4


# ------------------------------------------------ acting


def test_cached_and_uncached_actions_agree(stores: list[DemonstrationStore]):
    policy, lesson = pictured_policy(), pictured_lessons(stores)[0]
    observed, embedding = seen(stores[0], 10), lesson.embeddings[0][0]
    cached = act(policy, embedding, observed)
    with torch.no_grad():
        window = {n: torch.as_tensor(np.stack([step[n] for step in observed], 1)) for n in (STATE, TOP)}
        whole = policy.head(policy(window, torch.as_tensor(embedding).expand(3, -1))).clamp(-1, 1)
    np.testing.assert_allclose(cached, whole.transpose(0, 1).numpy(), atol=2e-5)
    assert np.abs(np.diff(cached, axis=0)).max() > 1e-3


# ------------------------------------------------ learning


def test_full_training_changes_the_trunk(stores: list[DemonstrationStore]):
    method, lessons = Sequential(pictured_policy(), SequentialSettings(), SHORT, 0), pictured_lessons(stores)
    for lesson in lessons[:2]:
        before = numbers(encoder_of(method.base).trunk)
        teach(method, lesson, SHORT)
        assert set(changed(before, encoder_of(method.base).trunk)) == set(before)


@each_method
def test_a_skill_trains_a_head_of_its_own_and_no_trunk(name: str, stores: list[DemonstrationStore]):
    method, lessons = method_of(name), pictured_lessons(stores)
    teach(method, lessons[0], SHORT)
    training = method.begin(lessons[1])
    base, skill = encoder_of(method.base), encoder_of(training.policy)
    assert skill.trunk is base.trunk
    assert skill.film is base.film
    assert skill.head is not base.head
    frozen = {id(parameter) for parameter in method.base.parameters()}
    assert not frozen & {id(parameter) for parameter in training.parameters()}
    assert {id(parameter) for parameter in skill.head.parameters()} <= {id(p) for p in training.parameters()}
    assert sum(p.numel() for p in training.parameters()) <= 0.08 * count(method.base)
    before = numbers(method.base)
    teach(method, lessons[1], dataclasses.replace(SHORT, weight_decay=0.5))
    assert not changed(before, method.base)
    assert changed(numbers(base.head), encoder_of(method.entries[1].policy).head)


@each_method
def test_old_skills_act_bit_for_bit_as_before(name: str, stores: list[DemonstrationStore]):
    method, lessons, observed = method_of(name), pictured_lessons(stores), seen(stores[0], 6)
    first, prints = [], []
    for lesson in lessons:
        teach(method, lesson, SHORT)
        first.append(called(method, lesson, observed))
        prints.append(method.choose(lesson.embeddings[0][0]).policy.fingerprint())
        for earlier, actions, mark in zip(lessons, first, prints, strict=False):
            np.testing.assert_array_equal(called(method, earlier, observed), actions)
            assert method.choose(earlier.embeddings[0][0]).policy.fingerprint() == mark
    again = method_of(name, seed=1)
    again.restore({key: tensor.clone() for key, tensor in method.state().items()}, lessons)
    for lesson, actions in zip(lessons, first, strict=True):
        np.testing.assert_array_equal(called(again, lesson, observed), actions)
    assert len({actions.tobytes() for actions in first}) == len(lessons)


def test_a_library_keeps_a_skill_that_sees(stores: list[DemonstrationStore], tmp_path: Path):
    method, lessons = T2S(pictured_policy(), T2SSettings(), SHORT, 0), pictured_lessons(stores)
    for lesson in lessons[:2]:
        teach(method, lesson, SHORT)
    library = SkillLibrary.create(tmp_path, method.base, method.skills[0], dict(stores[0].features), "minilm")
    library.add(method.skills[1])
    again, observed = SkillLibrary.open(tmp_path), seen(stores[1], 5)
    expected = called(method, lessons[1], observed)
    np.testing.assert_array_equal(act(again.policy(1), again.skills[1].embeddings[0], observed), expected)


# ------------------------------------------------ what is computed once


def test_a_frozen_trunk_is_asked_once_a_picture(stores: list[DemonstrationStore], monkeypatch: pytest.MonkeyPatch):
    method, lessons = method_of("t2s"), pictured_lessons(stores)
    teach(method, lessons[0], SHORT)
    training, calls = method.begin(lessons[1]), asked(monkeypatch)
    for _ in fit(training, dataclasses.replace(SHORT, iterations=9), 9, [1.0], 0):
        pass
    assert sum(calls) == -(-stores[1].steps // features._PIECE) * features._PIECE


def test_a_trunk_in_training_sees_the_pictures_of_every_batch(
    stores: list[DemonstrationStore], monkeypatch: pytest.MonkeyPatch
):
    policy, (lesson, *_), calls = pictured_policy(), pictured_lessons(stores), asked(monkeypatch)
    train(Training(policy, [{"params": list(policy.parameters()), "lr": 1e-3}], [lesson]), SHORT)
    assert calls == [SHORT.batch * SHORT.window] * SHORT.iterations


def test_precomputed_features_are_what_the_trunk_says(stores: list[DemonstrationStore]):
    policy = pictured_policy().requires_grad_(False)
    encoder, pictures = encoder_of(policy), np.array(stores[0][TOP])
    seen_once = precomputed({TOP: encoder, STATE: policy.encoders[STATE.replace(".", "/")]}, stores[:2], "cpu")
    assert seen_once.keys() == {TOP}
    assert [len(array) for array in seen_once[TOP]] == [store.steps for store in stores[:2]]
    np.testing.assert_allclose(seen_once[TOP][0], encoder.features(torch.from_numpy(pictures)), atol=5e-3)
    words = torch.randn(1, 1, 64)
    with torch.no_grad():
        whole = encoder(torch.from_numpy(pictures[None]), words)
        from_features = encoder(torch.from_numpy(seen_once[TOP][0][None]).float(), words)
    np.testing.assert_allclose(from_features, whole, atol=1e-2)


def test_precomputed_features_of_pictures_in_floats_are_those_of_the_same_in_bytes(
    stores: list[DemonstrationStore], tmp_path: Path
):
    store, picture = stores[0], stores[0].features[TOP]
    floats = write_store(
        tmp_path / "floats",
        (Episode({**e.features, TOP: (np.asarray(e.features[TOP]) / 255).astype(np.float64)}) for e in store),
        task=store.task,
        features={**store.features, TOP: Feature(picture.shape, "float64")},
        source="scripted",
        suite="toy",
    )
    both = {}
    for one, dtype in ((store, "uint8"), (floats, "float64")):
        encoder = ImageEncoder(pixels(3, dtype), 16, torch.Generator().manual_seed(0)).requires_grad_(False)
        both[dtype] = precomputed({TOP: encoder}, [one], "cpu")[TOP][0]
    np.testing.assert_allclose(both["float64"].astype(float), both["uint8"].astype(float), atol=4e-3)


def test_precomputed_features_of_a_store_depend_on_no_other(stores: list[DemonstrationStore]):
    encoders = {TOP: encoder_of(pictured_policy().requires_grad_(False))}
    together, alone = precomputed(encoders, stores, "cpu")[TOP], precomputed(encoders, stores[1:2], "cpu")[TOP]
    np.testing.assert_array_equal(together[1], alone[0])


def test_where_memory_is_too_small_training_computes_them_each_time(
    stores: list[DemonstrationStore], monkeypatch: pytest.MonkeyPatch
):
    losses = []
    for memory in (features.MEMORY, 1000):
        method, lessons = method_of("t2s"), pictured_lessons(stores)
        teach(method, lessons[0], SHORT)
        monkeypatch.setattr(features, "MEMORY", memory)
        losses.append(train(method.begin(lessons[1]), SHORT).loss)
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)


@each_method
def test_training_resumes_bit_for_bit(name: str, stores: list[DemonstrationStore], tmp_path: Path):
    trained = []
    for start in (None, 0.5):
        method, lessons = method_of(name), pictured_lessons(stores)
        teach(method, lessons[0], SHORT)
        before = None
        if start is not None:
            stops = fit(method.begin(lessons[1]), SHORT, 4, [start, 1.0], 3)
            checkpoint.save_progress(tmp_path, checkpoint.Tie(1), next(stops).state(), [], (0.0, 0.0))
            progress = checkpoint.load_progress(tmp_path, checkpoint.Tie(1))
            assert progress is not None
            before = progress.start
        training = method.begin(lessons[1])
        *_, _ = fit(training, SHORT, 4, [0.5, 1.0], 3, start=before)
        trained.append(numbers(training.policy))
    assert all(torch.equal(trained[0][key], trained[1][key]) for key in trained[0])


@pytest.mark.slow
def test_pictures_are_enough_to_learn_from(tmp_path: Path):
    (store,) = pictured_stores(tmp_path, Pictured().tasks[:1], 30)
    policy, (lesson,) = pictured_policy(), pictured_lessons([store])
    training = Training(policy, [{"params": list(policy.parameters()), "lr": 3e-3}], [lesson])
    record = train(training, TrainSettings(iterations=200, batch=16, window=6, log_every=1, warmup=10))
    still = float(np.square(np.asarray(store[ACTION])).mean())
    assert np.mean(record.loss[-10:]) < 0.3 * still
