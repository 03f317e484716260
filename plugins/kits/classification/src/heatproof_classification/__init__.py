"""Labels and positive classes for metrics of a model's decisions."""
