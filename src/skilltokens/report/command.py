"""The command of a file that is made from others: write it, or check that it is what they say."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from skilltokens.types import SkilltokensError


def write_or_check(
    words: Sequence[str] | None,
    parser: argparse.ArgumentParser,
    write: Callable[[Path, Path], Path],
    check: Callable[[Path, Path], None],
) -> int:
    """Calls `write` or, with --check, `check` with the parser's two paths; returns 0, or 2 after one sentence."""
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the file is stale")
    options = vars(parser.parse_args(words))
    checking = options.pop("check")
    source, made = options.values()
    try:
        if checking:
            check(source, made)
        else:
            print(write(source, made))
    except SkilltokensError as problem:
        print(f"skilltokens: {problem}", file=sys.stderr)
        return 2
    return 0
