"""Registers metrics of localization: pointing game, relevance mass and rank, intersection over union."""

from collections.abc import Mapping
from typing import Any

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


@hookimpl
def heatproof_synonyms() -> Mapping[str, str | Mapping[str, Any]]:
    """Declare the names of these components in other libraries."""
    return {
        "PointingGame": "pointing",
        "AttributionLocalisation": "relevance_mass",
        "RelevanceMassAccuracy": "relevance_mass",
        "RelevanceRankAccuracy": "relevance_rank",
        "TopKIntersection": {"use": "relevance_rank", "top": 1000},
    }
