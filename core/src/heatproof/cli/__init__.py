"""The commands, their tables and their progress."""
