"""Score-CAM at any layer."""

import torch
from torch import Tensor

from heatproof.batch import Batch
from heatproof.model import Model
from heatproof.passes import activations
from heatproof.records import Explanation

from .channels import USUAL_CHANNELS, channels
from .layered import AtLayer, Interpolation, RectifiedParams, equal_up_to_rounding, rectified, resize, weighted_sum


class ScoreCam(AtLayer[RectifiedParams]):
    """The channels of one layer, weighted by the score of the image that each of them masks (Wang et al. 2020).

    Each channel is resized to the image and scaled to 0…1 by its smallest and largest value; it then multiplies the
    prepared image. The weights are the softmax over channels of the target's logits of these images, and the map is
    ReLU of the weighted sum of channels. A channel that is the same everywhere masks the whole image. The paper
    subtracts the score of an image without evidence from all logits, which does not change their softmax. The weights
    are positive, so without ReLU a negative pixel is no evidence against the target.
    """

    traits = frozenset[str]()
    passes = (1 + USUAL_CHANNELS, 0)

    def cost(self, model: Model, space: tuple[int, ...]) -> tuple[int, int]:
        """One forward for the activations, and one per channel."""
        return 1 + channels(model, self.params.layer, space), 0

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, 1, *space)."""
        values = activations(batch)[batch.model.layer(self.params.layer)]
        pairs = zip(batch.singles(), values)
        scores = torch.stack([masked_scores(single, layer, self.params.interpolation) for single, layer in pairs])
        weights = scores.softmax(1).reshape(*scores.shape, *(1,) * len(batch.space))
        return self.resized(rectified(weighted_sum(weights, values), self.params), batch)


def masked_scores(batch: Batch, values: Tensor, interpolation: Interpolation) -> Tensor:
    """The scores (channel,) of the image of a batch of one, masked by each of a layer's channels (channel, *space)."""

    def act(piece: slice) -> Tensor:
        masks = channel_masks(resize(values[piece, None], batch.space, interpolation))
        return batch.score(batch.images * masks, [0] * len(masks))

    return torch.cat(batch.budget.pieced(len(values), act))


def channel_masks(maps: Tensor) -> Tensor:
    """Maps (n, 1, *space), each scaled to 0…1; 0 where a map is the same everywhere."""
    flat = maps.flatten(2)
    low = flat.amin(2, keepdim=True)
    span = flat.amax(2, keepdim=True) - low
    # The rounding of an interpolation of equal values must not become a mask.
    scaled = torch.where(equal_up_to_rounding(flat)[:, None, None], 0.0, (flat - low) / span)
    return scaled.reshape(maps.shape)
