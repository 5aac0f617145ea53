"""What the tests of the core share."""

from __future__ import annotations

import pytest

from skilltokens.demos import DemonstrationStore


@pytest.fixture(scope="session")
def toy_stores(tmp_path_factory: pytest.TempPathFactory) -> list[DemonstrationStore]:
    """Four demonstrations of each toy task."""
    from tests.small import make_stores  # torch: only where these are used

    return make_stores(tmp_path_factory.mktemp("toy"))
