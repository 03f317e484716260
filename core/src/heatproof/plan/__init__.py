"""The plan of a run: combinations, units, tasks and splits; and the cache of prepared samples."""
