"""The two kinds of experiment, lifelong and from reward: their loops, records (run.json) and recipes."""
