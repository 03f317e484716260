"""X-Caps: its layers against a plain computation capsule by capsule, and its outputs as the paper has them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from heatproof.batch import Batch
from heatproof.errors import DataError, HeatproofError, ModelError
from heatproof.passes import gradients
from heatproof.records import Array, Sample
from heatproof.testing import conforms
from heatproof_capsule.network import CapsuleNetwork, RoutedCapsules, squash
from heatproof_capsule.xcaps import ATTRIBUTES, XCaps

VERDICTS = {
    "cam": "undefined", "iterative": "undefined", "lrp": "approximate", "guided_backprop": "approximate",
    "deconvnet": "approximate", "deeplift": "approximate", "clear": "approximate", "guided_gradcam": "approximate",
}  # fmt: skip


def small(**params: Any) -> XCaps:
    settings = {"size": 14, "kernel": 4, "features": 5, "capsules": 3, "atoms": 2, "attribute_atoms": 4}
    return XCaps(**(settings | {"decoder": (6, 7)} | params))


def images(count: int = 2, size: int = 14) -> Tensor:
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@conforms(small())
def test_conformance(check: Callable[[], None]) -> None:
    check()


def squashed(vector: Array) -> Array:
    """The formula of Sabour et al. 2017 for one vector."""
    square = float(vector @ vector)
    return square / (1 + square) * vector / np.sqrt(square)


def routed(below: Array, weight: Array, bias: Array, iterations: int) -> Array:
    """Routing by agreement with sigmoid routes, capsule by capsule."""
    inputs, _, capsules, outputs = weight.shape
    votes = [[below[i] @ weight[i, :, j] for j in range(capsules)] for i in range(inputs)]
    logits = np.ones((inputs, capsules))
    vectors = np.zeros((capsules, outputs))
    for _ in range(iterations):
        for j in range(capsules):
            total = bias[j].copy()
            for i in range(inputs):
                total += votes[i][j] / (1 + np.exp(-logits[i, j]))
            vectors[j] = squashed(total)
        for i in range(inputs):
            for j in range(capsules):
                logits[i, j] += votes[i][j] @ vectors[j]
    return vectors


def plain(network: CapsuleNetwork, image: Array, stride: int = 2) -> dict[str, Array]:
    """The outputs for one image (h, w), with every sum written out."""
    state = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    maps = np.maximum(convolved(image[None], state["convolution.weight"], state["convolution.bias"], 1), 0)
    size = maps.shape[1]
    kernel = state["primary.convolution.weight"].shape[-1]
    cells = -(-size // stride)
    border = max((cells - 1) * stride + kernel - size, 0)
    padding = (border // 2, border - border // 2)
    padded = np.pad(maps, ((0, 0), padding, padding))
    primary = convolved(padded, state["primary.convolution.weight"], state["primary.convolution.bias"], stride)
    atoms = state["attributes.weight"].shape[1]
    below = [
        squashed(primary[first : first + atoms, row, column])
        for row in range(cells)
        for column in range(cells)
        for first in range(0, len(primary), atoms)
    ]
    iterations = network.attributes.iterations
    vectors = routed(np.array(below), state["attributes.weight"], state["attributes.bias"], iterations)
    values = vectors.flatten()
    for layer in (0, 2):
        values = np.maximum(state[f"decoder.{layer}.weight"] @ values + state[f"decoder.{layer}.bias"], 0)
    drawn = state["decoder.4.weight"] @ values + state["decoder.4.bias"]
    return {
        "logits": state["classifier.weight"] @ vectors.flatten() + state["classifier.bias"],
        "attributes": np.sqrt((vectors**2).sum(1)),
        "reconstruction": (1 / (1 + np.exp(-drawn))).reshape(1, *image.shape),
    }


def convolved(maps: Array, weight: Array, bias: Array, stride: int) -> Array:
    kernel = weight.shape[-1]
    cells = (maps.shape[1] - kernel) // stride + 1
    result = np.zeros((len(weight), cells, cells))
    for row in range(cells):
        for column in range(cells):
            top = row * stride
            left = column * stride
            window = maps[:, top : top + kernel, left : left + kernel]
            result[:, row, column] = (weight * window).sum((1, 2, 3)) + bias
    return result


@pytest.mark.parametrize(
    "params", [{}, {"iterations": 1}, {"size": 15, "kernel": 5}, {"malignancy": "binary"}], ids=str
)
def test_outputs_are_those_of_the_plain_network(params: dict[str, Any]) -> None:
    model = small(**params).in_precision("float64")
    batch = images(size=model.params.size)
    outputs = model.forward(batch)
    for row, image in enumerate(batch):
        for name, expected in plain(model.network, image[0].numpy()).items():
            np.testing.assert_allclose(outputs[name][row].detach().numpy(), expected, rtol=1e-12, atol=1e-13)


def test_squash_keeps_the_direction_and_shortens_the_length() -> None:
    vectors = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1e-9, 0.0], [1e9, -1e9]], dtype=torch.float64)
    lengths = squash(vectors).norm(dim=1)
    torch.testing.assert_close(squash(vectors)[0], torch.tensor([15 / 26, 20 / 26], dtype=torch.float64))
    assert lengths[0] == pytest.approx(25 / 26, abs=1e-15)
    assert squash(vectors)[1].tolist() == [0, 0]
    assert bool((lengths < 1 + 1e-15).all())
    zero = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.grad(squash(zero).sum(), zero)[0].tolist() == [[0, 0]]


def test_gradients_agree_with_finite_differences() -> None:
    torch.manual_seed(4)
    layer = RoutedCapsules(5, 3, 2, 4, 3).double()
    below = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)

    def routes(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (values,))

    leaves = (below, *(value.detach().requires_grad_() for value in layer.parameters()))
    assert torch.autograd.gradcheck(routes, leaves, atol=1e-7)
    network = small().in_precision("float64").network.requires_grad_(False)
    batch = images(1).requires_grad_()
    assert torch.autograd.gradcheck(lambda values: tuple(network(values).values()), batch, fast_mode=True, atol=1e-7)


def test_scores_lie_in_0_to_1_and_malignancy_sums_to_1() -> None:
    model = small()
    image = torch.stack([torch.zeros(1, 14, 14), torch.ones(1, 14, 14), 1e3 * torch.randn(1, 14, 14)])
    with torch.no_grad():
        outputs = model.forward(image)
    assert model.attribute_names == ATTRIBUTES
    assert outputs["attributes"].shape == (3, 6)
    for name in ("attributes", "reconstruction"):
        assert bool(((outputs[name] >= 0) & (outputs[name] <= 1)).all())
    prediction = model.read(outputs["logits"][0].numpy())
    assert prediction.probabilities.shape == (5,)
    assert prediction.probabilities.sum() == pytest.approx(1, abs=1e-12)
    assert small(malignancy="binary").forward(image)["logits"].shape == (3, 1)


def test_the_attributes_are_characteristics_of_the_dataset() -> None:
    markup = pytest.importorskip("heatproof_lidc.markup", reason="the dataset lidc is not installed")
    assert set(ATTRIBUTES) < set(markup.CHARACTERISTICS)


def test_sizes_are_those_of_the_paper() -> None:
    network = XCaps().network
    assert network.convolution.weight.shape == (256, 1, 9, 9)
    assert network.primary.convolution.weight.shape == (32 * 8, 256, 9, 9)
    assert network.attributes.weight.shape == (12 * 12 * 32, 8, 6, 16)
    assert [layer.out_features for layer in network.decoder[:5:2]] == [512, 1024, 32 * 32]
    assert (network.attributes.iterations, network.classifier.out_features) == (3, 5)


def test_images_of_any_depth_become_grey_from_0_to_1() -> None:
    white = np.full((1, 40, 30), 65535, dtype=np.uint16)
    red = np.zeros((3, 40, 30), dtype=np.uint8)
    red[0] = 255
    for image, value in ((white, 1), (np.repeat(white // 257, 3, axis=0).astype(np.uint8), 1), (red, 0.299)):
        prepared = XCaps().prepare(Sample("a", image)).image
        assert prepared.shape == (1, 32, 32)
        np.testing.assert_allclose(prepared, value, rtol=1e-6)
    with pytest.raises(DataError, match="has 3 spatial axes"):
        XCaps().prepare(Sample("a", white[:, None]))


def test_settings_that_cannot_be_are_refused(tmp_path) -> None:
    with pytest.raises(HeatproofError, match=r"a kernel of 9 does not fit into 8 pixels"):
        XCaps(size=8)
    torch.save(small().build().state_dict(), tmp_path / "small.pt")
    with pytest.raises(ModelError, match=r"'attributes\.weight' has shape \(108, 2, 6, 4\), the network needs"):
        small(attribute_atoms=5, weights=tmp_path / "small.pt").build()
    same = small(weights=tmp_path / "small.pt", seed=9).build().state_dict()
    assert all(torch.equal(value, same[name]) for name, value in small().build().state_dict().items())


def test_gradcam_sees_the_cells_before_they_become_capsules() -> None:
    model = small().in_precision("float64")
    batch = Batch(model, ["a", "b"], images(), [0, 3], layers=model.layers())
    assert model.last_layer == "primary.convolution"
    layer = gradients(batch).layers["primary.convolution"]
    network = model.network
    maps = network.primary.convolution(network.primary.padding(network.activation(network.convolution(images()))))
    maps = maps.detach().requires_grad_()
    below = squash(network.primary.capsules(maps).permute(0, 3, 4, 1, 2).flatten(1, 3))
    logits = network.classifier(network.attributes(below).flatten(1))
    (expected,) = torch.autograd.grad(logits[0, 0] + logits[1, 3], maps)
    torch.testing.assert_close(layer.activation, maps.detach(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(layer.gradient, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_every_explainer_has_a_verdict(verdicts: Any) -> None:
    for name, verdict in verdicts(small()).items():
        assert verdict.level == VERDICTS.get(name, verdict.level), name
        assert bool(verdict.reason) == (verdict.level != "exact"), name
