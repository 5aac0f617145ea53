"""A terminal of the tests' own: what a command shows where it believes that somebody watches."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
import termios
from collections.abc import Sequence


def on_a_terminal(command: Sequence[str], keys: str = "", width: int = 100, /, **environment: str) -> str:
    """What a command writes to a terminal of that width while somebody types `keys`; it must end with status 0."""
    own, its = os.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    without = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")
    env = {**{name: value for name, value in os.environ.items() if name not in without}, **environment}
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=env, start_new_session=True) as process:
        os.close(its)
        os.write(own, keys.encode())
        shown = b""
        with contextlib.suppress(OSError):  # how Linux says that the other end is closed
            while block := os.read(own, 4096):
                shown += block
        os.close(own)
    assert process.returncode == 0, shown
    return shown.decode()
