"""Registers class activation maps."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_explainers() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"gradcam": "salix_cam.gradcam:GradCam"}
