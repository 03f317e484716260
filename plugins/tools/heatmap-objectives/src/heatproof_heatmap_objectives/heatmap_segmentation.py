"""The three sets of models of Watanabe et al. 2022, with heatmaps of the network itself in the loss."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field
from torch import Tensor

from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof_objectives.step import Step

from .annotated import Targets, targets
from .distances import Distance, of_logits, of_maps, unit_range
from .maps import heatmaps, require_differentiable
from .segmentation import Segmentation, SegmentationParams


class HeatmapSegmentationParams(SegmentationParams):
    """The set, the generator of its heatmaps, and how maps are compared.

    ``set``: 1 compares the heatmap with the annotation, 2 the mask with the heatmap, 3 both mask and heatmap with the
    annotation. ``generator``: the explainer, with the trait ``differentiable``; guided_backprop and deconvnet are those
    of the paper. ``beta``: of set 3, the weight of the mask; the rest up to 1 is that of the heatmap. The paper tunes
    it and does not say its value. ``distance``: ``bce`` or ``mse``.
    """

    generator: Explainer
    set: Literal[1, 2, 3] = 1
    beta: float = Field(default=0.5, ge=0, le=1)
    distance: Distance = "bce"


class HeatmapSegmentation(Segmentation[HeatmapSegmentationParams]):
    """γ · BCE(class) + (1 - γ) · L with a heatmap h in L, the three sets of models of Watanabe et al. 2022.

    With the logits m of the mask, the annotation s and a distance D: L is D(h, s) in set 1, D(m, h) in set 2 and
    β D(m, s) + (1 - β) D(h, s) in set 3. h is the heatmap of the label: the positive part, the largest channel of each
    pixel, scaled to the range from 0 to 1; a heatmap of zeros stays zeros. It is computed in evaluation mode. In sets 1
    and 3 the loss reaches the weights through h, by a second backward pass; in set 2, h is a constant teacher. In
    set 3, β = 1 is the loss of ``segmentation``, and computes no heatmap.
    """

    @property
    def masks(self) -> bool:
        """Whether the loss reads the mask: not in set 1."""
        return self.params.set != 1

    @property
    def generates(self) -> bool:
        """Whether the loss reads a heatmap: not in set 3 with β = 1."""
        return self.params.set != 3 or self.params.beta < 1

    @property
    def open(self) -> tuple[str, ...]:
        """The settings that ``fit`` checks on the samples; set 2 uses no annotation."""
        return () if self.params.set == 2 else super().open

    def require(self, model: Model) -> None:
        """Raise ``ModelError`` for a model without classes or mask, or on which the generator is not defined."""
        super().require(model)
        if self.generates:
            require_differentiable(self.params.generator, model)

    def terms(self, step: Step) -> Mapping[str, Tensor]:
        """Return ``segmentation``, and of set 3 also ``mask`` and ``heatmap``, from which it is made."""
        distance = self.params.distance
        if self.params.set == 2:
            teacher = self.heatmap(step).detach()
            return {"segmentation": of_logits(self.mask(step), teacher, distance).mean()}
        annotated = targets(step, self.params)
        if self.params.set == 1:
            return {"segmentation": self._of_heatmap(step, annotated)}
        mask = annotated.mean(of_logits(self.mask(step), annotated.maps, distance))
        if not self.generates:
            return {"segmentation": mask}
        heatmap = self._of_heatmap(step, annotated)
        beta = self.params.beta
        return {"segmentation": beta * mask + (1 - beta) * heatmap, "mask": mask, "heatmap": heatmap}

    def heatmap(self, step: Step) -> Tensor:
        """Compute the heatmaps (n, 1, *space) of the labels in [0, 1], with their graph."""
        return unit_range(heatmaps(self.params.generator, step).clamp_min(0))

    def _of_heatmap(self, step: Step, annotated: Targets) -> Tensor:
        return annotated.mean(of_maps(self.heatmap(step), annotated.maps, self.params.distance))
