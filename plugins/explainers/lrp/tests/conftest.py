"""A second implementation of relevance propagation: a loop back over the graph, without hooks and without Zennit."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from heatproof.batch import Batch
from heatproof.model import Model
from heatproof.network.graph import image_node
from heatproof.network.modules import ACTIVATIONS, Add, Mean

AVERAGES = (nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, Mean)
WEIGHTED = (nn.Conv2d, nn.Conv3d, nn.Linear)
CONVOLUTIONS = {nn.Conv2d: functional.conv2d, nn.Conv3d: functional.conv3d}


def stable(values: Tensor, epsilon: float) -> Tensor:
    """Values moved away from zero by epsilon; zero becomes epsilon."""
    return values + epsilon * torch.where(values >= 0, 1.0, -1.0).to(values)


def gradient_of(function: Callable[[Tensor], Tensor], values: Tensor, relevance: Tensor) -> Tensor:
    """The product of relevance with the Jacobian of a function."""
    values = values.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(function(values), values, relevance)
    return gradient


def by_contribution(
    function: Callable[[Tensor], Tensor], values: Tensor, relevance: Tensor, epsilon: float = 1e-6
) -> Tensor:
    """The relevance of the values, each by its contribution to the output of a linear function."""
    return values * gradient_of(function, values, relevance / stable(function(values), epsilon))


def with_weights(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    """The function of a layer with other weights."""
    if isinstance(layer, nn.Linear):
        return lambda values: functional.linear(values, weight, bias)
    settings = (layer.stride, layer.padding, layer.dilation, layer.groups)
    return lambda values: CONVOLUTIONS[type(layer)](values, weight, bias, *settings)


def bias_of(layer: nn.Module, use_bias: bool) -> Tensor:
    """The bias of a layer, or zeros."""
    if use_bias and layer.bias is not None:
        return layer.bias
    return torch.zeros(len(layer.weight)).to(layer.weight)


def by_epsilon(layer, values, relevance, *, epsilon, bias=True):
    return by_contribution(with_weights(layer, layer.weight, bias_of(layer, bias)), values, relevance, epsilon)


def by_flat(layer, values, relevance):
    function = with_weights(layer, torch.ones_like(layer.weight), None)
    return by_contribution(function, torch.ones_like(values), relevance)


def by_w_square(layer, values, relevance):
    function = with_weights(layer, layer.weight.square(), None)
    return by_contribution(function, torch.ones_like(values), relevance)


def by_positive_weights(layer, values, relevance):
    return by_contribution(with_weights(layer, layer.weight.clamp_min(0), None), values, relevance)


def by_alpha_beta(layer, values, relevance, *, alpha, beta, bias=True):
    offset = bias_of(layer, bias)
    positive = values.clamp_min(0)
    negative = values.clamp_max(0)
    total = torch.zeros_like(values)
    for factor, clamp, opposite in ((alpha, "clamp_min", "clamp_max"), (-beta, "clamp_max", "clamp_min")):
        of_positive = with_weights(layer, getattr(layer.weight, clamp)(0), getattr(offset, clamp)(0))
        of_negative = with_weights(layer, getattr(layer.weight, opposite)(0), None)
        quotient = relevance / stable(of_positive(positive) + of_negative(negative), 1e-6)
        positive_part = positive * gradient_of(of_positive, positive, quotient)
        negative_part = negative * gradient_of(of_negative, negative, quotient)
        total = total + factor * (positive_part + negative_part)
    return total


Z = partial(by_epsilon, epsilon=1e-9)
EPSILON = partial(by_epsilon, epsilon=1e-7)
DENSE = partial(by_epsilon, epsilon=0.1)
ALPHA_1 = partial(by_alpha_beta, alpha=1, beta=0)
ALPHA_2 = partial(by_alpha_beta, alpha=2, beta=1)
EXPECTED = {
    "z": (Z, Z, Z),
    "z_ib": (partial(Z, bias=False),) * 3,
    "epsilon": (EPSILON,) * 3,
    "epsilon_ib": (partial(EPSILON, bias=False),) * 3,
    "w_square": (by_w_square,) * 3,
    "flat": (by_flat,) * 3,
    "alpha_2_beta_1": (ALPHA_2,) * 3,
    "alpha_2_beta_1_ib": (partial(ALPHA_2, bias=False),) * 3,
    "alpha_1_beta_0": (ALPHA_1,) * 3,
    "alpha_1_beta_0_ib": (partial(ALPHA_1, bias=False),) * 3,
    "z_plus": (partial(ALPHA_1, bias=False),) * 3,
    "z_plus_fast": (by_positive_weights,) * 3,
    "sequential_preset_a": (ALPHA_1, ALPHA_1, DENSE),
    "sequential_preset_b": (ALPHA_2, ALPHA_2, DENSE),
    "sequential_preset_a_flat": (by_flat, ALPHA_1, DENSE),
    "sequential_preset_b_flat": (by_flat, ALPHA_2, DENSE),
    "epsilon_plus_ib": (
        partial(ALPHA_1, bias=False), partial(ALPHA_1, bias=False), partial(Z, epsilon=1e-6, bias=False)
    ),
}  # fmt: skip
"""Preset → the rules of layers that read the image, of other convolutions, and of other dense layers."""


class Recorder(fx.Interpreter):
    """One forward pass that records the value of every node."""

    def __init__(self, network: fx.GraphModule):
        super().__init__(network)
        self.values: dict[fx.Node, object] = {}

    def run_node(self, node: fx.Node) -> object:
        self.values[node] = super().run_node(node)
        return self.values[node]


def propagate(network: fx.GraphModule, images: Tensor, targets: list[int], preset: str) -> Tensor:
    """The relevance of images (n, c, *space), which starts as the targets' scores."""
    forward = Recorder(network)
    with torch.no_grad():
        logits = forward.run(images)
    is_target = functional.one_hot(torch.tensor(targets), logits.shape[1])
    relevance = {network.graph.output_node().args[0]: logits * is_target}
    for node in reversed(network.graph.nodes):
        if node in relevance and node.op.startswith("call"):
            for source, share in _shares(network, node, forward.values, relevance.pop(node), preset):
                relevance[source] = relevance.get(source, 0) + share
    return relevance[image_node(network.graph)]


