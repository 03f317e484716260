"""What a run came to: its folder, its tables of scores, intervals, tests and ranks."""
