"""Gaze on images: fixations as Gaussian maps and frames, and datasets of gaze on radiographs."""
