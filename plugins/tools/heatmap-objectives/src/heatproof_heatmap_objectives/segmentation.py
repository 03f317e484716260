"""The loss of a network that classifies an image and segments it: the U-Net baseline of Watanabe et al. 2022."""

from collections.abc import Iterable, Mapping
from typing import Self

from pydantic import Field
from torch import Tensor
from typing_extensions import TypeVar

from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof.records import Sample
from heatproof_objectives.objective import Objective
from heatproof_objectives.step import Step

from .annotated import AnnotatedParams, require_annotated, targets
from .classification import CLASSIFICATIONS, Classification
from .distances import of_logits


class SegmentationParams(AnnotatedParams):
    """The weights and parts of the loss.

    ``gamma``: the weight of the classification; the rest up to 1 is that of the segmentation. ``classification``:
    ``bce``, the binary cross-entropy of every class, as in the paper, or ``cross_entropy`` over the classes.
    ``output``: the output with the logits of the mask.
    """

    gamma: float = Field(default=0.41731, ge=0, le=1)
    classification: Classification = "bce"
    output: str = "mask"


P = TypeVar("P", bound=SegmentationParams, default=SegmentationParams, covariant=True)


class Segmentation(Objective[P]):
    """γ · BCE(class) + (1 - γ) · BCE(mask, static gaze map), the U-Net baseline of Watanabe et al. 2022.

    Watanabe et al. 2022, "Improving Disease Classification Performance and Explainability of Deep Learning Models in
    Radiology with Heatmap Generators", Frontiers in Radiology 2:991683. The target of the mask may be any finding, and
    its pixels any value from 0 to 1: the least loss is then the target's entropy, not 0. ``losses`` logs the two terms
    as ``classification`` and ``segmentation``. The default γ is the one of the authors' code.
    """

    @property
    def masks(self) -> bool:
        """Whether the loss reads the mask of the network."""
        return True

    @property
    def open(self) -> tuple[str, ...]:
        """The settings that ``fit`` checks on the samples."""
        return self.params.unsure

    def fit(self, samples: Iterable[Sample]) -> Self:
        """This objective; raises ``DataError`` where samples may be skipped and none has an annotation."""
        if self.open:
            require_annotated(samples, self.params.targeted)
        return self

    def require(self, model: Model) -> None:
        """Raise ``ModelError`` for a model without classes or, where the loss reads it, without the mask."""
        self.require_head(model, "softmax", "sigmoid")
        if self.masks:
            self.require_output(model, self.params.output)

    def losses(self, step: Step) -> Mapping[str, Tensor]:
        """Return ``loss``, ``classification`` and ``segmentation``; raises ``DataError`` without label or target."""
        classification = CLASSIFICATIONS[self.params.classification](step)
        terms = self.terms(step)
        gamma = self.params.gamma
        loss = gamma * classification + (1 - gamma) * terms["segmentation"]
        return {"loss": loss, "classification": classification, **terms}

    def terms(self, step: Step) -> Mapping[str, Tensor]:
        """Return the loss of the mask as ``segmentation``, and the parts that it is made of."""
        annotated = targets(step, self.params)
        return {"segmentation": annotated.mean(of_logits(self.mask(step), annotated.maps))}

    def mask(self, step: Step) -> Tensor:
        """The logits of the mask (n, 1, *space); raises ``ModelError`` for any other shape."""
        mask = step.outputs[self.params.output]
        shape = (len(step.batch), 1, *step.batch.space)
        if tuple(mask.shape) != shape:
            raise ModelError(
                f"the output {self.params.output!r} of {step.batch.model.short} has shape {tuple(mask.shape)}; "
                f"{self.short} needs one logit per pixel of the image, {shape}: resize it in the model's build()."
            )
        return mask
