"""Execution of a plan: tasks, workers, images per pass, committed units and provenance."""
