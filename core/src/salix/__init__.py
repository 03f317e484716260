"""salix (SALiency EXplained): how far can this heatmap be trusted for this model on this data?

This package imports nothing by itself, so that ``salix list`` stays fast; import what you need from its modules.
"""
