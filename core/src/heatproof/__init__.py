"""heatproof: how far can this heatmap be trusted for this model on this data?

This package imports nothing by itself, so that ``heatproof list`` stays fast; import what you need from its modules.
"""
