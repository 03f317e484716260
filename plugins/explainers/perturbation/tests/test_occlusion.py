"""Occlusion against examples by hand and captum."""

from typing import Any

import captum.attr
import pytest
import torch
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.errors import HeatproofError, ModelError
from heatproof.model import Model
from heatproof.testing import conforms, toys
from heatproof.testing.bench import in_float64
from heatproof_perturbation.occlusion import Occlusion
from heatproof_shared_passes.boxes import Windows, per_axis
from heatproof_shared_passes.sliding import averaged


class Branching(nn.Module):
    """A network that fx cannot trace, since its forward depends on its values."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 3)

    def forward(self, images: Tensor) -> Tensor:
        if images.sum() > -1e9:
            images = images.abs()
        return self.head(images.mean((2, 3)))


def linear(weights: Tensor) -> Model:
    """The sum of weights times pixels."""
    layer = nn.Linear(weights.numel(), 1, bias=False)
    layer.weight.data = weights.reshape(1, -1)
    return Model.of(nn.Sequential(nn.Flatten(), layer).double(), "a")


def by_captum(batch: Batch, patch: Any, stride: Any, value: Tensor | float) -> Tensor:
    """Captum's map in float64; it would round to float32."""
    sizes, strides = (per_axis(sides, len(batch.space)) for sides in (patch, stride))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Tensor, "float", Tensor.double)
        return captum.attr.Occlusion(batch.model.network).attribute(
            batch.images, (3, *sizes), (3, *strides), value, batch.targets
        )


def assert_agree(actual: Tensor, expected: Tensor) -> None:
    assert float((actual - expected).abs().max() / expected.abs().max()) <= 1e-8


def random_images(*shape: int) -> Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


@conforms(
    Occlusion(patch=6, stride=5), Occlusion(patch=8, stride=8, value="mean"),
    Occlusion(patch=8, stride=8, value="blur", sigma=3.0), Occlusion(patch=(4, 8), stride=(4, 3)),
)  # fmt: skip
def test_conformance(check):
    check()


@pytest.mark.parametrize(("patch", "stride", "expected"), [(1, 1, [[1, 2], [3, 4]]), (2, 1, [[10, 10], [10, 10]])])
def test_a_linear_model_by_hand(patch, stride, expected):
    weights = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    batch = Batch(linear(weights), ["a"], torch.ones(1, 1, 2, 2, dtype=torch.float64), [0])
    explanation = Occlusion(patch=patch, stride=stride)(batch)
    assert explanation.values[0, 0].tolist() == expected
    assert explanation.notes == {"degenerate": [0.0]}


def test_a_pixel_has_the_mean_over_the_patches_that_cover_it():
    """By hand: patches [0, 3) and [2, 4) of a line of two rows take 6 and 7 of the score 10."""
    weights = torch.tensor([[1.0, 2.0, 1.0, 3.0], [0.0, 1.0, 1.0, 1.0]], dtype=torch.float64)
    windows = Windows.sliding((2, 4), 2, 2)
    batch = Batch(linear(weights), ["a"], torch.ones(1, 1, 2, 4, dtype=torch.float64), [0])
    assert Occlusion(patch=2, stride=2)(batch).values[0, 0].tolist() == [[4, 4, 6, 6], [4, 4, 6, 6]]
    assert Occlusion(patch=2, stride=1)(batch).values[0, 0].tolist() == [[4, 4.5, 5.5, 6], [4, 4.5, 5.5, 6]]
    assert averaged(torch.tensor([[1.0, 5.0]]), windows)[0, 0].tolist() == [[1, 1, 5, 5]] * 2


@pytest.mark.parametrize(
    ("patch", "stride"), [(4, 4), (5, 3), (7, 5), (16, 1), (1, 1), ((3, 7), (2, 5)), ((16, 2), 2), (8, (8, 3))]
)
@pytest.mark.parametrize("value", [0.0, 0.4])
def test_captum_agrees(patch, stride, value):
    batch = Batch(in_float64(toys.Residual()), list("abc"), random_images(3, 3, 16, 16), [2, 0, 1], rows=2)
    heatmap = Occlusion(patch=patch, stride=stride, value=value)(batch).values
    assert_agree(heatmap, by_captum(batch, patch, stride, value))


@pytest.mark.parametrize("value", ["mean", 0.2])
def test_captum_agrees_in_a_volume_that_the_stride_does_not_divide(value):
    images = random_images(2, 3, 7, 9, 10)
    batch = Batch(in_float64(toys.Residual(dimensions=3)), list("ab"), images, [1, 2])
    replacement = value
    if value == "mean":
        replacement = images.mean((2, 3, 4), keepdim=True).expand_as(images)
    heatmap = Occlusion(patch=4, stride=3, value=value)(batch).values
    assert_agree(heatmap, by_captum(batch, 4, 3, replacement))


