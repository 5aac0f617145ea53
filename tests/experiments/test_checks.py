"""Impossible settings are one sentence that names the option, the value and what is possible."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.faults import Few
from tests.toy import Toy

from skilltokens.experiments.checks import check_run
from skilltokens.experiments.recipes import RECIPES, recipe
from skilltokens.experiments.settings import RunSettings
from skilltokens.methods import METHODS, method_settings
from skilltokens.methods.lora import LoraSettings
from skilltokens.methods.t2s import T2SSettings
from skilltokens.settings import check_device
from skilltokens.suites import load_suite
from skilltokens.suites.limits import check_episodes
from skilltokens.types import SettingError

ROOT = Path(__file__).parents[2]
PLAIN: RunSettings[Any] = RunSettings(method=T2SSettings(), suite="tests.toy:Toy")


def changed(settings: Any, names: dict[str, Any]) -> Any:
    """The settings with some others, named as options are: {"train.rate": 0}."""
    for name, value in names.items():
        first, _, rest = name.partition(".")
        inner = changed(getattr(settings, first), {rest: value}) if rest else value
        settings = dataclasses.replace(settings, **{first: inner})
    return settings


IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"seed": -1}, "seed -1 is impossible: use 0 or more"),
    ({"policy.width": 0}, "policy.width 0 is impossible: use 1 or more"),
    ({"policy.layers": 0}, "policy.layers 0"),
    ({"policy.heads": 0}, "policy.heads 0"),
    ({"policy.heads": 5}, "policy.width 96 is no multiple of policy.heads 5"),
    ({"policy.history": 0}, "policy.history 0"),
    ({"policy.chunk": 0}, "policy.chunk 0 is impossible: use 1 or more"),
    ({"evaluate.ahead": 0}, "evaluate.ahead 0"),
    ({"evaluate.ahead": 2}, "evaluate.ahead 2 is more than policy.chunk 1, .* raise policy.chunk"),
    ({"policy.head": "mixture", "policy.modes": 0}, "policy.modes 0"),
    ({"train.iterations": -1}, "train.iterations -1"),
    ({"train.iterations": 0}, "train.iterations 0"),
    ({"train.first_iterations": 0}, "train.first_iterations 0"),
    ({"train.rate": 0.0}, "train.rate 0 is impossible: use a number above 0"),
    ({"train.rate": float("nan")}, "train.rate nan"),
    ({"train.warmup": -1}, "train.warmup -1"),
    ({"train.batch": 0}, "train.batch 0"),
    ({"train.window": 0}, "train.window 0"),
    ({"train.window": 9}, "train.window 9 is shorter than policy.history 10"),
    ({"train.weight_decay": -1.0}, "train.weight_decay -1"),
    ({"train.clip": 0.0}, "train.clip 0"),
    ({"train.average": 1.0}, "train.average 1 is impossible: use a number below 1"),
    ({"train.observation_noise": -0.1}, "train.observation_noise -0.1"),
    ({"train.observation_noise": float("inf")}, "train.observation_noise inf"),
    ({"train.shift": -0.1}, "train.shift -0.1"),
    ({"train.shift": 0.1}, "train.shift is impossible: suite 'toy' does not say which of its numbers are places"),
    ({"train.places": ("observation.hand:0",)}, "train.places 'observation.hand:0' names no numbers that suite 'toy'"),
    ({"train.device": "gpu"}, "there is no device 'gpu': use cpu, cuda or cuda:1"),
    ({"train.device": "cuda:99"}, "the device 'cuda:99' is not there"),
    ({"train.threads": 0}, "train.threads 0"),
    (
        {"train.kernel": "numba", "train.precision": "bfloat16"},
        "train.kernel 'numba' is for float32 on the CPU, not for b",
    ),
    ({"train.log_every": 0}, "train.log_every 0"),
    ({"evaluate.episodes": 0}, "evaluate.episodes 0"),
    ({"evaluate.points": 0}, "evaluate.points 0"),
    ({"evaluate.points": 6, "train.iterations": 4}, "evaluate.points 6 .* use at most 5"),
    (
        {"evaluate.at": (0.0, 0.5, 0.2, 1.0)},
        r"evaluate\.at 0 0\.5 0\.2 1 is impossible: give .* rise from 0 to 1",
    ),
    ({"evaluate.at": (0.0, 0.5)}, r"evaluate\.at 0 0\.5 is impossible"),
    ({"evaluate.at": (0.1, 1.0)}, r"evaluate\.at 0\.1 1 is impossible"),
    ({"evaluate.at": (0.0, 1.5)}, r"evaluate\.at 1\.5 is impossible: use 1 or less"),
    ({"evaluate.at": (0.0, 0.1, 1.0), "train.iterations": 4}, "where a lesson has 4 iterations: two of these shares"),
    ({"evaluate.horizon": -1}, "evaluate.horizon -1"),
    ({"evaluate.horizon": 41}, "a horizon of 41 steps is impossible: suite 'toy' allows 1 to 40"),
    ({"evaluate.group": 0}, "evaluate.group 0"),
    ({"evaluate.workers": -1}, "evaluate.workers -1"),
    ({"evaluate.variants": ("nowhere",)}, "no suite 'nowhere'"),
    ({"demonstrations.episodes": 0}, "demonstrations.episodes 0"),
    ({"demonstrations.noise": -0.1}, "demonstrations.noise -0.1"),
    ({"demonstrations.seed": -1}, "demonstrations.seed -1"),
    ({"method.rate": 0.0}, "method.rate 0"),
    ({"method.own_rate": -1.0}, "method.own_rate -1"),
    ({"method.share": 0.0}, "method.share 0"),
    ({"method.mu": 0.0}, "method.mu 0"),
    ({"method": LoraSettings(own_rate=0.0)}, "method.own_rate 0"),
]


@pytest.mark.parametrize(("names", "said"), IMPOSSIBLE, ids=[str(names) for names, _ in IMPOSSIBLE])
def test_an_impossible_setting_is_one_sentence(names: dict[str, Any], said: str):
    with pytest.raises(SettingError, match=said) as raised:
        check_run(changed(PLAIN, names), Toy())
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("method", METHODS)
def test_every_recipe_is_possible(method: str):
    for entry in RECIPES.values():
        if entry.experiment.name != "lifelong":
            continue
        settings = recipe(entry.name, method)
        check_run(settings, load_suite(settings.suite))


def test_the_edges_are_possible():
    check_run(PLAIN, Toy())
    check_run(
        changed(PLAIN, {"policy.history": 20, "evaluate.horizon": 40, "train.average": 0.0, "train.warmup": 0}), Toy()
    )
    check_run(changed(PLAIN, {"evaluate.points": 5, "train.iterations": 4, "train.weight_decay": 0.0}), Toy())
    check_run(changed(PLAIN, {"method": method_settings("multitask")()}), Toy())


def test_a_suite_may_say_how_many_episodes_it_has():
    check_episodes(Few(), "test", 4)
    check_episodes(Few(), "train", 1000)
    with pytest.raises(SettingError, match=r"'few' has 4 different episodes of the split 'validation', not 5: use 4"):
        check_episodes(Few(), "validation", 5)


def test_a_device_that_torch_sees_is_possible(monkeypatch: pytest.MonkeyPatch):
    import torch

    check_device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_device("cuda")
    check_device("cuda:1")
    with pytest.raises(SettingError, match=r"'cuda:2' is not there \(torch \S+ sees 2 GPUs\)"):
        check_device("cuda:2")


def test_a_kernel_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch):
    check_run(changed(PLAIN, {"train.kernel": "numba"}), Toy())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        SettingError, match=r'train.kernel \'numba\' needs numba, .*: run `pip install "skilltokens\[fast\]"`'
    ):
        check_run(changed(PLAIN, {"train.kernel": "numba"}), Toy())


def test_settings_are_checked_without_torch():
    code = (
        "import sys\nfrom tests.toy import Toy\nfrom skilltokens.experiments.checks import check_run\n"
        "from skilltokens.experiments.settings import RunSettings\nfrom skilltokens.methods.t2s import T2SSettings\n"
        "check_run(RunSettings(method=T2SSettings()), Toy())\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["False"]
