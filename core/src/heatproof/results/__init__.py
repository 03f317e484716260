"""The results of a run: its folder, and its tables of scores, intervals, tests and ranks."""
