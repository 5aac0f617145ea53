#!/usr/bin/env bash
# Makes the two bases of grid.toml by LeRobot's own trainer: state-only ACT and Diffusion Policy, each on Meta-World's 40
# tasks that are not Continual World's, 20 scripted demonstrations a task. About 30 minutes on two cores (ACT does 4 steps
# of 64 examples a second on one).
#
#   make lerobot                                        # once: the environment .venv-lerobot
#   PATH="$PWD/.venv-lerobot/bin:$PATH" bash results/attached/bases.sh
#
# TASKS, EPISODES and STEPS make a smaller try of it; OUT is where the bases go.
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${OUT:-bases/attached}" episodes="${EPISODES:-20}" steps="${STEPS:-6000}"
TASKS="${TASKS:-$(python -c 'from skilltokens.experiments.metaworld_recipes import metaworld_40 as all
print(*all("multitask").tasks)')}"
read -ra tasks <<< "$TASKS"

skilltokens demos make metaworld --tasks "${tasks[@]}" --episodes "$episodes" --noise 0.1 --folder "demos/$episodes"
stores=("${tasks[@]/#/demos/$episodes/metaworld/}")
[ -d "$out/data" ] || skilltokens demos export "${stores[@]}" "$out/data" --layout lerobot

train() {  # the kind of policy, then its settings
    lerobot-train --policy.type="$1" "${@:2}" --dataset.repo_id=local/metaworld --dataset.root="$out/data" \
        --policy.device=cpu --policy.push_to_hub=false --policy.optimizer_lr=1e-3 --steps="$steps" --batch_size=64 \
        --save_freq="$steps" --num_workers=0 --persistent_workers=false --env_eval_freq=0 --seed=0 --output_dir="$out/$1"
}
train act --policy.chunk_size=20 --policy.n_action_steps=10 --policy.dim_model=128 --policy.n_heads=4 \
    --policy.dim_feedforward=256 --policy.n_encoder_layers=2 --policy.n_vae_encoder_layers=1 --policy.latent_dim=16 \
    --policy.pretrained_backbone_weights=null &
train diffusion --policy.n_obs_steps=2 --policy.horizon=16 --policy.n_action_steps=8 --policy.down_dims='[64,128]' \
    --policy.diffusion_step_embed_dim=32 --policy.noise_scheduler_type=DDIM --policy.num_inference_steps=10 \
    --policy.pretrained_backbone_weights=null &
wait -n && wait -n
