"""XGrad-CAM at any layer."""

from torch import Tensor

from heatproof.batch import Batch
from heatproof.passes import LayerGradient, gradients
from heatproof.records import Explanation

from .layered import Rectified, RectifiedParams
from .respond_cam import contribution_map, with_conditioning


class XGradCam(Rectified[RectifiedParams]):
    """Grad-CAM with mean gradients that are weighted by the activation (Fu et al. 2020).

    The weight of a channel A with gradient g is sum(A g) / sum(A). It is that of Respond-CAM (Zhao et al. 2018), which
    has the same map without ReLU: ``respond_cam`` is ``relu: false``. Fu et al. derive it from two axioms, sensitivity
    and conservation, and their code applies ReLU. The notes on ill-conditioned weights are those of ``respond_cam``,
    and describe the map before ReLU.
    """

    def evidence(self, layer: LayerGradient) -> Tensor:
        """The map of Respond-CAM."""
        return contribution_map(layer)

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, 1, *space)."""
        layer = gradients(batch).layers[batch.model.layer(self.params.layer)]
        return with_conditioning(super().explain(batch), layer)
