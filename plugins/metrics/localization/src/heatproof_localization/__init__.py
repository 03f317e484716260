"""Registers metrics of localization: pointing game, relevance mass and rank, intersection over union."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_metrics() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "pointing": "heatproof_localization.pointing:Pointing",
        "relevance_mass": "heatproof_localization.relevance:RelevanceMass",
        "relevance_rank": "heatproof_localization.relevance:RelevanceRank",
        "iou": "heatproof_localization.iou:Iou",
    }
