"""heatproof in Python: your own network and images, compared and explained in a few lines."""
