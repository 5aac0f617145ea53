"""--profile: where the time goes. Samples of what the main thread does, a trace of them, and a table by room.

Nothing of the other rooms knows of it, so it costs nothing where it is off, and no result depends on it.
"""
