"""Registers the explainers that perturb the image: occlusion, LIME, KernelSHAP and RISE."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_explainers() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "occlusion": "heatproof_perturbation.occlusion:Occlusion",
        "lime": "heatproof_perturbation.lime:Lime",
        "kernel_shap": "heatproof_perturbation.kernel_shap:KernelShap",
        "rise": "heatproof_perturbation.rise:Rise",
    }
