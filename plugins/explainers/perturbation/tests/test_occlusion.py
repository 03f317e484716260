"""Occlusion against its vectors, captum and a plain loop."""

import captum.attr
import pytest
import torch
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.errors import HeatproofError, ModelError
from heatproof.model import Model
from heatproof.testing import conforms, toys
from heatproof.testing.bench import in_float64
from heatproof_perturbation.boxes import Windows
from heatproof_perturbation.occlusion import Occlusion, averaged


class Branching(nn.Module):
    """What fx cannot trace: it looks at its values."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(images.abs().mean((2, 3)) if images.sum() > -1e9 else images.mean((2, 3)))


def linear(weights: Tensor) -> Model:
    """The sum of weights times pixels."""
    layer = nn.Linear(weights.numel(), 1, bias=False)
    layer.weight.data = weights.reshape(1, -1)
    return Model.of(nn.Sequential(nn.Flatten(), layer).double(), "a")


def by_captum(model: Model, made: Tensor, patch: int, stride: int, targets: list[int], value: Tensor | float) -> Tensor:
    """Captum's map, kept from being rounded to float32."""
    sides = len(made.shape) - 2
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Tensor, "float", Tensor.double)
        return captum.attr.Occlusion(model.network).attribute(
            made, (3, *(patch,) * sides), (3, *(stride,) * sides), value, torch.tensor(targets)
        )


def images(*shape: int) -> Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


@conforms(
    Occlusion(patch=6, stride=5), Occlusion(patch=8, stride=8, value="mean"),
    Occlusion(patch=8, stride=8, value="blur", sigma=3.0),
)  # fmt: skip
def test_conformance(check):
    check()


@pytest.mark.parametrize(("patch", "stride", "expected"), [(1, 1, [[1, 2], [3, 4]]), (2, 1, [[10, 10], [10, 10]])])
def test_the_vectors_of_a_linear_model(patch, stride, expected):
    weights = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    made = Batch(linear(weights), ["a"], torch.ones(1, 1, 2, 2, dtype=torch.float64), [0])
    explanation = Occlusion(patch=patch, stride=stride)(made)
    assert explanation.values[0, 0].tolist() == expected
    assert explanation.notes == {"degenerate": [0.0]}


def test_a_pixel_has_the_mean_over_the_patches_that_cover_it():
    """By hand: patches [0, 3) and [2, 4) of a line of two rows take 6 and 7 of the score 10."""
    weights = torch.tensor([[1.0, 2.0, 1.0, 3.0], [0.0, 1.0, 1.0, 1.0]], dtype=torch.float64)
    windows = Windows.sliding((2, 4), 2, 2)
    made = Batch(linear(weights), ["a"], torch.ones(1, 1, 2, 4, dtype=torch.float64), [0])
    assert Occlusion(patch=2, stride=2)(made).values[0, 0].tolist() == [[4, 4, 6, 6], [4, 4, 6, 6]]
    assert Occlusion(patch=2, stride=1)(made).values[0, 0].tolist() == [[4, 4.5, 5.5, 6], [4, 4.5, 5.5, 6]]
    assert averaged(torch.tensor([[1.0, 5.0]]), windows)[0, 0].tolist() == [[1, 1, 5, 5]] * 2


@pytest.mark.parametrize(("patch", "stride"), [(4, 4), (5, 3), (7, 5), (16, 1), (1, 1)])
@pytest.mark.parametrize("value", [0.0, 0.4])
def test_captum_agrees(patch, stride, value):
    model, made = in_float64(toys.Residual()), images(3, 3, 16, 16)
    targets = [2, 0, 1]
    expected = by_captum(model, made, patch, stride, targets, value)
    found = Occlusion(patch=patch, stride=stride, value=value)(Batch(model, list("abc"), made, targets, rows=2)).values
    assert float((found - expected).abs().max() / expected.abs().max()) <= 1e-8


