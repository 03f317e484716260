"""The registry of installed plugins: discovery, import, faults, and names of components."""
