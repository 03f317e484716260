"""GradientSHAP: expected gradients over random references and random points on the path from them."""

from collections import deque
from collections.abc import Iterator

import torch
from pydantic import Field
from torch import Tensor

from heatproof.batch import Batch
from heatproof.explainer import Explainer
from heatproof.records import Explanation
from heatproof.seeding import generator
from heatproof_shared_passes.sampling import norms, relative, variant_gradients

from .references import BaselineParams, drawn


class GradientShapParams(BaselineParams):
    """The number of draws (``samples``), and the references and the noise of each.

    Each draw takes a reference: of a folder a random image, of ``uniform`` new noise, otherwise always the same.
    ``sigma`` is the standard deviation, in prepared units, of normal noise that is added to the image, as captum's
    ``stdevs``. ``baseline`` is that of ``BaselineParams``.
    """

    samples: int = Field(default=50, ge=1, le=100_000)
    sigma: float = Field(default=0.0, ge=0, le=1e6)


class GradientShap(Explainer[GradientShapParams]):
    """The expected contribution of each value over references and points of the path (Lundberg and Lee 2017).

    The map is the mean over draws of (image - reference) * gradient at a random point between them. Without noise these
    are expected gradients (Erion et al. 2021), the mean of integrated gradients over the references: with more draws
    their sum approaches the score minus the mean score of the references. They are Shapley values only where the
    network is linear between image and references and the values of the references are independent. All draws depend on
    the seed and the sample's id alone. The note ``relative_error`` is the standard error of the map over the draws,
    relative to the map in the L2 norm; it is missing for a single draw.
    """

    @property
    def traits(self) -> frozenset[str]:
        """Seeded and differentiable; signed unless the references are random noise."""
        return frozenset({"seeded", "differentiable"}) | self.params.traits

    @property
    def passes(self) -> tuple[int, int]:
        """A forward and backward per draw."""
        return self.params.samples, self.params.samples

    def content(self) -> str:
        """The digest of the files of a folder of references."""
        return self.params.content()

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, c, *space)."""
        count = self.params.samples
        differences: deque[Tensor] = deque()
        mean = torch.zeros_like(batch.images)
        squares = torch.zeros_like(batch.images)
        gradients = variant_gradients(batch, self._points(batch, differences))
        for number, gradient in enumerate(gradients, 1):
            part = differences.popleft() * gradient
            deviation = part - mean
            mean = mean + deviation / number
            squares = squares + (deviation * (part - mean)).detach()
        if count == 1:
            return Explanation(mean)
        error = relative(norms((squares / (count * (count - 1))).sqrt()), mean.detach())
        return Explanation(mean, notes={"relative_error": error.tolist()})

    def _points(self, batch: Batch, differences: deque[Tensor]) -> Iterator[Tensor]:
        """The points (n, c, *space) of all draws; ``differences`` gets image minus reference of each."""
        for draw in range(self.params.samples):
            reference = drawn(batch, self.params, draw)
            images = batch.images
            if self.params.sigma > 0:
                images = images + self.params.sigma * batch.noise(draw)
            differences.append((images - reference).detach())
            yield torch.lerp(reference, images, positions(batch, draw))


def positions(batch: Batch, draw: int) -> Tensor:
    """The random positions (n, 1, …) in 0…1 of one draw on the paths from the references."""
    shares = [generator(batch.seed, id, "position", draw).random() for id in batch.ids]
    return torch.tensor(shares, dtype=torch.float64).to(batch.images).reshape(-1, *(1,) * (batch.images.ndim - 1))