@pytest.mark.parametrize("value", ["mean", 0.2])
def test_captum_agrees_in_a_volume_that_the_stride_does_not_divide(value):
    model, made = in_float64(toys.Residual(dimensions=3)), images(2, 3, 7, 9, 10)
    colours = made.mean((2, 3, 4), keepdim=True).expand_as(made) if value == "mean" else value
    expected = by_captum(model, made, 4, 3, [1, 2], colours)
    found = Occlusion(patch=4, stride=3, value=value)(Batch(model, list("ab"), made, [1, 2])).values
    assert float((found - expected).abs().max() / expected.abs().max()) <= 1e-8


def test_a_blurred_patch_shows_the_image_without_its_detail():
    model, made = in_float64(toys.Residual()), images(2, 3, 16, 16)
    places = torch.arange(-8, 9, dtype=torch.float64)
    kernel = torch.exp(-places.square() / (2 * 2.0**2))
    kernel = kernel / kernel.sum()
    blurred = nn.functional.pad(made, (8, 8, 8, 8), mode="replicate")
    for axis in (2, 3):
        blurred = blurred.unfold(axis, 17, 1) @ kernel
    expected = by_captum(model, made, 5, 4, [0, 1], blurred)
    found = Occlusion(patch=5, stride=4, value="blur", sigma=2.0)(Batch(model, list("ab"), made, [0, 1])).values
    assert float((found - expected).abs().max() / expected.abs().max()) <= 1e-8


@pytest.mark.parametrize("channels", [1, 5])
def test_the_score_is_the_logit_whatever_the_channels(channels):
    """Others take a softmax or a sigmoid by the number of channels of the image (MONAI)."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    model, made = Model.of(network.double(), "abc"), images(1, channels, 8, 8)
    found = Occlusion(patch=8, stride=8)(Batch(model, ["a"], made, [1])).values
    with torch.no_grad():
        expected = float((network(made) - network(torch.zeros_like(made)))[0, 1])
    assert found.flatten().tolist() == pytest.approx([expected] * 64, rel=1e-10)


def test_a_network_that_cannot_be_traced():
    torch.manual_seed(0)
    model, made = Model.of(Branching().double(), "abc"), images(2, 3, 9, 9)
    expected = by_captum(model, made, 4, 3, [0, 2], 0.0)
    found = Occlusion(patch=4, stride=3)(Batch(model, list("ab"), made, [0, 2], rows=3)).values
    assert float((found - expected).abs().max() / expected.abs().max()) <= 1e-8


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_patch_that_changes_nothing_is_noted(dtype):
    model = in_float64(toys.Residual()) if dtype == torch.float64 else toys.Residual()
    made = torch.stack([torch.full((3, 16, 16), 0.7), torch.rand(3, 16, 16)]).to(dtype)
    explanation = Occlusion(patch=4, stride=4, value="mean")(Batch(model, list("ab"), made, [0, 1]))
    assert explanation.notes == {"degenerate": [1.0, 0.0]}


def test_costs_are_those_of_the_grid():
    assert Occlusion().cost(toys.Residual(), (448, 448)) == (730, 0)
    assert Occlusion(patch=4, stride=3).cost(toys.Residual(), (8, 9, 10)) == (1 + 3 * 3 * 3, 0)


def test_a_patch_larger_than_the_image():
    made = Batch(toys.Residual(), ["a"], torch.rand(1, 3, 16, 16), [0])
    with pytest.raises(
        ModelError, match="a window of 32 pixels is larger than the image, which has 16 x 16; make it 16"
    ):
        Occlusion()(made)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"patch": 0}, "patch"), ({"stride": 0}, "stride"), ({"patch": 4, "stride": 5}, "gaps"),
        ({"value": "grey"}, "value"), ({"value": float("nan")}, "value"), ({"sigma": 0}, "sigma"),
        ({"size": 3}, "size"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(HeatproofError, match=words):
        Occlusion(**settings)
