"""Regions: sums of logits per pixel in closed form, where a class is predicted or annotated, and what is refused."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.errors import DataError, ModelError, Undefined
from heatproof.model import Model
from heatproof.passes import gradients, logits, unsummed
from heatproof.records import Annotation, Sample
from heatproof.regions import (
    RegionTarget,
    annotated,
    class_over_region,
    parted,
    predicted,
    require_whole_image,
    summed,
    titled,
    whole,
)
from heatproof.testing import check_model, checks
from heatproof.testing.bench import in_float64
from heatproof.testing.pixelwise import Pixelwise
from heatproof.testing.toys import Linear, Residual, Slope, drawn

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def regional_batch(model: Model, **changes: Any) -> Batch:
    """Four samples of a toy in float64 with targets in turn, and weights from 0 to 1 as regions."""
    precise = in_float64(model)
    images = torch.stack([torch.from_numpy(sample.image) for sample in model.samples()]).double()
    region = torch.rand(images[:, 0].shape, dtype=torch.float64, generator=rng())
    return Batch(precise, list("abcd"), images, [0, 1, 1, 0], **{"region": region, "rows": 3, **changes})


def existing(network: nn.Module, classes: str = "ab", **settings: Any) -> Model:
    return Model.of(network, classes, **settings)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_gradient_of_a_sum_is_the_region_under_the_weights(dimensions):
    toy = Pixelwise(dimensions=dimensions)
    batch = regional_batch(toy)
    expected = in_float64(toy).gradient(batch.region, batch.targets)
    torch.testing.assert_close(gradients(batch).images, expected, rtol=0, atol=1e-12)
    # Without the bias, the sum of image times gradient is the score.
    bias = batch.model.network[0].bias.detach()[batch.targets] * batch.region.flatten(1).sum(1)
    product = (batch.images * expected).flatten(1).sum(1)
    torch.testing.assert_close(batch.pick(logits(batch)), product + bias, rtol=0, atol=1e-10)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_scores_are_sums_over_the_grid_of_any_dimension(dimensions):
    network = drawn(CONVOLUTIONS[dimensions](2, 3, 3, stride=2, padding=1), 0).double()
    images = torch.rand((2, 2, *(6,) * dimensions), dtype=torch.float64, generator=rng())
    region = torch.rand((2, *(3,) * dimensions), dtype=torch.float64, generator=rng(1))
    batch = Batch(existing(network, "abc"), "ab", images, [2, 0], region=region)
    maps = network(images).detach()
    expected = torch.stack([(maps[:, index] * region).flatten(1).sum(1) for index in range(3)], 1)
    torch.testing.assert_close(logits(batch), expected)
    torch.testing.assert_close(unsummed(batch), maps)
    torch.testing.assert_close(batch.score(images.flip(0)), torch.stack([
        (network(images[1:])[0, 2] * region[0]).sum(), (network(images[:1])[0, 0] * region[1]).sum()
    ]))  # fmt: skip


def test_the_region_is_constant_and_travels_with_its_sample():
    batch = regional_batch(Pixelwise())
    assert not batch.at(region=batch.region.clone().requires_grad_()).forward()[0].requires_grad
    moved = batch.at(batch.images + 1)
    assert moved.region is batch.region
    torch.testing.assert_close(batch.select([2, 0]).region, batch.region[[2, 0]])
    expected = [logits(single) for single in batch.singles()]
    torch.testing.assert_close(logits(batch), torch.cat(expected), rtol=0, atol=1e-12)
    assert not batch.alike
    assert Batch(Residual(), "a", torch.zeros(1, 3, 16, 16), [0]).alike


def test_other_regions_share_the_pass_but_not_the_sums():
    batch = regional_batch(Pixelwise())
    first = logits(batch)
    other = batch.at(region=batch.region * 2)
    assert unsummed(other) is unsummed(batch)
    torch.testing.assert_close(logits(other), first * 2)


@pytest.mark.parametrize(("grid", "region", "message"), [
    ((4, 4), None, r"gives logits per pixel.*a class and a region: \{class: CLASS, region: mask\}"),
    ((4, 4), (2, 4), r"on a grid of \(4, 4\); the region has \(2, 4\)"),
    ((), (4, 4), r"allowed: \(images, classes\); name a class without a region"),
    ((1, 1), None, r"of shape \(2, 3, 1, 1\); allowed: \(images, classes\)"),
])  # fmt: skip
def test_logits_and_regions_that_do_not_belong_together_are_refused(grid, region, message):
    weights = None if region is None else torch.ones(2, *region)
    with pytest.raises(ModelError, match=message):
        summed(torch.zeros(2, 3, *grid), weights, "Net")


def test_a_softmax_predicts_the_first_of_the_largest_logits():
    values = torch.tensor([[[0.0, 1, 2, 3]], [[0.0, 2, 1, 3]], [[-1.0, 0, 0, 3]]]).movedim(0, 1)
    model = existing(nn.Conv1d(1, 3, 1), "abc")
    regions = [predicted(model, values, torch.tensor([target]))[0].tolist() for target in range(3)]
    assert regions == [[True, False, True, True], [False, True, False, False], [False] * 4]


def test_a_sigmoid_predicts_each_class_above_a_half():
    values = torch.tensor([[[-1.0, 0, 1]], [[1.0, 2, -1e-6]]]).movedim(0, 1).expand(2, -1, -1)
    model = existing(nn.Conv1d(1, 2, 1), "ab", head="sigmoid")
    regions = predicted(model, values, torch.tensor([0, 1]))
    assert regions.tolist() == (values[[0, 1], [0, 1]].sigmoid() > 0.5).tolist()
    assert regions.tolist() == [[False, False, True], [True, True, False]]
    shared = values[:, :1]
    assert predicted(model, shared, torch.tensor([0, 1])).tolist() == [[True, False, False], [False, False, True]]
    single = existing(nn.Conv1d(1, 1, 1), "a", head="sigmoid")
    assert predicted(single, shared, torch.tensor([0, 0])).tolist() == [[False, False, True]] * 2


@pytest.mark.parametrize(("classes", "count", "head", "message"), [
    ("ab", 3, "softmax", "gives 3 logits per pixel for 2 classes"),
    ("a", 1, "softmax", "predicts everywhere; set the head to sigmoid"),
    ("abc", 1, "sigmoid", "one logit for 3 classes"),
])  # fmt: skip
def test_logits_that_do_not_fit_the_classes_predict_nothing(classes, count, head, message):
    model = existing(nn.Conv1d(1, count, 1), classes, head=head)
    with pytest.raises(ModelError, match=message):
        predicted(model, torch.zeros(1, count, 4), torch.tensor([0]))


def sample(*annotations: Annotation, size: tuple[int, ...] = (4, 6)) -> Sample:
    return Sample("s", np.zeros((1, *size), np.float32), annotations)


def test_a_mask_is_put_on_a_coarser_grid_by_area():
    values = np.zeros((4, 6), np.float32)
    values[1, 2] = 1  # smaller than a cell, and keeps its mass
    values[2:, 3:] = [[1, 0.5, 0], [1, 1, 0]]
    marked = sample(Annotation("x", values))
    expected = values.reshape(2, 2, 2, 3).mean((1, 3))
    np.testing.assert_allclose(annotated(marked, "x", (2, 2)), expected, rtol=1e-6)
    np.testing.assert_array_equal(annotated(marked, "x", (4, 6)), values)
    other = Annotation("x", 0.75 * (values == 0), reader="second")
    union = np.maximum(values, 0.75 * (values == 0)).astype(np.float32)
    np.testing.assert_array_equal(annotated(sample(Annotation("x", values), other), "x", (4, 6)), union)


@pytest.mark.parametrize(("annotation", "grid", "error", "message"), [
    (Annotation("y", np.ones((4, 6))), (4, 6), Undefined, "'x' is not annotated on this image"),
    (Annotation("x", np.ones((4, 6)), "density"), (4, 6), Undefined, "is a density"),
    (Annotation("x", np.ones((4, 6))), (4, 4), DataError, "a grid of 4 × 4 do not divide an image of 4 × 6"),
    (Annotation("x", np.ones((4, 6))), (8, 12), DataError, "resize the logits"),
    (Annotation("x", np.ones((4, 6))), (4,), DataError, "resize the logits"),
])  # fmt: skip
def test_an_image_without_a_mask_on_the_grid_has_no_region(annotation, grid, error, message):
    with pytest.raises(error, match=message):
        annotated(sample(annotation), "x", grid)


class Opaque(nn.Module):
    """A network with logits per pixel that fx cannot trace."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1, stride=2)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        if images.sum() > -1e9:
            images = images.abs()
        return self.head(self.first(images).relu())


