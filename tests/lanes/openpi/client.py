"""What the real client does; runs in openpi's environment, without skilltokens: client.py PORT FOLDER."""

import json
import sys
import urllib.request
from pathlib import Path

import numpy as np
from openpi_client.action_chunk_broker import ActionChunkBroker
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from websockets.exceptions import ConnectionClosed, InvalidStatus

PUSH, CLOSE = "push the puck to the goal", "close the window"


def say(name, text):
    print(f"{name}\t{text}".replace("\n", "\\n"), flush=True)


port, folder = int(sys.argv[1]), Path(sys.argv[2])
seen = np.load(folder / "seen.npz")
steps = [{name.replace(".", "/"): seen[name][step] for name in seen} for step in range(len(seen["observation.state"]))]

say("health", urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz").read().decode().strip())
try:
    WebsocketClientPolicy(host="127.0.0.1", port=port)
except InvalidStatus as refused:
    say("no key", f"HTTP {refused.response.status_code}")

client = WebsocketClientPolicy(host="127.0.0.1", port=port, api_key="open-sesame")
say("metadata", json.dumps(client.get_server_metadata()))
push = [client.infer({**step, "prompt": PUSH})["actions"] for step in steps]
again = [
    client.infer({**step, "prompt": np.asarray(PUSH), **({"reset": True} if step is steps[0] else {})})["actions"]
    for step in steps
]
broker = ActionChunkBroker(client, action_horizon=client.get_server_metadata()["action_horizon"])
broken = [broker.infer({**step, "prompt": CLOSE})["actions"] for step in steps]
np.savez(folder / "actions.npz", push=np.concatenate(push), again=np.concatenate(again), broker=np.stack(broken))

try:
    client.infer({**steps[0], "prompt": "make me a coffee"})
except RuntimeError as abstention:
    say("abstained", abstention)
say("behind it", client.infer({**steps[0], "prompt": CLOSE})["skill"])
try:
    client.infer({**steps[0], "observation/state": np.zeros(3), "prompt": CLOSE})
except RuntimeError as refusal:
    say("broken", refusal)
try:
    client.infer({**steps[0], "prompt": CLOSE})
except ConnectionClosed as closed:
    say("behind that", type(closed).__name__)
