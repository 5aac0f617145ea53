"""What somebody else's code raised, in one sentence that says what and where: simulators, environments, suites."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path

from skilltokens.types import SkilltokensError, SuiteError

_OURS = str(Path(__file__).parents[1])
_LONGEST = 400
"""Characters that are shown of an error's own words."""


def words_of(problem: BaseException) -> str:
    """`ValueError: too far (my_robot.py, line 42)`, on one line: what was raised, and where in their code.

    A SkilltokensError is a sentence already, and says where by itself.
    """
    message = " ".join(str(problem).split())
    if isinstance(problem, SkilltokensError):
        return message
    if len(message) > _LONGEST:
        message = f"{message[:_LONGEST]} ..."
    frames = [frame for frame in traceback.extract_tb(problem.__traceback__) if not frame.filename.startswith(_OURS)]
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(problem).__name__}{': ' * bool(message)}{message}{where}"


@contextlib.contextmanager
def blaming(what: str) -> Iterator[None]:
    """Turns whatever is raised within into a SuiteError: `what` (such as "the environment x, in step 3"), then what
    was raised. An error of ours stays as it is."""
    try:
        yield
    except SkilltokensError:
        raise
    except Exception as problem:
        raise SuiteError(f"{what}, raised {words_of(problem)}") from problem