def _shares(network, node, values, relevance, preset):
    """The inputs of a node, each with its share of the node's relevance."""
    if node.op != "call_module":
        return _gradients(network, node, values, relevance)
    layer = network.get_submodule(node.target)
    source = node.all_input_nodes[0]
    if isinstance(layer, Add):
        total = stable(values[node], 1e-6)
        return [(term, (values[term] * relevance / total).sum_to_size(values[term].shape)) for term in node.args]
    if isinstance(layer, WEIGHTED):
        return [(source, _rule(network, node, layer, preset)(layer, values[source], relevance))]
    if isinstance(layer, AVERAGES):
        return [(source, by_contribution(layer, values[source], relevance))]
    if isinstance(layer, ACTIVATIONS):
        return [(source, relevance)]
    return _gradients(network, node, values, relevance)


def _rule(network, node, layer, preset):
    """The rule of a layer with weights."""
    first, convolution, dense = EXPECTED[preset]
    if _reads_image(network, node):
        return first
    if isinstance(layer, nn.Linear):
        return dense
    return convolution


def _reads_image(network, node):
    """Whether no layer with weights is between the image and a node."""
    sources = node.all_input_nodes
    layers = [network.get_submodule(source.target) for source in sources if source.op == "call_module"]
    if any(isinstance(layer, WEIGHTED) for layer in layers):
        return False
    return all(_reads_image(network, source) for source in sources)


def _gradients(network, node, values, relevance):
    """The inputs of a node, each with the gradient as its share."""
    sources = [source for source in node.all_input_nodes if isinstance(values[source], Tensor)]
    leaves = {source: values[source].detach().requires_grad_() for source in sources}
    interpreter = fx.Interpreter(network)
    interpreter.env = {**values, **leaves}
    with torch.enable_grad():
        gradients = torch.autograd.grad(interpreter.run_node(node), list(leaves.values()), relevance)
    return list(zip(sources, gradients))


@pytest.fixture(scope="session")
def plain_map():
    """(batch, preset) → the map of the second implementation."""
    return lambda batch, preset: propagate(batch.view.module, batch.images, batch.targets.tolist(), preset)


@pytest.fixture(scope="session")
def batch_of():
    """(network, images, targets) → batch."""

    def build(network: nn.Module, images: Tensor, targets: list[int], classes: int = 3) -> Batch:
        model = Model.of(network, map(str, range(classes)))
        return Batch(model, [str(index) for index in range(len(images))], images, targets)

    return build


@pytest.fixture(scope="session")
def calibrated():
    """(network, size) → the network with statistics of random images, in evaluation mode and float64."""

    def calibrate(network: nn.Module, size: int = 32) -> nn.Module:
        network = network.double().train()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for _ in range(2):
                network(torch.rand(4, 3, size, size, dtype=torch.float64, generator=generator))
        return network.eval()

    return calibrate
