from itertools import pairwise

import numpy as np
import pytest

from heatproof.errors import DataError
from heatproof.records import Annotation, Geometry, Sample, SpatialExtra
from heatproof.seeding import generator
from heatproof_eyetracking.gaze import Frames
from heatproof_training.augmentation import AugmentationSettings, augmented, cropped, turned

TURNS = [((), 0), ((-1,), 0), ((-2,), 1), ((-2, -1), 3), ((), 1), ((), 2)]


def landmarks(height: int = 12, width: int = 12) -> Sample:
    """An image of a few pixels, with the same values as mask, density, extra and frames, and their native positions."""
    rng = np.random.default_rng(0)
    profiles = tuple(rng.random((3, length)).astype(np.float32) for length in (height, width))
    frames = Frames(profiles)
    image = np.stack([frames.total(), *rng.random((2, height, width))]).astype(np.float32)
    annotations = (Annotation("lesion", image[0]), Annotation("gaze", image[0], "density"))
    return Sample(
        "a", image, annotations, 1, "p", Geometry.identity((height, width)), image[0] > np.median(image[0]),
        {"map": image, "frames": frames, "age": 50, "points": np.array([[1.0, 2.0]])},
    )  # fmt: skip


def require_aligned(sample: Sample, tolerance: float = 1e-6) -> None:
    first = sample.image[0]
    for annotation in sample.annotations:
        assert np.allclose(annotation.values, first, atol=tolerance)
    assert np.allclose(sample.extras["map"], sample.image, atol=tolerance)
    assert np.allclose(sample.extras["frames"].total(), first, atol=1e-5 + tolerance)
    assert sample.extras["age"] == 50
    assert sample.extras["points"].tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(("axes", "turns"), TURNS)
def test_everything_turns_together(axes: tuple[int, ...], turns: int) -> None:
    sample = landmarks()
    moved = turned(sample, axes, turns)
    require_aligned(moved)
    assert np.array_equal(moved.image, np.rot90(np.flip(sample.image, axes), turns, (-2, -1)))
    assert moved.field is not None
    assert np.array_equal(moved.field, moved.image[0] > np.median(moved.image[0]))
    # The centre of each pixel lies where its value was on the original image.
    assert moved.geometry is not None
    centres = np.stack(np.indices(moved.space), -1).reshape(-1, 2) + 0.5
    native = np.floor(moved.geometry.to_native(centres)).astype(int)
    assert np.array_equal(moved.image[0].ravel(), sample.image[0][native[:, 0], native[:, 1]])


def test_oblong_images_are_mirrored_and_turned_by_half() -> None:
    sample = landmarks(8, 12)
    require_aligned(turned(sample, (-1,), 2))
    with pytest.raises(DataError, match=r"quarter_turns need square images; .* a has 8 × 12"):
        turned(sample, (), 1)


def test_a_window_is_enlarged_for_everything_together() -> None:
    sample = landmarks()
    moved = cropped(sample, 0.5, generator(0, "crop"))
    require_aligned(moved)
    assert moved.space == sample.space
    assert moved.geometry is not None
    low, high = moved.geometry.to_native(np.array([[0.0, 0.0], [12.0, 12.0]]))
    sides = high - low
    assert sides[0] == pytest.approx(sides[1])
    assert 6 <= sides[0] < 12
    assert (low >= 0).all()
    assert (high <= 12).all()
    # A window of constant value keeps it: nothing outside is mixed in.
    flat = Sample("b", np.full((1, 12, 12), 0.7, np.float32))
    assert np.allclose(cropped(flat, 0.5, generator(0, "crop")).image, 0.7)


def test_changes_depend_on_the_generator_only_and_padding_stays() -> None:
    settings = AugmentationSettings(flips="both", quarter_turns=True, brightness=0.2, contrast=0.2, noise=0.1)
    images = [augmented(landmarks(), settings, generator(0, epoch)).image for epoch in range(6)]
    assert np.array_equal(images[0], augmented(landmarks(), settings, generator(0, 0)).image)
    assert all(not np.array_equal(first, second) for first, second in pairwise(images))
    sample = landmarks()
    coloured = augmented(sample, AugmentationSettings(brightness=0.5, noise=0.1), generator(1))
    assert sample.field is not None
    assert np.array_equal(coloured.image[:, ~sample.field], sample.image[:, ~sample.field])
    assert not np.array_equal(coloured.image[:, sample.field], sample.image[:, sample.field])
    assert augmented(sample, AugmentationSettings(), generator(0)) is sample


def test_contrast_and_gain_lie_in_their_ranges_and_keep_the_mean() -> None:
    """The ratio of spreads is the factor: drawn evenly on a logarithmic scale, and for each channel by itself."""
    sample = Sample("a", np.random.default_rng(0).normal(3, 1, (3, 12, 12)))
    centred = sample.image - sample.image.mean()

    def factors(settings: AugmentationSettings, seed: int) -> np.ndarray:
        image = augmented(sample, settings, generator(seed)).image
        # Brightness and contrast act alike on all channels, about the mean of the image.
        ratios = (image - sample.image.mean()) / centred
        assert np.allclose(ratios, ratios[:, :1, :1])
        return np.asarray(ratios[:, 0, 0])

    drawn = np.array([factors(AugmentationSettings(contrast=(0.25, 4)), seed) for seed in range(400)])
    assert np.allclose(drawn, drawn[:, :1])
    logarithms = np.log(drawn[:, 0]) / np.log(4)
    assert np.abs(logarithms).max() <= 1
    assert np.sort(logarithms)[[100, 200, 300]] == pytest.approx([-0.5, 0, 0.5], abs=0.15)
    drawn = np.array([factors(AugmentationSettings(gain=0.3), seed) for seed in range(100)])
    assert np.abs(drawn - 1).max() <= 0.3
    assert np.abs(np.corrcoef(drawn.T)[np.triu_indices(3, 1)]).max() < 0.3
    assert drawn.std(axis=0) == pytest.approx(0.3 / np.sqrt(3), rel=0.2)
    with pytest.raises(ValueError, match="the first factor is larger than the second"):
        AugmentationSettings(contrast=(1.3, 0.3))


def test_an_extra_that_cannot_be_turned_is_refused() -> None:
    class Rigid(SpatialExtra):
        space = (4, 4)

        def on(self, edges):
            return self

    sample = Sample("a", np.zeros((1, 4, 4), np.float32), extras={"rigid": Rigid()})
    with pytest.raises(DataError, match="a Rigid cannot be mirrored or turned; leave out flips"):
        turned(sample, (-1,), 0)
