"""Guided Grad-CAM at any layer."""

from heatproof.batch import Batch, Request
from heatproof.model import Model
from heatproof.records import Explanation, Verdict
from heatproof_shared_passes.rectification import ActPolicy, rectification
from heatproof_shared_passes.rectified import rectified, request

from .gradcam import GradCam
from .layered import LayeredParams, noted


class GuidedGradCamParams(LayeredParams):
    """Further ``act_policy``: the activations that guided backpropagation acts on, ``all`` or ``relu_only``."""

    act_policy: ActPolicy = "all"


class GuidedGradCam(GradCam[GuidedGradCamParams]):
    """The fine grain of guided backpropagation in the places of Grad-CAM (Selvaraju et al. 2017).

    Their product, pixel by pixel, with Grad-CAM interpolated linearly as in the paper; zero wherever either is.
    """

    passes = (2, 2)
    shares = ""

    def verdict(self, model: Model) -> Verdict:
        """Grad-CAM's, and that of guided backpropagation by the model's activations."""
        verdict = super().verdict(model)
        return verdict if verdict.level == "undefined" else rectification(model, self.params.act_policy)

    def requests(self, model: Model) -> tuple[Request, ...]:
        """Guided backpropagation's."""
        return (request("guided", self.params.act_policy),)

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, c, *space)."""
        guided = rectified(batch, "guided", self.params.act_policy)
        return noted(guided * super().explain(batch).values)
