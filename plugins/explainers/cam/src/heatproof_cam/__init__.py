"""Registers class activation maps."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_explainers() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "cam": "heatproof_cam.cam:Cam",
        "gradcam": "heatproof_cam.gradcam:GradCam",
        "gradcam_plus_plus": "heatproof_cam.gradcam_plus_plus:GradCamPlusPlus",
        "guided_gradcam": "heatproof_cam.guided_gradcam:GuidedGradCam",
        "respond_cam": "heatproof_cam.respond_cam:RespondCam",
    }
