"""Registers class activation maps."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_explainers() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "cam": "salix_cam.cam:Cam",
        "gradcam": "salix_cam.gradcam:GradCam",
        "gradcam_plus_plus": "salix_cam.gradcam_plus_plus:GradCamPlusPlus",
        "guided_gradcam": "salix_cam.guided_gradcam:GuidedGradCam",
        "respond_cam": "salix_cam.respond_cam:RespondCam",
    }