def test_captum_agrees_on_boxes_in_a_volume():
    batch = Batch(in_float64(toys.Residual(dimensions=3)), list("ab"), random_images(2, 3, 7, 9, 10), [1, 2])
    heatmap = Occlusion(patch=(2, 5, 4), stride=(2, 3, 4))(batch).values
    assert_agree(heatmap, by_captum(batch, (2, 5, 4), (2, 3, 4), 0.0))


def test_a_rectangle_that_does_not_fit_is_refused():
    batch = Batch(in_float64(toys.Residual()), ["a"], random_images(1, 3, 16, 16), [0])
    with pytest.raises(ModelError, match="Occlusion explains 3-D images; these have 2 dimensions"):
        Occlusion(patch=(4, 4, 4), stride=4)(batch)
    with pytest.raises(ModelError, match="a window of 4 x 32 pixels is larger than the image, which has 16 x 16"):
        Occlusion(patch=(4, 32), stride=4)(batch)
    with pytest.raises(HeatproofError, match=r"stride \(2, 5\) leaves gaps between patches of 4 pixels"):
        Occlusion(patch=4, stride=(2, 5))


def test_a_blurred_patch_shows_the_image_without_its_detail():
    images = random_images(2, 3, 16, 16)
    batch = Batch(in_float64(toys.Residual()), list("ab"), images, [0, 1])
    offsets = torch.arange(-8, 9, dtype=torch.float64)
    kernel = torch.exp(-offsets.square() / (2 * 2.0**2))
    kernel = kernel / kernel.sum()
    blurred = nn.functional.pad(images, (8, 8, 8, 8), mode="replicate")
    for axis in (2, 3):
        blurred = blurred.unfold(axis, 17, 1) @ kernel
    heatmap = Occlusion(patch=5, stride=4, value="blur", sigma=2.0)(batch).values
    assert_agree(heatmap, by_captum(batch, 5, 4, blurred))


@pytest.mark.parametrize("channels", [1, 5])
def test_the_score_is_the_logit_for_any_number_of_channels(channels):
    """MONAI takes a softmax or a sigmoid, depending on the number of channels of the image."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)).double()
    images = random_images(1, channels, 8, 8)
    heatmap = Occlusion(patch=8, stride=8)(Batch(Model.of(network, "abc"), ["a"], images, [1])).values
    with torch.no_grad():
        expected = float((network(images) - network(torch.zeros_like(images)))[0, 1])
    assert heatmap.flatten().tolist() == pytest.approx([expected] * 64, rel=1e-10)


def test_a_network_that_cannot_be_traced():
    torch.manual_seed(0)
    model = Model.of(Branching().double(), "abc")
    batch = Batch(model, list("ab"), random_images(2, 3, 9, 9), [0, 2], rows=3)
    assert_agree(Occlusion(patch=4, stride=3)(batch).values, by_captum(batch, 4, 3, 0.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_patches_that_change_nothing_make_the_map_degenerate(dtype):
    model = toys.Residual()
    model.network.to(dtype)
    images = torch.stack([torch.full((3, 16, 16), 0.7), torch.rand(3, 16, 16)]).to(dtype)
    explanation = Occlusion(patch=4, stride=4, value="mean")(Batch(model, list("ab"), images, [0, 1]))
    assert explanation.notes == {"degenerate": [1.0, 0.0]}


def test_costs_are_those_of_the_grid():
    assert Occlusion().cost(toys.Residual(), (448, 448)) == (730, 0)
    assert Occlusion(patch=4, stride=3).cost(toys.Residual(), (8, 9, 10)) == (1 + 3 * 3 * 3, 0)


def test_a_patch_larger_than_the_image():
    batch = Batch(toys.Residual(), ["a"], torch.rand(1, 3, 16, 16), [0])
    with pytest.raises(
        ModelError, match="a window of 32 pixels is larger than the image, which has 16 x 16; make it 16"
    ):
        Occlusion()(batch)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patch": 0}, "patch"), ({"stride": 0}, "stride"), ({"patch": 4, "stride": 5}, "gaps"),
        ({"value": "grey"}, "value"), ({"value": float("nan")}, "value"), ({"sigma": 0}, "sigma"),
        ({"size": 3}, "size"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(HeatproofError, match=message):
        Occlusion(**settings)
