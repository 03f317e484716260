"""Converted transforms: the image against the transform itself, bit by bit, and the geometry against a ramp."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform
from timm.data.transforms import CenterCropOrPad, ResizeKeepRatio
from torch import nn
from torchvision import transforms as v1
from torchvision import tv_tensors
from torchvision.models import ResNet18_Weights, ViT_B_16_Weights
from torchvision.transforms import v2

from heatproof.errors import DataError, ModelError
from heatproof.records import Annotation, Sample
from heatproof_transforms.conversion import preparation_of

COLOURS = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
FLOATS = v2.ToDtype(torch.float32, scale=True)
ON_PILLOW = {
    "the usual one": v1.Compose([v1.Resize(40), v1.CenterCrop(32), v1.ToTensor(), v1.Normalize(*COLOURS)]),
    "v2": v2.Compose([v2.Resize(40), v2.CenterCrop(32), v2.ToImage(), FLOATS, v2.Normalize(*COLOURS)]),
    "stretched": v1.Compose([v1.Resize((37, 41), v1.InterpolationMode.BICUBIC), v1.ToTensor()]),
    "enlarged": v1.Compose([v1.Resize(150, Image.Resampling.LANCZOS), v1.CenterCrop((100, 201)), v1.ToTensor()]),
    "nearest": v2.Compose([v2.Resize(30, "nearest"), v2.PILToTensor(), v2.ConvertImageDtype(), v2.ToPureTensor()]),
    "a longest side": v1.Compose([v1.Resize(60, max_size=70), v1.ToTensor()]),
    "the longest side alone": v2.Compose([v2.Resize(None, max_size=50), v2.ToImage(), FLOATS]),
    "padded": v1.Compose([v1.Pad((1, 2, 3, 4), fill=(9, 8, 7)), v1.CenterCrop((90, 30)), v1.ToTensor()]),
    "grey": v1.Compose([v1.Grayscale(3), v1.Resize((20, 30)), v1.ToTensor(), v1.Normalize(*COLOURS)]),
    "one channel": v2.Compose([v2.Resize(33), v2.Grayscale(), v2.ToImage(), FLOATS, v2.Normalize([0.5], [0.2])]),
    "resized as a tensor": v1.Compose([v1.ToTensor(), v1.Resize(35), v1.CenterCrop(33), v1.Normalize(*COLOURS)]),
    "resized as bytes": v2.Compose([v2.ToImage(), v2.Resize((21, 34), "bicubic"), FLOATS]),
    "from 0 to 255": v2.Compose([v2.Resize(20), v2.ToImage(), v2.ToDtype({tv_tensors.Image: torch.float32})]),
    "back to Pillow": v1.Compose([v1.ToTensor(), v1.ToPILImage(), v1.Resize(29), v1.ToTensor()]),
    "nested": v1.Compose([nn.Sequential(v1.Resize(40), nn.Identity()), v1.Compose([v1.ToTensor()])]),
    "weights of torchvision": ResNet18_Weights.DEFAULT.transforms(crop_size=32, resize_size=37),
    "other weights": ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1.transforms(crop_size=32, resize_size=32),
    "timm": create_transform((3, 32, 32), crop_pct=0.9, interpolation="bicubic"),
    "timm, not square": create_transform((3, 32, 48), crop_pct=0.9, crop_mode="center"),
    "timm, squashed": create_transform((3, 48, 48), crop_pct=1.0, crop_mode="squash"),
    "timm, with borders": create_transform((3, 48, 48), crop_pct=0.9, crop_mode="border", interpolation="bicubic"),
}  # fmt: skip
ON_TENSORS = {
    "v1": v1.Compose([v1.Resize(40), v1.ConvertImageDtype(torch.float32), v1.Normalize(*COLOURS)]),
    "v2": v2.Compose([v2.Resize(40, antialias=False), v2.CenterCrop(50), FLOATS, v2.Normalize(*COLOURS)]),
    "bicubic": v2.Compose([v2.Resize((30, 31), "bicubic"), FLOATS]),
    "grey, v1": nn.Sequential(v1.Grayscale(3), v1.ConvertImageDtype(torch.float32)),
    "grey, v2": v2.Compose([v2.Grayscale(3), v2.Pad([3, 5], fill=[1, 2, 3]), FLOATS]),
    "padded floats": v2.Compose([FLOATS, v2.Pad(2, fill=0.5)]),
}


def colours(height: int = 61, width: int = 83) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (3, height, width), dtype=np.uint8)


def prepared(transform: object, image: np.ndarray, **changes: object) -> Sample:
    preparation = preparation_of(transform)
    assert preparation is not None
    preparation = pickle.loads(pickle.dumps(preparation.with_(**changes)))
    sample = preparation(Sample("a", image))
    assert preparation.params.size in (None, sample.space)
    assert preparation.params.width in (None, len(sample.image))
    return sample


@pytest.mark.parametrize("shape", [(61, 83), (83, 60), (30, 31)], ids=str)
@pytest.mark.parametrize("transform", ON_PILLOW.values(), ids=ON_PILLOW)
def test_an_image_is_prepared_as_by_the_transform_itself(transform: object, shape: tuple[int, int]) -> None:
    image = colours(*shape)
    expected = transform(Image.fromarray(image.transpose(1, 2, 0)))
    np.testing.assert_array_equal(prepared(transform, image).image, expected.numpy(), strict=True)


@pytest.mark.parametrize("transform", ON_TENSORS.values(), ids=ON_TENSORS)
def test_a_transform_of_tensors_gets_tensors(transform: object) -> None:
    image = colours()
    expected = transform(torch.from_numpy(image))
    np.testing.assert_array_equal(prepared(transform, image).image, expected.numpy(), strict=True)


def test_a_grey_image_is_repeated_for_three_means() -> None:
    image = colours()[:1]
    expected = ON_PILLOW["the usual one"](Image.fromarray(image[0]).convert("RGB"))
    np.testing.assert_array_equal(prepared(ON_PILLOW["the usual one"], image).image, expected.numpy())
    expected = ON_PILLOW["stretched"](Image.fromarray(image[0]))
    np.testing.assert_array_equal(prepared(ON_PILLOW["stretched"], image).image, expected.numpy())
    colour = v2.Compose([v2.RGB(), v2.ToImage(), FLOATS])
    np.testing.assert_array_equal(prepared(colour, image).image, colour(Image.fromarray(image[0])).numpy())


@pytest.mark.parametrize("name", ["the usual one", "stretched", "padded", "from 0 to 255", "timm, with borders"])
def test_16_bits_are_prepared_as_floats_without_rounding(name: str) -> None:
    """An image of 16 bits with the values of one of 8 bits (257 = 65535 / 255) differs by Pillow's rounding alone."""
    image = colours() // 2 + 60
    scale = 1 if name == "from 0 to 255" else 255 * COLOURS[1][1]
    deep = prepared(ON_PILLOW[name], image.astype(np.uint16) * 257).image
    floats = prepared(ON_PILLOW[name], (image / np.float32(255)).astype(np.float32)).image
    np.testing.assert_allclose(deep, prepared(ON_PILLOW[name], image).image, atol=2.5 / scale)
    np.testing.assert_allclose(deep, floats, atol=1e-4)


