"""The settings of a run: YAML is validated, and all mistakes are reported at once with their lines."""
