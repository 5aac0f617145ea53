"""A library behind a socket: `skilltokens serve`, and a small client. Importing this room loads no torch.

One connection is one robot, with its own skill and memory; all share the actors. Two protocols are spoken on one port,
both msgpack over WebSocket: openpi's (docs/serving.md) and vla-eval's, which says where an episode begins and ends.

    settings.py    what a server may be told
    wire.py        msgpack with arrays, every size checked before it is believed
    naming.py      the names in a request -> the library's features, as arrays of the right shape
    episodes.py    which skill acts, with which memory, and when an episode begins
    dialogue.py    one connection's messages and their answers, in either protocol
    server.py      sockets: limits, keys, one worker thread for torch
    client.py      the client

Sources: openpi's client (openpi-client 0.1.2) and vla-eval 0.8.0, with which the protocols are tested.
"""

from skilltokens.serve.client import Answer, Client
from skilltokens.serve.settings import ServeSettings

__all__ = ["Answer", "Client", "ServeSettings"]
