"""Anomalies planted in synthetic images, found by a variational autoencoder that is trained here on images without."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from heatproof.batch import Batch
from heatproof.testing.toys import Blobs
from heatproof_anomaly.anomaly import Anomaly
from heatproof_autoencoder.vae import Vae

STEPS = 60
HEALTHY = 64
ILL = 16
SIDE = 4
"""The side of a planted square in pixels of the prepared image, which has 16."""
GREY = 0.3
"""The value of a planted square in all channels: on average as bright as the coloured blobs that belong there."""


@pytest.mark.slow
def test_a_planted_square_is_found_by_a_vae_that_has_seen_images_without():
    model = Vae(size=16, widths=(8, 16), latent=8)
    blobs = Blobs(count=HEALTHY + ILL)
    images = torch.stack([torch.from_numpy(model.prepare(blobs.load(id)).image) for id in blobs.ids()])
    trained(model, images[:HEALTHY])
    ill, masks = planted(images[HEALTHY:])
    maps = Anomaly()(Batch(model, blobs.ids()[HEALTHY:], ill, [1] * ILL)).values[:, 0]
    areas = [roc_auc_score(mask.ravel(), heat.ravel()) for mask, heat in zip(masks, maps.numpy())]
    assert np.mean(areas) > 0.9
    with torch.no_grad():
        scores = model.forward(torch.cat([images[HEALTHY:], ill]))["logits"][:, 0]
    assert roc_auc_score([0] * ILL + [1] * ILL, scores) > 0.9


def trained(model: Vae, images: Tensor) -> None:
    """Train the network of a model in place by squared error and divergence."""
    network = model.network.train()
    optimiser = torch.optim.Adam(network.parameters(), 5e-3)
    torch.manual_seed(0)
    for _ in range(STEPS):
        outputs = network(images)
        errors = (outputs["reconstruction"] - images).square().flatten(1).sum(1)
        loss = (errors + 0.1 * outputs["divergence"]).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    network.eval()


def planted(images: Tensor) -> tuple[Tensor, Sequence[np.ndarray]]:
    """Copies of images with a grey square each, at a random position, and the masks of the squares."""
    rng = np.random.default_rng(0)
    masks = np.zeros((len(images), *images.shape[2:]), bool)
    for mask in masks:
        top, left = rng.integers(0, len(mask) - SIDE + 1, 2)
        mask[top : top + SIDE, left : left + SIDE] = True
    return torch.where(torch.from_numpy(masks)[:, None], GREY, images), list(masks)
