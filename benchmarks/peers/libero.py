"""LIBERO's own policy, data set and training loop, from its clone, on demonstrations of ours.

What a robot of LIBERO's reads of itself (joints, gripper, hand), an action of seven numbers and a sentence's vector are
what both sides get. With pictures there are LIBERO's two cameras besides, and the hand is left out, as LIBERO does.

LIBERO is used as it is, but for this. It has no package file of its own at the top, so another package `libero` would
hide it: the name is given to the clone. It asks on a terminal for its paths: a file in a temporary folder answers. Its
policy takes the first picture's shape for its augmentation, also where it sees none: it is given that of a vector then,
and augments nothing. Its `DataLoader` has four workers: here it loads in the process, so that the time counts.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers.sizes import Size
from benchmarks.peers.sources import LIBERO, cloned, load, load_torchvision
from benchmarks.setting import LANGUAGE, embedding
from skilltokens.demos import DemonstrationStore
from skilltokens.model.policy import Policy, Shape
from skilltokens.model.settings import PolicySettings
from skilltokens.types import ACTION, Feature, Scale

JOINTS, GRIPPER, HAND = "observation.joint_states", "observation.gripper_states", "observation.ee_states"
CAMERAS = ("observation.images.agentview_rgb", "observation.images.eye_in_hand_rgb")
STATES = {JOINTS: Feature((7,)), GRIPPER: Feature((2,)), HAND: Feature((3,)), ACTION: Feature((7,))}
PICTURES = {
    JOINTS: Feature((7,)),
    GRIPPER: Feature((2,)),
    **dict.fromkeys(CAMERAS, Feature((128, 128, 3), "uint8")),
    ACTION: Feature((7,)),
}
SEEN_BY = {"joint_states": "robot0_joint_pos", "gripper_states": "robot0_gripper_qpos", "ee_states": "robot0_eef_pos"}
SEEN_BY |= {"agentview_rgb": "agentview_image", "eye_in_hand_rgb": "robot0_eye_in_hand_image"}
"""LIBERO's features, and what its simulator calls them."""
BATCH, WINDOW = 32, 10
"""LIBERO's own, and windows as long as our history."""


@dataclass(frozen=True)
class Form:
    """Settings of LIBERO's transformer policy; the defaults are those of its configs."""

    width: int = 64
    layers: int = 4
    heads: int = 6
    head_width: int = 64
    hidden: int = 256
    """Of its feed-forward networks."""
    dropout: float = 0.1
    head_layers: int = 2
    head_hidden: int = 1024


def like(settings: PolicySettings, hidden: int) -> Form:
    """A policy of LIBERO's as wide and deep as ours, with a head of one map and without dropout, as ours."""
    width, heads = settings.width, settings.heads
    return Form(width, settings.layers, heads, width // heads, hidden, 0.0, 0, width)


def our_policy(settings: PolicySettings, features: dict[str, Feature]) -> Policy:
    """A fresh policy of ours that reads the same."""
    vectors = {n: f.shape[0] for n, f in features.items() if f.dtype == "float32" and n != ACTION}
    scales = {name: Scale((0.0,) * width, (1.0,) * width) for name, width in vectors.items()}
    return Policy(Shape.of(features, scales, LANGUAGE), settings)


@cache
def modules() -> Any:
    """LIBERO's algorithms, data sets and evaluation, imported from the clone.

    Raises:
        PeerError: the clone, or what LIBERO needs, is not there.
    """
    path = cloned(LIBERO)
    package = types.ModuleType("libero")
    package.__path__ = [str(path / "libero")]
    sys.modules["libero"] = package
    os.environ.setdefault("MUJOCO_GL", "osmesa")
    os.environ["LIBERO_CONFIG_PATH"] = str(_answers(path))
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        load_torchvision()
        names = ("algos.base", "datasets", "metric")
        base, datasets, metric = (load(f"libero.lifelong.{name}") for name in names)
    return types.SimpleNamespace(base=base, datasets=datasets, metric=metric)


def _answers(path: Path) -> Path:
    """A folder with the file of paths that LIBERO would ask for."""
    folder = path.parent / "libero-paths"
    folder.mkdir(exist_ok=True)
    keys = ("benchmark_root", "bddl_files", "init_states", "datasets", "assets")
    (folder / "config.yaml").write_text("".join(f"{key}: {path / 'libero' / 'libero'}\n" for key in keys))
    return folder


def write_file(path: Path, store: DemonstrationStore) -> Path:
    """The demonstrations of a store as LIBERO's data sets have them: HDF5 of robomimic's form."""
    h5py = load("h5py")
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "random", "type": 1, "env_kwargs": {}})
        data.attrs["total"] = sum(map(len, store))
        for i, episode in enumerate(store):
            group = data.create_group(f"demo_{i}")
            group.attrs["num_samples"] = len(episode)
            for name, values in episode.features.items():
                group["actions" if name == ACTION else f"obs/{name.rsplit('.', 1)[-1]}"] = values
    return path


