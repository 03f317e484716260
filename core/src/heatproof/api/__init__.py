"""heatproof in Python: your own network and pictures, compared and explained in a few lines."""
