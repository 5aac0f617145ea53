"""Damaged bytes end in one sentence, whatever the library that reads them raises."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from skilltokens.types import DemonstrationError, SkilltokensError


@contextlib.contextmanager
def sound(path: Path, what: str) -> Iterator[None]:
    """Turns what pyarrow or PyAV raise, which can be almost any exception, into a DemonstrationError.

    Args:
        what: `path` should be, such as "video".
    """
    try:
        yield
    except (SkilltokensError, MemoryError):
        raise
    except Exception as problem:
        reason = str(problem).splitlines()[0][:160] if str(problem) else type(problem).__name__
        raise DemonstrationError(f"{path} is damaged, or no {what} ({reason}): get it again") from problem
