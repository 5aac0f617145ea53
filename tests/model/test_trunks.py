"""Frozen trunks: what they compute, where they come from, and what is said where they are not there."""

from __future__ import annotations

import copy
import importlib
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tests.pictured import TOP, Pictured, pictured_policy
from tests.toy import Toy
from torch import Tensor, nn

from skilltokens.configuration import check_settings, plain_as_before
from skilltokens.demos.kinds import PICTURES
from skilltokens.experiments.checks import check_run
from skilltokens.experiments.settings import RunSettings
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.model.policy import Policy, Shape
from skilltokens.model.settings import PolicySettings
from skilltokens.model.trunked import TrunkEncoder
from skilltokens.model.trunks import lite0, opening, timm
from skilltokens.model.trunks.opening import open_trunk
from skilltokens.types import Scale, SettingError, TrunkError

GENERATOR = torch.Generator().manual_seed(0)
PICTURE = torch.randint(0, 256, (3, 64, 48, 3), generator=GENERATOR, dtype=torch.uint8)


def weights() -> Path:
    """The file of the package, where it is installed."""
    try:
        return lite0.weights_file()
    except TrunkError as problem:
        pytest.skip(str(problem))


class Reference(nn.Module):
    """EfficientNet-Lite0 as it was trained, its batch norms apart, from the names of the file's tensors alone."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        self.state = state

    def norm(self, x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            self.state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, weight, bias, eps=1e-3)

    def convolve(self, x: Tensor, name: str, stride: int) -> Tensor:
        weight = self.state[f"{name}.weight"]
        size, groups = weight.shape[-1], x.shape[1] // weight.shape[1]
        # TensorFlow's "same" for a size that the stride divides: as many zeros as are needed, the odd one behind
        total = max(size - stride, 0)
        x = F.pad(x, (total // 2, total - total // 2) * 2)
        return F.conv2d(x, weight, stride=stride, groups=groups)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """The output of every block."""
        x = F.relu6(self.norm(self.convolve((pictures - 127) / 128, "_conv_stem", 2), "_bn0"))
        outputs: list[Tensor] = []
        for number in range(11):
            name, start = f"_blocks.{number}.", x
            if f"{name}_expand_conv.weight" in self.state:
                x = F.relu6(self.norm(self.convolve(x, f"{name}_expand_conv", 1), f"{name}_bn0"))
            stride = 2 if number in (1, 3, 5) else 1
            x = F.relu6(self.norm(self.convolve(x, f"{name}_depthwise_conv", stride), f"{name}_bn1"))
            x = self.norm(self.convolve(x, f"{name}_project_conv", 1), f"{name}_bn2")
            x = x + start if x.shape == start.shape else x
            outputs.append(x)
        return outputs


@torch.no_grad()
def test_lite0_is_its_reference():
    state = torch.load(weights(), weights_only=True)
    pictures = PICTURE.permute(0, 3, 1, 2).float()
    outputs = Reference(state)(pictures)
    fine, coarse = lite0.trained()[0](pictures)
    for level, right in ((fine, outputs[4]), (coarse, outputs[10])):
        assert level.shape == right.shape
        assert float((level - right).abs().max()) < 1e-5 * float(right.abs().max())
    assert [tuple(level.shape[1:]) for level in (fine, coarse)] == [(40, 8, 6), (112, 4, 3)]


def test_lite0_is_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = weights()
    assert open_trunk("lite0").digest == "ad432bdbffcbfaeef981d161b10d5a816852772505ec812337d02b3ea14725e9"
    assert open_trunk("lite0").reference.parameters == 692_688
    changed = bytearray(path.read_bytes())
    changed[5000] ^= 1
    other = tmp_path / path.name
    other.write_bytes(changed)
    entry = SimpleNamespace(name=path.name, locate=lambda: other)
    monkeypatch.setattr(lite0, "files", lambda name: [entry])
    with pytest.raises(TrunkError, match=r"is not the file that the trunk 'lite0' is made of .* --force-reinstall"):
        lite0.trained()


def test_a_trunk_that_is_not_installed_says_the_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lite0, "PACKAGE", "efficientnet-of-nobody==0.1.0")
    monkeypatch.setattr(opening, "_open", {})
    with pytest.raises(TrunkError, match=r"'lite0' is not installed: run `pip install \"skilltokens\[pictures\]\"`"):
        open_trunk("lite0")
    monkeypatch.setitem(sys.modules, "timm", None)
    for name in ("timm:resnet18", "timm/resnet18.a1_in1k"):
        with pytest.raises(TrunkError, match=f"'{name}' is not installed: run `pip install timm`"):
            open_trunk(name)


def test_a_run_is_refused_before_anything_is_made(monkeypatch: pytest.MonkeyPatch):
    settings = RunSettings(SequentialSettings(), policy=PolicySettings(trunk="lite0-random"))
    with pytest.raises(SettingError, match=r"'lite0-random' is for pictures, and suite 'toy' has none"):
        check_run(settings, Toy())
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(TrunkError, match="'timm:resnet18' is not installed: run `pip install timm`"):
        check_run(replace(settings, policy=PolicySettings(trunk="timm:resnet18")), Pictured())


@pytest.mark.parametrize("name", ["lite1", "timm:", "timm:a/b", "a/b/c", "../x", "a b"])
def test_a_name_that_is_no_trunk_is_refused(name: str):
    with pytest.raises(SettingError, match=r"policy\.trunk .* is no trunk: use none, lite0"):
        check_settings(PolicySettings(trunk=name), "policy")


def test_the_control_has_the_same_weights_everywhere():
    trunk = open_trunk("lite0-random")
    assert trunk.digest == "f2bdc181d6a6e158906ae02e917438e8fed12355a4706b605daf9c0b0f96d1af"
    assert trunk.reference.parameters == 692_688


# ------------------------------------------------ what is seen


@pytest.mark.parametrize("name", ["lite0", "lite0-random"])
def test_a_picture_s_features_depend_on_nothing_beside_it(name: str):
    if name == "lite0":
        weights()
    trunk = open_trunk(name)
    together = trunk.look(PICTURE)
    assert together.shape == (3, 4, 3, trunk.channels)
    assert together.dtype == torch.float16
    trunk._recent.clear()
    threads = torch.get_num_threads()
    try:
        for many in (1, 2):
            torch.set_num_threads(many)
            for number in (2, 0, 1):
                assert torch.equal(trunk.compute(PICTURE[number : number + 1])[0], together[number])
            assert torch.get_num_threads() == many
    finally:
        torch.set_num_threads(threads)


def test_a_picture_that_has_not_changed_is_not_computed_again(monkeypatch: pytest.MonkeyPatch):
    trunk = open_trunk("lite0-random")
    before = trunk.look(PICTURE)
    monkeypatch.setattr(trunk, "compute", lambda picture: pytest.fail("computed again"))
    assert torch.equal(trunk.look(PICTURE.flip(0)), before.flip(0))


def test_pictures_in_floats_have_the_features_of_the_same_in_bytes():
    trunk = open_trunk("lite0-random")
    apart = trunk.look(PICTURE).float() - trunk.look(PICTURE / 255).float()
    assert float(apart.abs().max()) < 0.02


def test_the_pixels_stand_beside_the_features():
    """The quarter of a cell at its upper right holds the mean colours of its 8 x 8 pixels, at half the resolution."""
    trunk = open_trunk("lite0-random")
    cell = trunk.look(PICTURE)[0, 1, 2].float()
    quarter = cell[: 4 * (trunk.fine + 48)].unflatten(0, (4, -1))[1, trunk.fine :]
    part = PICTURE[0, 16:24, 40:48].permute(2, 0, 1).float()
    means = F.avg_pool2d(part, 2).flatten()
    np.testing.assert_allclose(quarter, (means - 127.5) / 63.75, atol=2e-3)


def test_a_picture_of_another_size_is_brought_to_whole_cells():
    trunk = open_trunk("lite0-random")
    pictures = torch.randint(0, 256, (1, 84, 100, 3), dtype=torch.uint8)
    assert trunk.look(pictures).shape == (1, 5, 6, trunk.channels)


# ------------------------------------------------ in a policy


def encoder_of(policy: Policy) -> TrunkEncoder:
    encoder = policy.encoders[TOP.replace(".", "/")]
    assert isinstance(encoder, TrunkEncoder)
    return encoder


def test_a_trunk_is_no_part_of_a_policy_s_numbers_and_copied_never():
    policy = pictured_policy(trunk="lite0-random")
    trunk = encoder_of(policy).trunk
    assert sum(parameter.numel() for parameter in policy.parameters()) < 100_000
    assert all(tensor.numel() < 50_000 for tensor in policy.state_dict().values())
    assert encoder_of(copy.deepcopy(policy)).trunk is trunk
    assert pickle.loads(pickle.dumps(trunk)) is trunk  # noqa: S301  our own


def test_without_a_trunk_everything_says_what_it_said_before():
    assert "trunk" not in repr(PolicySettings())
    assert not {"trunk", "neck", "points", "levels", "pixels"} & plain_as_before(PolicySettings()).keys()
    assert "trunk='lite0'" in repr(PolicySettings(trunk="lite0"))


def test_the_numbers_of_another_trunk_are_refused(tmp_path: Path):
    policy = pictured_policy(trunk="lite0-random")
    state = dict(policy.state_dict())
    (name,) = [name for name in state if name.endswith(".digest")]
    state[name] = state[name].flip(0)
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(TrunkError, match="learned behind another trunk than 'lite0-random'"):
        policy.load_state_dict(load_file(tmp_path / "other.safetensors"))


def test_the_trunk_is_part_of_a_policy_s_fingerprint():
    weights()
    assert len({pictured_policy(trunk=name).fingerprint() for name in ("none", "lite0", "lite0-random")}) == 3


@pytest.mark.parametrize(
    ("levels", "pixels", "numbers"),
    [("both", True, 200), ("fine", False, 40), ("coarse", False, 112), ("coarse", True, 160)],
)
def test_a_head_reads_the_levels_that_are_asked_for(levels: Any, pixels: bool, numbers: int):
    shape = pictured_policy().shape
    settings = PolicySettings(width=64, layers=1, history=4, trunk="lite0-random", levels=levels, pixels=pixels, neck=5)
    head = encoder_of(Policy(shape, settings, GENERATOR)).head
    maps = [part for part in (head.near, head.far) if part is not None]
    assert sum(part.in_features for part in maps) == numbers
    assert encoder_of(Policy(shape, settings, GENERATOR))(PICTURE[None], torch.randn(1, 1, 64)).shape == (1, 3, 64)


def test_a_trunk_without_pictures_and_pictures_without_three_colours_are_refused():
    settings = PolicySettings(width=32, layers=1, trunk="lite0-random")
    scale = Scale((0.0,) * 2, (1.0,) * 2)
    with pytest.raises(SettingError, match=r"policy\.trunk 'lite0-random' is for pictures, and this policy sees none"):
        Policy(Shape({"observation.state": scale}, 2, 24), settings)
    grey = Shape({TOP: Scale((127.5,), (127.5,))}, 2, 24, {TOP: PICTURES[0]})
    with pytest.raises(SettingError, match=r"sees pictures of 3 colours, and .* has 1"):
        Policy(grey, settings)


# ------------------------------------------------ timm's door


class Body(nn.Module):
    """What timm gives for `features_only`: maps at several levels."""

    feature_info = SimpleNamespace(reduction=lambda: [2, 4, 8, 16, 32])
    pretrained_cfg: ClassVar[dict[str, Any]] = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.ModuleList(nn.Conv2d(3, 3 + i, 2**i, 2**i) for i in range(1, 6))

    def forward(self, x: Tensor) -> list[Tensor]:
        return [level(x) for level in self.levels]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    """timm's interface as far as it is used: the package itself needs torchvision."""

    def create_model(name: str, pretrained: bool, features_only: bool) -> Body:
        assert pretrained
        assert features_only
        if name != "small":
            raise RuntimeError(f"Unknown model ({name})")
        torch.manual_seed(0)
        return Body()

    def load_state_dict_from_hf(model_id: str, weights_only: bool = True) -> None: ...

    package: Any = ModuleType("timm")
    package.create_model, package.__version__ = create_model, "1.0.31"
    hub: Any = ModuleType("timm.models._hub")
    hub.load_state_dict_from_hf = load_state_dict_from_hf
    for name, module in {"timm": package, "timm.models": ModuleType("timm.models"), hub.__name__: hub}.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(opening, "_open", {})
    return hub


