"""Registers explainers that perturb the picture."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_explainers() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "occlusion": "salix_perturbation.occlusion:Occlusion",
        "lime": "salix_perturbation.lime:Lime",
    }
