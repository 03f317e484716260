"""Reconstructions of images by a model."""

import torch
from torch import Tensor

from heatproof.batch import Batch
from heatproof.errors import ModelError
from heatproof.model import Model

OUTPUT = "reconstruction"
"""The output of a network that holds its reconstruction, and the capability of the models that have it."""


@torch.no_grad()
def reconstructed(batch: Batch, model: Model) -> Tensor:
    """The images (n, c, *space) as another ``model`` reconstructs them, computed once per batch.

    Raises ``ModelError`` where it does not take them, or gives no images of their shape.
    """

    def of_piece(piece: Batch) -> Tensor:
        try:
            values, _ = model.view(piece.images, {})(piece.images, {})
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            shape = " × ".join(map(str, piece.images.shape[1:]))
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ModelError(f"{model.short} does not take images of {shape} values ({reason}).") from error
        return checked(model, values.get(OUTPUT), piece.images)

    return batch.once((OUTPUT, model.identity), lambda: torch.cat(batch.pieced(of_piece)))


def checked(model: Model, reconstruction: Tensor | None, images: Tensor) -> Tensor:
    """The reconstruction of images; raises ``ModelError`` unless it has their shape and is finite."""
    if reconstruction is None:
        raise ModelError(
            f"{model.short} has the capability {OUTPUT!r}, but its network gives no output {OUTPUT!r} with a row per "
            "image; name it in the model's outputs."
        )
    if reconstruction.shape != images.shape:
        raise ModelError(
            f"{model.short} reconstructs images of shape {tuple(images.shape)} as {tuple(reconstruction.shape)}; "
            "allowed: the same shape."
        )
    if not bool(reconstruction.isfinite().all()):
        raise ModelError(f"{model.short} gives a reconstruction with values that are not finite; train it again.")
    return reconstruction
