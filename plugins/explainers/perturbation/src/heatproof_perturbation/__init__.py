"""Registers the explainers that perturb the image: occlusion and LIME."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_explainers() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "occlusion": "heatproof_perturbation.occlusion:Occlusion",
        "lime": "heatproof_perturbation.lime:Lime",
    }
