"""From a plan to committed units: executors, workers, images per pass, provenance."""
