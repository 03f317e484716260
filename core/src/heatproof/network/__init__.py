"""A torch module made observable: its graph, its layers, and views that compute what it computes."""
