"""Which skill helps which: from skill i, task j is learned, for every pair of a stream's tasks.

settings    what a matrix's cells are learned and measured with
record      matrix.json, read and written
measuring   the cells, one after another, resumed where it stopped
judging     rules that choose a neighbour, judged against the cells
ceiling     the best start in hindsight, as a grid
"""