@pytest.mark.parametrize(("network", "coarsest"), [
    (nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.ConvTranspose2d(4, 2, 2, stride=2)), "0"),
    (Opaque(), "head"),
])  # fmt: skip
def test_a_network_with_logits_per_pixel_is_known_by_its_shapes_and_has_no_last_layer(network, coarsest):
    model = existing(network)
    assert model.outline.per_pixel
    with pytest.raises(ModelError, match=f"logits per pixel and pools no grid.*'{coarsest}'.*; name a layer"):
        model.layer("last")
    assert whole(model, torch.zeros(5, 3, 8, 8)).shape == (5, 1, 1)
    with pytest.raises(ModelError, match=r"needs a class and a region: \{class: CLASS, region: mask\} or .*predicted"):
        require_whole_image(model)
    assert class_over_region(model, RegionTarget(**{"class": 1, "region": "mask"})) == "b"


def test_other_networks_are_known_by_their_shapes_too():
    model = Residual()
    assert model.outline.per_pixel is False
    assert whole(model, torch.zeros(5, 3, 8, 8)) is None
    require_whole_image(model)


@pytest.mark.parametrize(("model", "name", "message"), [
    (Linear(), "left", r"so it has no region: mask; give the class alone, as in targets: \[left\]"),
    (Pixelwise(), "predicted", "names no class.*name one of left, right"),
    (Pixelwise(), "lef", "no class 'lef'"),
    (existing(nn.Conv2d(3, 1, 1), "abc", head="ordinal"), "a", "has the head ordinal.*softmax or sigmoid"),
])  # fmt: skip
def test_a_model_without_such_a_target_says_why(model, name, message):
    with pytest.raises(ModelError, match=message):
        class_over_region(model, RegionTarget(**{"class": name, "region": "mask"}))


@pytest.mark.parametrize("region", ["mask", "predicted"])
def test_a_target_is_read_as_it_is_named(region):
    assert parted(titled("soft exudates (1)", region)) == ("soft exudates (1)", region)
    assert parted("mask") == ("mask", "")


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_toy_conforms(dimensions):
    toy = Pixelwise(dimensions=dimensions)
    native = np.zeros((3, *(32,) * dimensions), np.uint8)
    native[:] = np.random.default_rng(0).integers(0, 255, native.shape)
    mask = np.zeros(native.shape[1:], np.float32)
    mask[4:20] = 1
    check_model(toy, sample=Sample("s", native, (Annotation("left", mask),), field=np.ones(mask.shape, bool)))


@pytest.mark.parametrize("law", ["a batch equals its singles", "any micro batch size gives the same map"])
def test_maps_over_regions_do_not_depend_on_the_batch(law):
    (check,) = [check for check in checks(Slope(), model=Pixelwise()) if check.name == law]
    check()
