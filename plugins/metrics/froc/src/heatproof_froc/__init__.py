"""Registers the free-response receiver operating characteristic of heatmaps and of candidate lists."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_metrics() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "froc": "heatproof_froc.froc:Froc",
        "froc_candidates": "heatproof_froc.froc_candidates:FrocCandidates",
    }
