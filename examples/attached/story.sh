#!/usr/bin/env bash
# Teach an ACT of LeRobot's a second and a third task without losing the first. In an empty folder: bash story.sh
# Demonstrations are Meta-World's scripted ones, as LeRobot data sets; yours take their place.
set -euo pipefail
tasks=(window-close handle-press-side faucet-close)
skilltokens demos make metaworld --tasks "${tasks[@]}" --episodes 20 --noise 0.1
for task in "${tasks[@]}"; do
    skilltokens demos export "demos/metaworld/$task" "data/$task" --layout lerobot
done

# 1. lerobot-train leaves a checkpoint, as ever: outputs/act/checkpoints/last/pretrained_model.
lerobot-train --policy.type=act --dataset.repo_id=local/window-close --dataset.root=data/window-close \
    --policy.chunk_size=20 --policy.n_action_steps=10 --policy.dim_model=128 --policy.n_heads=4 \
    --policy.dim_feedforward=256 --policy.n_encoder_layers=2 --policy.latent_dim=16 --policy.use_vae=false \
    --policy.optimizer_lr=1e-3 --policy.pretrained_backbone_weights=null --policy.device=cpu --policy.push_to_hub=false \
    --steps=400 --batch_size=32 --num_workers=0 --persistent_workers=false --env_eval_freq=0 \
    --output_dir=outputs/act

# 2. A library beside that checkpoint, and a second task in it. The base keeps the words that call it.
skilltokens learn library data/handle-press-side --new --base outputs/act --base-wordings "close the window" --train.iterations 400 --train.batch 32

# 3. A third task by lerobot-train, which leaves the library with it. The first two keep every bit.
lerobot-train --policy.path=library --policy.skill=faucet-close --dataset.repo_id=local/faucet-close \
    --dataset.root=data/faucet-close --policy.device=cpu --steps=400 --batch_size=32 --num_workers=0 \
    --persistent_workers=false --env_eval_freq=0 --output_dir=outputs/third
grown=outputs/third/checkpoints/last/pretrained_model
skilltokens skills "$grown"
skilltokens skills "$grown" verify --actions

# 4. lerobot-eval: the instruction of each task calls its skill.
lerobot-eval --policy.path="$grown" --policy.device=cpu --env.type=skilltokens --env.suite=metaworld \
    --env.task=window-close,handle-press-side,faucet-close --env.horizon=200 \
    --eval.n_episodes=10 --eval.batch_size=5 --eval.use_async_envs=false --seed=0 --output_dir=evaluation
