"""A torch module made observable: its graph, its layers, and views that give the same outputs."""