def test_a_model_of_timm_comes_through_the_same_door(stand_in: Any):
    trunk = open_trunk("timm:small")
    assert (trunk.fine, trunk.coarse) == (6, 7)
    assert trunk.look(PICTURE).shape == (3, 4, 3, 4 * (6 + 48) + 7)
    assert float(trunk.look(PICTURE).float().std()) < 5
    before = trunk.digest
    opening._open.clear()
    assert open_trunk("timm:small").digest == before


def test_what_timm_cannot_give_or_not_safely_is_refused(stand_in: Any):
    with pytest.raises(TrunkError, match=r"'timm:large' could not be loaded \(RuntimeError: Unknown model \(large\)\)"):
        open_trunk("timm:large")

    def unsafe(model_id: str, weights_only: bool = False) -> None: ...

    stand_in.load_state_dict_from_hf = unsafe
    with pytest.raises(TrunkError, match=r"timm 1\.0\.31 may unpickle what it downloads"):
        open_trunk("timm:small")


def test_the_levels_of_a_vision_transformer_are_its_middle_and_its_last():
    assert timm.levels_of([16] * 12) == (5, 11)
    assert timm.levels_of([4, 8, 16, 32]) == (1, 2)
    assert timm.levels_of([2, 4, 8, 16, 32]) == (2, 3)
    assert importlib.import_module("skilltokens.model.trunks.naming").is_timm("OWNER/name")
