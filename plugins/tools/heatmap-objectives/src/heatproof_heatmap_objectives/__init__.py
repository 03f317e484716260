"""Registers objectives with masks and heatmaps in the loss."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl(optionalhook=True)
def heatproof_objectives() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "segmentation": "heatproof_heatmap_objectives.segmentation:Segmentation",
        "heatmap_segmentation": "heatproof_heatmap_objectives.heatmap_segmentation:HeatmapSegmentation",
        "right_reasons": "heatproof_heatmap_objectives.right_reasons:RightReasons",
        "agreement": "heatproof_heatmap_objectives.agreement:Agreement",
        "finding_cells": "heatproof_heatmap_objectives.finding_cells:FindingCells",
    }
