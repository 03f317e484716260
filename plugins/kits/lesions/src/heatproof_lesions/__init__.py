"""What readers marked of lesions, together or one by one, and how far heatmaps agree with it."""
