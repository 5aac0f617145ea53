"""The options that say where runs are carried to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from skilltokens.types import SettingError

AUTO = "auto"
"""The address of the cluster that a machine knows of by itself."""


@dataclass(frozen=True, kw_only=True)
class PlaceOptions:
    """Where runs are carried to."""

    cluster: Literal["local", "ray"] = "local"
    """local: runs are processes on this machine; ray: on the nodes of a Ray cluster, with the same results."""
    cluster_address: str = AUTO
    """HOST:PORT of the Ray cluster's head; auto: the one in $RAY_ADDRESS, or that this machine is a node of."""

    @property
    def place(self) -> str:
        """The cluster's address; empty: this machine.

        Raises:
            SettingError: an address, and no cluster.
        """
        if self.cluster == "ray":
            return self.cluster_address or AUTO
        if self.cluster_address != AUTO:
            raise SettingError(f"--cluster-address {self.cluster_address} is for a cluster: add --cluster ray")
        return ""
