"""LeRobot's ACT trains on our export of a store, and acts in our suite as LeRobot's environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lerobot.configs import PreTrainedConfig
from lerobot.envs import close_envs, make_env, make_env_pre_post_processors
from lerobot.policies import make_policy, make_pre_post_processors
from lerobot.scripts.lerobot_eval import eval_policy_all
from tests.pictured import pictured_stores
from tests.toy import TASKS

from lerobot_policy_skilltokens.env_skilltokens import SkilltokensEnvConfig
from skilltokens.exchange.lerobot import export_lerobot

SMALL = {
    "chunk_size": 4,
    "n_action_steps": 4,
    "dim_model": 32,
    "n_heads": 2,
    "dim_feedforward": 32,
    "n_encoder_layers": 1,
    "latent_dim": 8,
    "pretrained_backbone_weights": "null",
    "use_vae": "false",
    "push_to_hub": "false",
    "device": "cpu",
}


def test_act_trains_on_an_export_and_acts_in_the_suite(tmp_path: Path):
    export_lerobot(pictured_stores(tmp_path / "stores", TASKS[:2]), tmp_path / "dataset", fps=10, robot="toy")
    words = [
        "--dataset.repo_id=local/toy",
        f"--dataset.root={tmp_path / 'dataset'}",
        "--policy.type=act",
        *(f"--policy.{name}={value}" for name, value in SMALL.items()),
        "--steps=3",
        "--batch_size=2",
        "--num_workers=0",
        "--persistent_workers=false",
        "--env_eval_freq=0",
        f"--output_dir={tmp_path / 'act'}",
    ]
    command = [str(Path(sys.executable).parent / "lerobot-train"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]

    (checkpoint,) = (tmp_path / "act" / "checkpoints").glob("[0-9]*/pretrained_model")
    config = SkilltokensEnvConfig(suite="tests.pictured:Pictured", task=TASKS[0].name, horizon=6)
    settings = PreTrainedConfig.from_pretrained(checkpoint)
    settings.pretrained_path = checkpoint
    policy = make_policy(settings, env_cfg=config)
    before, behind = make_pre_post_processors(settings, pretrained_path=str(checkpoint))
    around = make_env_pre_post_processors(config, settings)
    envs = make_env(config, n_envs=2)
    info = eval_policy_all(envs, policy, *around, before, behind, n_episodes=2, start_seed=0)
    close_envs(envs)
    assert info["overall"]["n_episodes"] == 2
