"""Methods compared: what may stand in one table, what each cost, and whether a difference is more than chance."""
