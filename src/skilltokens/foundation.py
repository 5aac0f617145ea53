"""What a new library is founded on: what its policy observes, and the constants that all later skills keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from skilltokens.demos import DemonstrationStore, check_actions, workspace_statistics
from skilltokens.demos.kinds import difference, kind_of
from skilltokens.methods.base import generator_of
from skilltokens.model.policy import Policy, Shape
from skilltokens.model.settings import PolicySettings
from skilltokens.suites import load_suite, suite_names
from skilltokens.types import ACTION, Feature, Scale, SettingError


def first_policy(stores: Sequence[DemonstrationStore], settings: PolicySettings, language: int, seed: int) -> Policy:
    """A fresh policy for the first of the stores: it sees what its suite observes, or else all that can be read.

    Args:
        language: the width of a sentence vector.

    Raises:
        SettingError: there is no vector of numbers to see.
        DemonstrationError: the store's actions are not what its suite takes.
    """
    store = stores[0]
    features, scales = observed(stores)
    if not scales.keys() - {ACTION}:
        raise SettingError(f"{store.path} has no observation that is a vector of numbers: a policy needs one")
    return Policy(
        Shape.of({**features, ACTION: store.features[ACTION]}, scales, language), settings, generator_of(seed, 0)
    )


def observed(stores: Sequence[DemonstrationStore]) -> tuple[Mapping[str, Feature], Mapping[str, Scale]]:
    """Observations to learn from, and constants of them and of actions: those of the first store's suite where it has
    all of its features and there is no other store, else statistics of all stores."""
    store = stores[0]
    if store.suite in suite_names() and len(stores) == 1:
        suite = load_suite(store.suite)
        seen = {name: feature for name, feature in suite.features.items() if name != ACTION}
        if difference(seen, store.features, others=True) is None:
            check_actions(store, suite.scales, suite.name)
            return seen, suite.scales
    measured = workspace_statistics(stores)
    return {n: f for n, f in store.features.items() if n != ACTION and kind_of(n, f) is not None}, measured
