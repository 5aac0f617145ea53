"""Frozen trunks: networks for pictures that nobody trains; `opening.open_trunk` opens one by its name."""
