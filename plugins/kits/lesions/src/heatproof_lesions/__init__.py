"""Combines the annotations of readers and measures how far heatmaps agree with annotated lesions."""
