"""A run's settings: YAML into validated components, every mistake at once with its line."""