class Libero:
    """LIBERO's sequential training of its transformer policy on one file.

    Attributes:
        algorithm: its `Sequential`, with the task begun.
        form: the policy's settings.
    """

    def __init__(self, form: Form, file: Path, batch: int = BATCH) -> None:
        self.form, self._batch, lifelong = form, batch, modules()
        self._names = _names_in(file)
        pictures = [name for name in self._names if name.endswith("_rgb")]
        vectors = [name for name in self._names if name not in pictures]
        modality = {"rgb": pictures, "depth": [], "low_dim": vectors}
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            dataset, shape = lifelong.datasets.get_dataset(str(file), modality, seq_len=WINDOW)
            self.embedding = torch.from_numpy(embedding(0)[0])
            self._data = lifelong.datasets.SequenceVLDataset(dataset, self.embedding)
            first = {**modality, "rgb": pictures or vectors}  # the policy takes the shape of the first, see above
            self.settings = _settings(form, first, shape, batch)
            self.algorithm = lifelong.base.Sequential(1, self.settings)
            self.settings.data.obs.modality = modality
        self.algorithm.start_task(0)
        self._lifelong = lifelong

    @property
    def size(self) -> Size:
        """Of its policy; all of it is trained."""
        return Size.of(self.algorithm.policy)

    def steps(self) -> Iterator[float]:
        """Its training loop: the losses of one step after another."""
        loader = self._loader()
        self.algorithm.policy.train()
        while True:
            for data in loader:
                yield self.algorithm.observe(data)

    def ready(self) -> dict[str, Any]:
        """One batch, drawn beforehand."""
        self.algorithm.policy.train()
        return next(iter(self._loader()))

    def _loader(self) -> Any:
        data = torch.utils.data
        return data.DataLoader(
            self._data, batch_size=self._batch, num_workers=0, sampler=data.RandomSampler(self._data)
        )

    def act(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        """An action as its evaluation takes it: from what a simulator shows one robot, by `get_action`."""
        data = self._lifelong.metric.raw_obs_to_tensor_obs([observation], self.embedding[None], self.settings)
        return self.algorithm.policy.get_action(data)

    def seen(self, numbers: np.random.Generator) -> dict[str, np.ndarray]:
        """A random observation of one robot, in the simulator's names."""
        wide = {"joint_states": 7, "gripper_states": 2, "ee_states": 3}
        pictured = {n: numbers.integers(0, 256, (128, 128, 3), np.uint8) for n in self._names if n not in wide}
        vectors = {n: numbers.uniform(-1, 1, wide[n]).astype(np.float32) for n in self._names if n in wide}
        return {SEEN_BY[name]: value for name, value in (pictured | vectors).items()}


def _names_in(file: Path) -> list[str]:
    with load("h5py").File(file) as opened:
        return list(opened["data/demo_0/obs"])


def _settings(form: Form, modality: dict[str, list[str]], shape: dict[str, Any], batch: int) -> Any:
    """LIBERO's configs with the form and the data put in, as the object that its code takes settings from."""
    hydra, folder = load("hydra"), cloned(LIBERO) / "libero" / "configs"
    changed = {f"policy.{name}": getattr(form, field) for field, name in _POLICY.items()}
    changed |= {"policy.policy_head.network_kwargs.num_layers": form.head_layers}
    changed |= {"policy.policy_head.network_kwargs.hidden_size": form.head_hidden}
    changed |= {"policy.language_encoder.network_kwargs.input_size": LANGUAGE, "data.seq_len": WINDOW}
    changed |= {"device": "cpu", "train.batch_size": batch, "train.use_augmentation": "false"}
    changed |= {"data.use_ee": str("ee_states" in shape["all_shapes"]).lower()}
    with hydra.initialize_config_dir(config_dir=str(folder), version_base="1.2"):
        composed = hydra.compose("config", [f"{name}={value}" for name, value in changed.items()])
    settings = load("easydict").EasyDict(load("omegaconf").OmegaConf.to_container(composed))
    for augmentation in (settings.policy.color_aug, settings.policy.translation_aug):
        augmentation.network, augmentation.network_kwargs = "IdentityAug", {"input_shape": None}
    settings.data.obs.modality, settings.data.obs_key_mapping = modality, dict(SEEN_BY)
    settings.shape_meta, settings.experiment_dir = shape, "."
    return settings


_POLICY = {
    "width": "embed_size",
    "layers": "transformer_num_layers",
    "heads": "transformer_num_heads",
    "head_width": "transformer_head_output_size",
    "hidden": "transformer_mlp_hidden_size",
    "dropout": "transformer_dropout",
}
"""The names of a form's fields in LIBERO's config."""
