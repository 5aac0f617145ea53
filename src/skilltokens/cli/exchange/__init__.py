"""`skilltokens demos import|export|download`: demonstrations from and to the files of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skilltokens.suites.libero import Libero

PROG = "skilltokens demos"


def libero_suite(name: str) -> Libero | None:
    """The LIBERO suite of that name; None for any other name."""
    if not name.startswith("libero"):
        return None
    from skilltokens.suites import load_suite
    from skilltokens.suites.libero import Libero

    suite = load_suite(name)
    return suite if isinstance(suite, Libero) else None
