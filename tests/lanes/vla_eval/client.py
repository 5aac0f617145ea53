"""What the real vla-eval does; runs in its environment, without skilltokens: client.py PORT FOLDER."""

import asyncio
import sys
from pathlib import Path

import numpy as np
from vla_eval.benchmarks.base import StepBenchmark, StepResult
from vla_eval.connection import Connection
from vla_eval.runners import LiveEpisodeRunner, SyncEpisodeRunner

PUSH = "push the puck to the goal"
port, folder = int(sys.argv[1]), Path(sys.argv[2])
seen = np.load(folder / "seen.npz")
states, places = seen["observation.state"], seen["observation.environment_state"]


def say(name, text):
    print(f"{name}\t{text}".replace("\n", "\\n"), flush=True)


def observation(step, words=PUSH):
    return {"states": states[step], "environment_state": places[step], "task_description": words}


class Replayed(StepBenchmark):
    """Shows the recorded readings one after another and keeps the actions."""

    def get_tasks(self):
        return [{"name": PUSH}]

    def reset(self, task):
        self.actions = []
        return 0

    def step(self, action):
        self.actions.append(action["actions"])
        done = len(self.actions) == len(states)
        return StepResult(obs=min(len(self.actions), len(states) - 1), reward=0.0, done=done, info={})

    def make_obs(self, raw_obs, task):
        return observation(raw_obs, task["name"])

    def get_step_result(self, step_result):
        return {"success": step_result.done}

    def get_hold_action(self, last_action):
        return {"actions": np.zeros(2, np.float32)}


async def main():
    async with Connection(f"ws://127.0.0.1:{port}") as connection:
        say("server", connection.server_info["model_server"])
        try:
            await connection.act(observation(0))
        except RuntimeError as problem:
            say("too early", problem)
        moved = []
        for _ in range(2):
            benchmark = Replayed()
            result = await SyncEpisodeRunner().run_episode(benchmark, benchmark.get_tasks()[0], connection)
            moved.append(np.stack(benchmark.actions))
        say("steps", result["steps"])
        np.savez(folder / "actions.npz", first=moved[0], second=moved[1])
        benchmark = Replayed()
        result = await LiveEpisodeRunner(hz=50.0, wait_first_action=True).run_episode(
            benchmark, benchmark.get_tasks()[0], connection
        )
        say("live", result["steps"])

    async with Connection(f"ws://127.0.0.1:{port}") as connection:  # late answers went with the other
        await connection.start_episode({"task": {"name": PUSH}})
        picture = {"images": {"top": np.zeros((8, 8, 3), np.uint8)}}
        say("picture", (await connection.act({**observation(0), **picture}))["unused"])
        try:
            await connection.act({**observation(1), "states": np.array([0.0, np.nan])})
        except RuntimeError as problem:
            say("broken", problem)
        say("behind it", (await connection.act(observation(1)))["step"])
        try:
            await connection.act(observation(2, "make me a coffee"))
        except RuntimeError as problem:
            say("abstained", problem)
        await connection.end_episode({})


asyncio.run(main())
