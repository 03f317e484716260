"""Trains LesionNet on the phantom and writes the checkpoint that the plugin packages.

    python docs/training/lesionnet.py --out plugins/models/lesionnet/src/heatproof_lesionnet/lesionnet.safetensors

Besides the grade, the network learns from the phantom's exact masks which lesions each cell of its last map contains;
the auxiliary head for this is dropped afterwards. No image of a person is used. The same seed, machine and thread count
give the same checkpoint.
"""

import logging
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import torch
from arrays import Eyes, prepared
from evaluation import Grades, graded
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from heatproof_lesionnet.lesionnet import BLOCKS, LesionNetwork
from heatproof_phantom.phantom import LESIONS

log = logging.getLogger("lesionnet")
TOP = 4
"""The highest grade."""
SIZE = 448
CELL = 4
"""Rows of pooled lesion pixels per row of the last map."""

TRACE = 0.5
"""The number of lesion pixels from which a cell of the last map contains the finding."""


class Trainee(nn.Module):
    """The network and the auxiliary head, which predicts the four findings in each cell of the last map."""

    def __init__(self) -> None:
        super().__init__()
        self.network = LesionNetwork()
        self.findings = nn.Conv2d(BLOCKS[-1][1], len(LESIONS), 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, 3, 448, 448) → logits (n,) and findings (n, 4, 28, 28)."""
        features = self.network.features(images)
        return self.network.grade(features)[:, 0], self.findings(features)


def ordinal(logits: Tensor, grades: Tensor) -> Tensor:
    """The mean of ((K - 1) sigmoid(z) - y)².

    >>> float(ordinal(torch.tensor([0.0, 2.0, -1.0]), torch.tensor([2, 4, 0]))) # doctest: +ELLIPSIS
    0.4615...
    """
    return (TOP * logits.sigmoid() - grades).square().mean()


def dense(findings: Tensor, lesions: Tensor) -> Tensor:
    """Binary cross-entropy between findings (n, 4, 28, 28) and the cells that contain them."""
    present = (functional.avg_pool2d(lesions, CELL) * CELL**2 >= TRACE).float()
    return functional.binary_cross_entropy_with_logits(findings, present, pos_weight=torch.tensor(3.0))


def batches(eyes: Eyes, size: int, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Every eye once in random order and with random changes: images, lesions and grades."""
    order = rng.permutation(len(eyes))
    for start in range(0, len(order) - size + 1, size):
        rows = np.sort(order[start : start + size])
        images, lesions = (torch.from_numpy(array[rows]).float() for array in (eyes.images, eyes.lesions))
        yield *augmented(images, lesions, rng), torch.from_numpy(eyes.grades[rows])


def augmented(images: Tensor, lesions: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Turn, mirror and zoom images and lesions together; change contrast, colour and texture of the images."""
    matrices = transforms(len(images), rng)
    images = transformed(images, matrices)
    lesions = transformed(lesions, matrices)
    field = images.abs().amax(1, keepdim=True) > 0
    images = (images * gain(len(images), rng) + texture(len(images), rng)).clamp(-1, 1) * field
    return images.contiguous(memory_format=torch.channels_last), lesions


def transformed(images: Tensor, matrices: Tensor) -> Tensor:
    """Images (n, c, h, w) under affine matrices (n, 2, 3)."""
    grid = functional.affine_grid(matrices, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def gain(count: int, rng: np.random.Generator) -> Tensor:
    """Factors (n, 3, 1, 1) of contrast, mostly below 1: real fundus photographs have less contrast than the phantom."""
    overall = np.exp(rng.uniform(np.log(0.3), np.log(1.3), (count, 1)))
    colours = rng.uniform((0.75, 0.75, 0.3), (1.25, 1.25, 1.1), (count, 3))
    return torch.from_numpy(overall * colours).float()[:, :, None, None]


def texture(count: int, rng: np.random.Generator) -> Tensor:
    """Normal noise (n, 3, 448, 448) at four scales, each with a random strength."""
    total = torch.zeros(count, 3, SIZE, SIZE)
    for scale in (1, 2, 4, 8):
        strength = rng.uniform(0, 0.05, (count, 1, 1, 1)).astype(np.float32)
        noise = strength * rng.standard_normal((count, 3, SIZE // scale, SIZE // scale), dtype=np.float32)
        total += functional.interpolate(torch.from_numpy(noise), size=(SIZE, SIZE), mode="bilinear")
    return total


def transforms(count: int, rng: np.random.Generator) -> Tensor:
    """Affine matrices (n, 2, 3): half are quarter turns without resampling, half any angle with zoom."""
    exact = rng.random(count) < 0.5
    angle = np.where(exact, rng.integers(0, 4, count) * np.pi / 2, rng.uniform(0, 2 * np.pi, count))
    zoom = np.where(exact, 1, rng.uniform(0.9, 1.1, count))
    mirror = rng.choice([-1, 1], count)
    rows = np.array([[np.cos(angle), -np.sin(angle), 0 * angle], [np.sin(angle), np.cos(angle), 0 * angle]]) * zoom
    rows[:, 0] *= mirror
    return torch.from_numpy(rows.transpose(2, 0, 1)).float()


def train(eyes: Eyes, tuning: Eyes, epochs: int, size: int, rate: float, seed: int) -> LesionNetwork:
    """A network trained for a number of epochs under a one-cycle schedule, with the weights of the last step."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    trainee = Trainee().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(trainee.parameters(), lr=rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, epochs * (len(eyes) // size), pct_start=0.2)
    start = time.monotonic()
    for epoch in range(epochs):
        losses = []
        for images, lesions, grades in batches(eyes, size, rng):
            logits, findings = trainee(images)
            parts = torch.stack([ordinal(logits, grades), 10 * dense(findings, lesions)])
            optimizer.zero_grad()
            parts.sum().backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(trainee.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            losses.append(parts.tolist())
        minutes = (time.monotonic() - start) / 60
        log.info("epoch %d, %.1f min: ordinal %.3f, dense %.3f; tuning %s", epoch + 1, minutes,
                 *np.mean(losses, axis=0), held_out(trainee.network, tuning))  # fmt: skip
    return trainee.network.eval()


def held_out(network: LesionNetwork, eyes: Eyes) -> str:
    """Measures of the network on eyes that it is not trained on, in one line; it returns to training mode."""
    logits = graded(network.eval(), eyes.images)
    network.train()
    return str(Grades(logits, np.asarray(eyes.grades)))


@click.command()
@click.option("--patients", default=400, show_default=True, help="Patients of the phantom; 6 of 10 are for training.")
@click.option("--epochs", default=12, show_default=True)
@click.option("--batch", default=8, show_default=True, help="Eyes per step.")
@click.option("--rate", default=4e-3, show_default=True, help="Highest learning rate.")
@click.option("--seed", default=0, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--cache", type=click.Path(path_type=Path), default=Path(tempfile.gettempdir(), "heatproof-lesionnet"))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The checkpoint to write.")
def main(patients: int, epochs: int, batch: int, rate: float, seed: int, threads: int, cache: Path, out: Path) -> None:
    """Train LesionNet on the phantom's training patients and write its checkpoint."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(threads)
    eyes = prepared(patients, "train", cache, threads)
    tuning = prepared(min(patients, 200), "tuning", cache, threads)
    network = train(eyes, tuning, epochs, batch, rate, seed)
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, out)


if __name__ == "__main__":
    main()
