"""What metrics of a model's decisions share."""
