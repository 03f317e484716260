"""Registers class activation maps."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_explainers() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "ablationcam": "heatproof_cam.ablationcam:AblationCam",
        "cam": "heatproof_cam.cam:Cam",
        "eigencam": "heatproof_cam.eigencam:EigenCam",
        "gradcam": "heatproof_cam.gradcam:GradCam",
        "gradcam_plus_plus": "heatproof_cam.gradcam_plus_plus:GradCamPlusPlus",
        "guided_gradcam": "heatproof_cam.guided_gradcam:GuidedGradCam",
        "hirescam": "heatproof_cam.hirescam:HiResCam",
        "layercam": "heatproof_cam.layercam:LayerCam",
        "respond_cam": "heatproof_cam.respond_cam:RespondCam",
        "scorecam": "heatproof_cam.scorecam:ScoreCam",
        "xgradcam": "heatproof_cam.xgradcam:XGradCam",
    }


@hookimpl
def heatproof_synonyms() -> Mapping[str, str]:
    """Declare the names of these components in other libraries."""
    return {
        "GradCAM++": "gradcam_plus_plus",
        "Grad-CAM++": "gradcam_plus_plus",
        "LayerGradCam": "gradcam",
    }
