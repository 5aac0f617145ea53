"""Speed as ratios: each benchmark measures the project against a physical limit or a peer, in the same run.

    python -m benchmarks [--only NAME ...] [--quick] [--out FILE.json]

A ratio outlives the machine it was measured on; a time does not. Both sides of a ratio are timed in turns, so that
whatever else the machine does falls on both. docs/speed.md explains how to read the table.
"""
