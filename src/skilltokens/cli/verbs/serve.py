"""`skilltokens serve`: a library behind a socket."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from skilltokens.cli.options import parse
from skilltokens.cli.saying import complain, say
from skilltokens.configuration import check_settings
from skilltokens.serve.client import websockets
from skilltokens.serve.settings import ServeSettings

if TYPE_CHECKING:
    from skilltokens.serve.server import PolicyServer

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class ServeOptions:
    """Serves a library's skills to robots: observations and an instruction come in, actions go out.

    It speaks openpi's protocol and vla-eval's (WebSocket, msgpack) on one port, so their clients call a library as it
    is; `skilltokens.serve.Client` is one in Python. Each connection is one robot with a memory of its own. The library
    is served as it is now: what is learned meanwhile is served after the next start. Ctrl-C ends it.

    examples:
      skilltokens serve library
      skilltokens serve library --port 0 --log
      skilltokens serve library --host 0.0.0.0 --key-file serve.key
      skilltokens serve library --rename observation/image=observation.images.front
    """

    library: tyro.conf.Positional[Path]
    """The library's folder."""
    settings: Annotated[ServeSettings, tyro.conf.arg(name="")] = field(default_factory=ServeSettings)
    key_file: Path | None = None
    """A file with the key that clients must send; left out: $SKILLTOKENS_SERVE_KEY, or no key."""
    encoder: str | None = None
    """The library's sentence encoder, where that is a folder: a file's word is not trusted."""
    loader: str = ""
    """Of a library beside another make's policy, who makes that: MODULE:FUNCTION, or the name of an installed one."""
    base: str = ""
    """Where that policy is now, if it was moved."""
    log: bool = False
    """Print a line for each request."""


def main(words: Sequence[str]) -> int:
    options = parse(ServeOptions, words, "skilltokens serve")
    check_settings(options.settings)
    websockets()
    from skilltokens.cli.opening import open_library
    from skilltokens.cli.progress import Single
    from skilltokens.serve.server import PolicyServer, read_key

    key = read_key(options.key_file)
    library = open_library(
        options.library,
        encoder=options.encoder,
        loader=options.loader,
        base=options.base,
        device=options.settings.device,
    )
    with Single("serve") as report:
        server = PolicyServer(library, options.settings, key, _tell if options.log else None, report)
    if options.settings.host not in LOOPBACK and not key:
        complain(f"note: whoever reaches {options.settings.host} may call the skills: --key-file asks for a key")
    server.run(lambda: _say_where(server, options.library))
    say(f"{server.requests:,} requests of {server.connections:,} connections were answered")
    return 0


def _say_where(server: PolicyServer, folder: Path) -> None:
    host, port = server.address
    count = len(server.repertoire.library.names)
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    say(f"serving {folder} ({count} {'skill' if count == 1 else 'skills'}) on ws://{place}; Ctrl-C ends it")
    sys.stdout.flush()


def _tell(line: str) -> None:
    say(f"{time.strftime('%H:%M:%S')} {line}")
    sys.stdout.flush()
