"""The short form of the soak's kills of library commands: a few operations of each, spread over its work."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.killing import check_kills
from tests.soak import Case, cases

LIBRARY = ("learn, the first", "learn", "adapt", "import", "remove", "merge")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    return cases(tmp_path_factory.mktemp("soak"))


@pytest.mark.slow
@pytest.mark.parametrize("name", LIBRARY)
def test_a_command_killed_at_a_file_operation_is_given_again(name: str, known: dict[str, Case], tmp_path: Path):
    case = known[name]
    assert len(check_kills(case.command, tmp_path, 2, case.contents, case.prepare)) == 2
