"""Jobs on the machines of a Ray cluster: the same processes in the same folders as on one machine (docs/cluster.md)."""