def test_16_bits_end_at_black_and_white_where_bicubic_overshoots() -> None:
    deep = prepared(ON_PILLOW["stretched"], (colours() > 127).astype(np.uint16) * 65535).image
    assert (deep.min(), deep.max()) == (0, 1)


@pytest.mark.parametrize("name", ["the usual one", "v2", "padded", "a longest side", "enlarged", "timm, not square",
                                  "timm, squashed", "timm, with borders", "weights of torchvision"])  # fmt: skip
def test_the_geometry_is_that_of_the_pixels(name: str) -> None:
    """A linear ramp stays linear under interpolation: away from borders, values tell the native position."""
    rows, columns = np.meshgrid(np.arange(61.0), np.arange(83.0), indexing="ij")
    ramp = np.stack([rows, columns, rows]).astype(np.float32) / 100
    preparation = preparation_of(ON_PILLOW[name])
    steps = [step for step in preparation.params.steps if step.kind != "normalize"]
    steps = [step.model_copy(update={"interpolation": "bilinear"}) if hasattr(step, "interpolation") else step
             for step in steps]  # fmt: skip
    mask = np.zeros((61, 83), dtype=np.float32)
    mask[20:23, 41:45] = 1
    sample = preparation.with_(steps=steps)(Sample("a", ramp, annotations=(Annotation("spot", mask),)))
    cells = np.stack(np.meshgrid(*map(np.arange, sample.space), indexing="ij"), axis=-1) + 0.5
    native = np.einsum("ij,hwj->hwi", sample.geometry.affine[:2, :2], cells) + sample.geometry.affine[:2, 2]
    inside = ((native > 4) & (native < np.array([61, 83]) - 4)).all(-1)
    assert inside.sum() > 100
    gaps = 100 * np.moveaxis(sample.image[:2], 0, -1)[inside] + 0.5 - native[inside]
    # A filter that is sampled at pixels moves a ramp by less than a sixth of a pixel, to either side.
    assert np.abs(gaps).max() < 0.17
    np.testing.assert_allclose(gaps.mean(0), 0, atol=0.01)
    assert (sample.field == ((native > 0) & (native < np.array([61, 83]))).all(-1))[inside].all()
    (spot,) = sample.annotations
    area = abs(np.linalg.det(sample.geometry.affine[:2, :2]))
    assert float(spot.values.sum()) * area == pytest.approx(12, rel=1e-5)
    centre = (native * spot.values[..., None]).sum((0, 1)) / spot.values.sum()
    np.testing.assert_allclose(centre, [21.5, 43], atol=0.08)


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (v1.Compose([v1.RandomHorizontalFlip(), v1.ToTensor()]), r"^RandomHorizontalFlip\(p=0.5\) is a step that"),
        (v1.Compose([v1.Lambda(lambda image: image), v1.ToTensor()]), r"^Lambda\(\) is a step that"),
        (v2.Compose([v2.ColorJitter(), v2.ToImage()]), "^ColorJitter.* cannot be converted exactly"),
        (v1.Compose([np.flipud, v1.ToTensor()]), "^flipud is a step that cannot be converted"),
        (create_transform((3, 32, 32), is_training=True), "^RandomResizedCropAndInterpolation is a step that"),
        (v1.Compose([ResizeKeepRatio(3, random_scale_prob=1.0)]), r"^ResizeKeepRatio is random; give the transform"),
        (v1.Compose([v1.Pad(1, padding_mode="reflect")]), "repeats the image beyond its border"),
        (v1.Compose([CenterCropOrPad(3, padding_mode="edge")]), "repeats the image beyond its border"),
        (v1.Compose([v1.Resize(3)]), "^Compose.* gives whole numbers from 0 to 255; add ToTensor"),
        (v1.Compose([v1.ToTensor(), v1.ToPILImage()]), "gives whole numbers"),
        (v1.Compose([v1.PILToTensor(), v1.Normalize([0], [1])]), "has the step normalize on a tensor image"),
        (v2.Compose([v2.ToPILImage(), FLOATS]), "has the step scale on a pillow image"),
        (v1.Compose([v1.ToPILImage("CMYK"), v1.ToTensor()]), "gives images of mode CMYK; allowed: RGB, L"),
        (v2.Compose([v2.ToImage(), v2.ToDtype(torch.float16)]), r"converts to torch.float16; heatproof prepares"),
    ],
)  # fmt: skip
def test_a_step_that_cannot_be_converted_is_named(transform: object, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        preparation_of(transform)


def test_what_is_no_transform_is_not_converted() -> None:
    for source in (nn.Conv2d(3, 3, 1), nn.Sequential(), nn.Sequential(nn.ReLU()), "resize", None, lambda image: image):
        assert preparation_of(source) is None


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((3, 4, 5, 6), np.uint8), "a has 3 spatial axes; a transform prepares images"),
        (np.zeros((4, 5, 6), np.uint8), "a has 4 channels, but channels is 3"),
        (np.zeros((3, 5, 6), np.int16), "a has values of type int16"),
        (np.full((3, 5, 6), 7.0, np.float32), "a has values of type float32 from 7 to 7"),
    ],
    ids=str,
)
def test_an_image_that_a_transform_cannot_take(image: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepared(ON_PILLOW["the usual one"], image)


def test_more_images_that_a_transform_cannot_take() -> None:
    with pytest.raises(DataError, match="a has 4 channels; a transform of Pillow's images takes 1 or 3"):
        prepared(ON_PILLOW["stretched"], np.zeros((4, 5, 6), np.uint8))
    with pytest.raises(DataError, match="a has 2 channels; the step grey takes 1 or 3"):
        prepared(ON_PILLOW["grey"], np.zeros((2, 5, 6), np.uint8))
    with pytest.raises(DataError, match="a is of type uint16, but the interpolation lanczos"):
        prepared(ON_PILLOW["enlarged"], np.zeros((3, 5, 6), np.uint16))


def test_equal_transforms_have_one_identity() -> None:
    first, again = (preparation_of(v1.Compose([v1.Resize(size), v1.ToTensor()])) for size in (40, 40))
    other = preparation_of(v1.Compose([v1.Resize(41), v1.ToTensor()]))
    assert first.identity == again.identity != other.identity
