"""Registers how well heatmaps are placed: pointing game, relevance mass and rank, intersection over union."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_metrics() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "pointing": "salix_localization.pointing:Pointing",
        "relevance_mass": "salix_localization.relevance:RelevanceMass",
        "relevance_rank": "salix_localization.relevance:RelevanceRank",
        "iou": "salix_localization.iou:Iou",
    }
