"""Guided Grad-CAM at any layer."""

from heatproof.batch import Batch, Request
from heatproof.model import Model
from heatproof.records import Explanation, Verdict
from heatproof_shared_passes.rectification import ActPolicy, rectification
from heatproof_shared_passes.rectified import rectified, request

from .gradcam import GradCam, GradCamParams
from .layered import with_notes


class GuidedGradCamParams(GradCamParams):
    """``act_policy``: the activations that guided backpropagation rectifies, ``all`` or ``relu_only``.

    The other settings are those of Grad-CAM.
    """

    act_policy: ActPolicy = "all"


class GuidedGradCam(GradCam[GuidedGradCamParams]):
    """Guided backpropagation times Grad-CAM, pixel by pixel (Selvaraju et al. 2017).

    Grad-CAM is resized to the image by linear interpolation, as in the paper; captum repeats values by default, as
    ``interpolation: nearest`` does. The map is zero where either factor is.
    """

    revision = 3
    traits = frozenset({"differentiable"})
    passes = (2, 2)
    shares = ""

    def verdict(self, model: Model) -> Verdict:
        """Undefined if Grad-CAM is, else the verdict of guided backpropagation."""
        verdict = super().verdict(model)
        if verdict.level == "undefined":
            return verdict
        return rectification(model, self.params.act_policy)

    def requests(self, model: Model) -> tuple[Request, ...]:
        """The request of guided backpropagation."""
        return (request("guided", self.params.act_policy),)

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, c, *space)."""
        guided = rectified(batch, "guided", self.params.act_policy)
        return with_notes(guided * super().explain(batch).values)
