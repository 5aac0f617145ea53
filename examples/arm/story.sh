#!/usr/bin/env bash
# From a LeRobot data set to a library that LeRobot evaluates: bash story.sh OWNER/NAME, in an empty folder.
# OWNER/NAME is where the library is pushed to, at the Hub that HF_ENDPOINT names. OPENPI is the Python of an environment with
# openpi-client, which wants an older NumPy than LeRobot.
set -euo pipefail
repository=$1 here=$(dirname "$(realpath "$0")") openpi=${OPENPI:-python}
cp "$here/arm.py" .   # `arm:suite` is looked for in the working folder

# Demonstrations, written by LeRobot itself: joint positions in degrees and two cameras.
python "$here/record.py" dataset "${EPISODES:-20}"
skilltokens demos import dataset demos --images

# Two skills. The constants of the second store are measured with the first's, since a library keeps its constants.
skilltokens learn library demos/touch-the-red-ball --new --constants demos/touch-the-blue-ball \
    --policy.history 4 --train.window 8 --train.batch 16 --train.first-iterations "${ITERATIONS:-300}"
skilltokens learn library demos/touch-the-blue-ball \
    --train.window 8 --train.iterations "${ITERATIONS:-300}"

# To the Hub and back.
skilltokens hub push library "$repository"
skilltokens hub pull "$repository" pulled

# A robot calls it over the network.
skilltokens serve pulled --port "${PORT:-8000}" & server=$!
trap 'kill $server' EXIT
until curl --silent --fail --output /dev/null "http://127.0.0.1:${PORT:-8000}/healthz"; do
    kill -0 $server; sleep 0.2
done
for ball in red blue; do
    "$openpi" "$here/client.py" "${PORT:-8000}" "demos/touch-the-$ball-ball" "touch the $ball ball"
done

# LeRobot evaluates the folder that was pulled, in the simulated arm, and films it.
lerobot-eval --policy.path=pulled --env.type=skilltokens --env.suite=arm:suite \
    --env.task=touch-the-red-ball,touch-the-blue-ball \
    --eval.n_episodes=10 --eval.batch_size=5 --eval.use_async_envs=false --seed=0 --output_dir=evaluation
