#!/usr/bin/env bash
# From a LeRobot data set to a library that LeRobot evaluates. In an empty folder: bash story.sh OWNER/NAME
# OWNER/NAME is a repository of yours at the Hub ($HF_ENDPOINT, $HF_TOKEN). $OPENPI is the Python of an environment with
# openpi-client, which wants an older NumPy than LeRobot; $PORT is free.
set -euo pipefail
repository=$1 here=$(dirname "$(realpath "$0")") PORT=${PORT:-8000}
cp "$here/arm.py" .  # a suite `arm:suite` is looked for in the working folder

# Demonstrations that LeRobot itself writes: joint positions in degrees, and two cameras.
python "$here/record.py" dataset
skilltokens demos import dataset demos --images

# Two skills. A library keeps its constants, so they are measured on both skills' demonstrations.
skilltokens learn library demos/touch-the-red-ball --new --constants demos/touch-the-blue-ball --train.first-iterations 400 --train.batch 16 --train.window 12
skilltokens learn library demos/touch-the-blue-ball --train.iterations 400 --train.window 12

# To the Hub and back.
skilltokens hub push library "$repository"
skilltokens hub pull "$repository" pulled

# A robot calls it over the network.
skilltokens serve pulled --port "$PORT" &
server=$!
trap 'kill $server' EXIT
until curl --silent --fail --output /dev/null "http://127.0.0.1:$PORT/healthz"; do kill -0 $server && sleep 0.2; done
"${OPENPI:-python}" "$here/client.py" "$PORT" demos/touch-the-red-ball "touch the red ball"
"${OPENPI:-python}" "$here/client.py" "$PORT" demos/touch-the-blue-ball "touch the blue ball"

# LeRobot evaluates what was pulled, in the simulated arm, and films it.
lerobot-eval --policy.path=pulled --env.type=skilltokens --env.suite=arm:suite --env.task=touch-the-red-ball,touch-the-blue-ball \
    --eval.n_episodes=10 --eval.batch_size=5 --eval.use_async_envs=false --seed=0 --output_dir=evaluation
