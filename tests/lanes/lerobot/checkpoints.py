"""Small checkpoints as lerobot-train writes them: ACT and Diffusion Policy on states, ACT on pictures, SmolVLA."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies import make_pre_post_processors
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
from lerobot.policies.factory import get_policy_class
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig

from skilltokens.demos import DemonstrationStore
from skilltokens.types import ACTION, ENVIRONMENT_STATE

KINDS = ("act", "diffusion", "pictures", "smolvla")
COMMON: dict[str, Any] = {"device": "cpu", "push_to_hub": False}
ACT: dict[str, Any] = {
    "chunk_size": 6,
    "n_action_steps": 3,
    "dim_model": 32,
    "n_heads": 2,
    "dim_feedforward": 64,
    "n_encoder_layers": 1,
    "n_vae_encoder_layers": 1,
    "latent_dim": 8,
    "pretrained_backbone_weights": None,
}
DIFFUSION: dict[str, Any] = {
    "horizon": 8,
    "n_action_steps": 4,
    "down_dims": (16, 32),
    "n_groups": 4,
    "diffusion_step_embed_dim": 16,
    "num_train_timesteps": 10,
    "crop_shape": None,
}
WORDS = (
    "go",
    "to",
    "the",
    "red",
    "blue",
    "marker",
    "mark",
    "stop",
    "halfway",
    "between",
    "both",
    "markers",
    "move",
    "reach",
)


def write(folder: Path, kind: str, store: DemonstrationStore, seed: int = 0, **settings: Any) -> Path:
    """A checkpoint that was never trained, with the statistics of a store."""
    config = config_of(kind, store, folder.parent, **settings)
    config.input_features, config.output_features = features_of(store, kind != "act" and kind != "diffusion")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        policy = get_policy_class(config.type)(config)
    policy.save_pretrained(folder)
    for pipeline in make_pre_post_processors(config, dataset_stats=stats_of(store)):
        pipeline.save_pretrained(folder)
    return folder


def config_of(kind: str, store: DemonstrationStore, near: Path, **settings: Any) -> Any:
    if kind == "diffusion":
        return DiffusionConfig(**{**COMMON, **DIFFUSION, **settings})
    if kind == "smolvla":
        return SmolVLAConfig(
            **{
                **COMMON,
                "vlm_model_name": str(tiny_vlm(near / "vlm")),
                "load_vlm_weights": False,
                "chunk_size": 6,
                "n_action_steps": 3,
                "num_vlm_layers": 2,
                "resize_imgs_with_padding": (64, 64),
                "expert_width_multiplier": 0.75,
                "num_steps": 4,
                "tokenizer_max_length": 12,
                **settings,
            }
        )
    return ACTConfig(**{**COMMON, **ACT, **settings})


def features_of(store: DemonstrationStore, pictures: bool) -> tuple[dict[str, PolicyFeature], dict[str, PolicyFeature]]:
    """What a policy observes of a store, and its action, in LeRobot's words."""
    observed: dict[str, PolicyFeature] = {}
    for name, feature in store.features.items():
        if len(feature.shape) == 3:
            height, width, colours = feature.shape
            if pictures:
                observed[name] = PolicyFeature(FeatureType.VISUAL, (colours, height, width))
        elif name != ACTION:
            kind = FeatureType.ENV if name == ENVIRONMENT_STATE else FeatureType.STATE
            observed[name] = PolicyFeature(kind, feature.shape)
    return observed, {ACTION: PolicyFeature(FeatureType.ACTION, store.features[ACTION].shape)}


def stats_of(store: DemonstrationStore) -> dict[str, dict[str, Any]]:
    """A store's statistics as LeRobot's data sets have them."""
    stats: dict[str, dict[str, Any]] = {}
    for name, feature in store.features.items():
        values = np.asarray(store[name], np.float64)
        if len(feature.shape) == 3:
            values = (values / 255).reshape(-1, feature.shape[2])
        whole = {"mean": values.mean(0), "std": values.std(0), "min": values.min(0), "max": values.max(0)}
        whole |= {f"q{part:02}": np.quantile(values, part / 100, axis=0) for part in (1, 10, 90, 99)}
        shape = (-1, 1, 1) if len(feature.shape) == 3 else (-1,)
        stats[name] = {key: value.reshape(shape).astype(np.float32) for key, value in whole.items()}
    return stats


def tiny_vlm(folder: Path) -> Path:
    """A vision-language model with random numbers, and a tokenizer of a few words, in a folder."""
    if folder.exists():
        return folder
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        PreTrainedTokenizerFast,
        SmolVLMConfig,
        SmolVLMImageProcessor,
        SmolVLMProcessor,
        SmolVLMVideoProcessor,
    )

    special = {
        "image_token": "<image>",
        "fake_image_token": "<fake>",
        "global_image_token": "<global>",
        "end_of_utterance_token": "<end>",
    }
    names = ["<pad>", "<unk>", "<s>", "</s>", *special.values(), *dict.fromkeys(WORDS)]
    tokenizer = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens=special,
    )
    text: Mapping[str, Any] = {
        "model_type": "llama",
        "hidden_size": 96,
        "intermediate_size": 192,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "vocab_size": 64,
        "pad_token_id": 0,
    }
    vision: Mapping[str, Any] = {
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 16,
    }
    SmolVLMConfig(
        text_config=text, vision_config=vision, image_token_id=4, scale_factor=2, pad_token_id=0
    ).save_pretrained(folder)
    SmolVLMProcessor(SmolVLMImageProcessor(), fast, SmolVLMVideoProcessor()).save_pretrained(folder)
    return folder
