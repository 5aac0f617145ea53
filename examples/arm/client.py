"""Calls a served library by openpi's own client, as a robot would: python client.py PORT STORE INSTRUCTION.

The observations are those of the first steps of a demonstration store; what comes back is compared with what was
demonstrated. Needs openpi-client and NumPy alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from openpi_client.websocket_client_policy import WebsocketClientPolicy

STEPS = 8


def main(port: int, store: Path, instruction: str) -> None:
    kept = {name: np.load(store / f"{name}.npy", mmap_mode="r") for name in ("observation.state", "action")}
    pictures = {name: np.load(store / f"observation.images.{name}.npy", mmap_mode="r") for name in ("front", "hand")}
    robot = WebsocketClientPolicy(host="127.0.0.1", port=port)
    errors = []
    for step in range(STEPS):
        answer = robot.infer(
            {
                "observation/state": np.array(kept["observation.state"][step]),
                "observation/image": np.array(pictures["front"][step]),
                "observation/wrist_image": np.array(pictures["hand"][step]),
                "prompt": instruction,
            }
        )
        errors.append(np.abs(answer["actions"][0] - kept["action"][step]).mean())
    print(f"{instruction}: {STEPS} answers, {np.mean(errors):.1f} degrees from the demonstrated actions")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
