"""Planted faults are flagged, and sound curves and data are not."""

from dataclasses import replace

import numpy as np
import pytest

from heatproof.imaging.transforms import Resize
from heatproof.records import Sample
from heatproof.seeding import generator
from heatproof.testing.toys import Blobs
from heatproof_phantom.phantom import Phantom
from heatproof_training.diagnostics import curve_flags, data_flags, facts_of


def names(train: list[float], validation: list[float] | None = None) -> list[str]:
    rows = [{"train": {"loss": loss}} for loss in train]
    for row, loss in zip(rows, validation or []):
        row["validation"] = {"loss": loss}
    return [flag.name for flag in curve_flags(rows)]


EPOCHS = np.arange(20)
FALLING = (0.2 + np.exp(-EPOCHS / 4)).tolist()


def test_sound_curves() -> None:
    rng = np.random.default_rng(0)
    noisy = [loss * factor for loss, factor in zip(FALLING, rng.uniform(0.9, 1.1, 20))]
    assert names(FALLING) == []
    assert names(FALLING, noisy) == []
    assert names(noisy, [loss + 0.1 for loss in noisy]) == []
    assert names([0.7]) == []


def test_planted_faults_of_curves() -> None:
    assert names([*FALLING[:10], 80.0], [*FALLING[:10], 80.0]) == ["explosion"]
    assert names([0.693 + 0.001 * (-1) ** epoch for epoch in range(10)]) == ["stall"]
    assert names(FALLING, [0.4 + abs(epoch - 5) * 0.05 for epoch in range(20)]) == ["overfit"]
    assert names([1.0, 0.5, 0.2, 0.01, 0.2, 0.01]) == ["explosion"]


@pytest.fixture(scope="module")
def eyes() -> list[Sample]:
    """Synthetic photographs with masks of lesions, prepared for a network."""
    dataset = Phantom(patients=5, height=96)
    preparation = Resize(size=64)
    return [preparation(dataset.load(id)) for id in dataset.ids()]


def flags(samples: list[Sample]) -> list[str]:
    return [flag.name for flag in data_flags([facts_of(sample) for sample in samples])]


def blobs(count: int = 12) -> list[Sample]:
    dataset = Blobs(count=count)
    samples = [dataset.load(id) for id in dataset.ids()]
    return [replace(sample, image=(sample.image / 255).astype(np.float32)) for sample in samples]


def test_sound_data(eyes: list[Sample]) -> None:
    assert flags(eyes) == []
    assert flags(blobs()) == []


def turned(sample: Sample, axes: tuple[int, ...], turns: int) -> Sample:
    """The sample with annotations that were drawn on a turned image."""
    annotations = [
        replace(entry, values=np.rot90(np.flip(entry.values, axes), turns).copy()) for entry in sample.annotations
    ]
    return replace(sample, annotations=tuple(annotations))


@pytest.mark.parametrize(("axes", "turns"), [((-2,), 0), ((-1,), 0), ((), 1), ((), 3), ((-2, -1), 0)])
def test_misaligned_masks(axes: tuple[int, ...], turns: int) -> None:
    warnings = data_flags([facts_of(turned(sample, axes, turns)) for sample in blobs()])
    assert [flag.name for flag in warnings] == ["alignment", "alignment"]
    assert all("fit the edges of their images better" in flag.text for flag in warnings)
    if (axes, turns) == ((-2, -1), 0):
        assert all("turned by 180° than as they lie" in flag.text for flag in warnings)


def test_units_that_differ() -> None:
    samples = blobs()
    samples[3] = replace(samples[3], image=samples[3].image * 255)
    assert flags(samples) == ["unit"]
    assert flags([replace(sample, image=sample.image * 255) for sample in blobs()]) == ["unit"]
    rng = generator(0)
    assert flags([Sample(str(row), rng.normal(size=(1, 8, 8)).astype(np.float32)) for row in range(5)]) == []
