"""What a run will do: combinations, units and tasks, splits, and prepared samples kept on disk."""
