"""A second implementation of relevance propagation: a plain walk back over the graph, without hooks and Zennit."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from heatproof.batch import Batch
from heatproof.model import Model
from heatproof.network.modules import ACTIVATIONS, Add, Mean

AVERAGES = (nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, Mean)
CONVOLVED = {nn.Conv2d: functional.conv2d, nn.Conv3d: functional.conv3d}


def stable(values: Tensor, epsilon: float) -> Tensor:
    """Values moved away from zero; zero itself upwards."""
    return values + epsilon * torch.where(values >= 0, 1.0, -1.0).to(values)


def returned(function: Callable[[Tensor], Tensor], values: Tensor, relevance: Tensor) -> Tensor:
    """The product of relevance with the Jacobian of a function."""
    values = values.detach().requires_grad_()
    with torch.enable_grad():
        (found,) = torch.autograd.grad(function(values), values, relevance)
    return found


def shared(function: Callable[[Tensor], Tensor], values: Tensor, relevance: Tensor, epsilon: float = 1e-6) -> Tensor:
    """Relevance by contribution, for a function that is linear."""
    return values * returned(function, values, relevance / stable(function(values), epsilon))


def layer_function(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    """A layer with other weights."""
    if isinstance(layer, nn.Linear):
        return lambda values: functional.linear(values, weight, bias)
    settings = layer.stride, layer.padding, layer.dilation, layer.groups
    return lambda values: CONVOLVED[type(layer)](values, weight, bias, *settings)


def by_epsilon(layer, values, relevance, *, epsilon, bias=True):
    return shared(layer_function(layer, layer.weight, layer.bias if bias else None), values, relevance, epsilon)


def by_ones(layer, values, relevance, *, squared):
    weight = layer.weight.square() if squared else torch.ones_like(layer.weight)
    return shared(layer_function(layer, weight, None), torch.ones_like(values), relevance)


def by_positive_weights(layer, values, relevance):
    return shared(layer_function(layer, layer.weight.clamp_min(0), None), values, relevance)


def by_alpha_beta(layer, values, relevance, *, alpha, beta, bias=True):
    offset = layer.bias if bias and layer.bias is not None else torch.zeros(len(layer.weight)).to(values)
    risen, fallen = values.clamp_min(0), values.clamp_max(0)
    total = torch.zeros_like(values)
    for factor, clamp, other in ((alpha, "clamp_min", "clamp_max"), (-beta, "clamp_max", "clamp_min")):
        like = layer_function(layer, getattr(layer.weight, clamp)(0), getattr(offset, clamp)(0))
        unlike = layer_function(layer, getattr(layer.weight, other)(0), None)
        part = relevance / stable(like(risen) + unlike(fallen), 1e-6)
        total = total + factor * (risen * returned(like, risen, part) + fallen * returned(unlike, fallen, part))
    return total


Z, EPSILON = partial(by_epsilon, epsilon=1e-9), partial(by_epsilon, epsilon=1e-7)
FLAT, DENSE = partial(by_ones, squared=False), partial(by_epsilon, epsilon=0.1)
ONE, TWO = partial(by_alpha_beta, alpha=1, beta=0), partial(by_alpha_beta, alpha=2, beta=1)
EXPECTED = {
    "z": (Z, Z, Z),
    "z_ib": (partial(Z, bias=False),) * 3,
    "epsilon": (EPSILON,) * 3,
    "epsilon_ib": (partial(EPSILON, bias=False),) * 3,
    "w_square": (partial(by_ones, squared=True),) * 3,
    "flat": (FLAT,) * 3,
    "alpha_2_beta_1": (TWO,) * 3,
    "alpha_2_beta_1_ib": (partial(TWO, bias=False),) * 3,
    "alpha_1_beta_0": (ONE,) * 3,
    "alpha_1_beta_0_ib": (partial(ONE, bias=False),) * 3,
    "z_plus": (partial(ONE, bias=False),) * 3,
    "z_plus_fast": (by_positive_weights,) * 3,
    "sequential_preset_a": (ONE, ONE, DENSE),
    "sequential_preset_b": (TWO, TWO, DENSE),
    "sequential_preset_a_flat": (FLAT, ONE, DENSE),
    "sequential_preset_b_flat": (FLAT, TWO, DENSE),
    "epsilon_plus_ib": (partial(ONE, bias=False), partial(ONE, bias=False), partial(Z, epsilon=1e-6, bias=False)),
}
"""Preset → the rules of layers that read the image, of other convolutions, of other dense layers."""


class Values(fx.Interpreter):
    """One forward that keeps the value of every node."""

    def __init__(self, network: fx.GraphModule):
        super().__init__(network)
        self.kept: dict[fx.Node, object] = {}

    def run_node(self, node: fx.Node) -> object:
        self.kept[node] = super().run_node(node)
        return self.kept[node]


def walked(network: fx.GraphModule, images: Tensor, targets: list[int], preset: str) -> Tensor:
    """Relevance of the images (n, c, *space), which starts as the targets' scores."""
    forward = Values(network)
    with torch.no_grad():
        logits = forward.run(images)
    chosen = functional.one_hot(torch.tensor(targets), logits.shape[1])
    relevance = {network.graph.output_node().args[0]: logits * chosen}
    for node in reversed(network.graph.nodes):
        if node in relevance and node.op.startswith("call"):
            for source, share in _shares(network, node, forward.kept, relevance.pop(node), preset):
                relevance[source] = relevance.get(source, 0) + share
    return relevance[network.graph.find_nodes(op="placeholder")[0]]


def _shares(network, node, values, relevance, preset):
    """What each node that a node reads gets of its relevance."""
    layer = network.get_submodule(node.target) if node.op == "call_module" else None
    source = node.all_input_nodes[0]
    if isinstance(layer, Add):
        total = stable(values[node], 1e-6)
        return [(term, (values[term] * relevance / total).sum_to_size(values[term].shape)) for term in node.args]
    if isinstance(layer, (nn.Conv2d, nn.Conv3d, nn.Linear)):
        first, convolution, dense = EXPECTED[preset]
        rule = first if _reads_image(network, node) else dense if isinstance(layer, nn.Linear) else convolution
        return [(source, rule(layer, values[source], relevance))]
    if isinstance(layer, AVERAGES):
        return [(source, shared(layer, values[source], relevance))]
    if isinstance(layer, ACTIVATIONS):
        return [(source, relevance)]
    return _gradients(network, node, values, relevance)


def _reads_image(network, node):
    """Whether nothing with weights lies before a node."""
    before = node.all_input_nodes
    layers = [network.get_submodule(one.target) for one in before if one.op == "call_module"]
    weighted = any(isinstance(layer, (nn.Conv2d, nn.Conv3d, nn.Linear)) for layer in layers)
    return not weighted and all(_reads_image(network, one) for one in before)


def _gradients(network, node, values, relevance):
    sources = [one for one in node.all_input_nodes if isinstance(values[one], Tensor)]
    given = {one: values[one].detach().requires_grad_() for one in sources}
    run = fx.Interpreter(network)
    run.env = {**values, **given}
    with torch.enable_grad():
        found = torch.autograd.grad(run.run_node(node), list(given.values()), relevance)
    return list(zip(sources, found))


@pytest.fixture(scope="session")
def walk():
    """The walk: (batch, preset) → relevance of its images."""
    return lambda batch, preset: walked(batch.view.module, batch.images, batch.targets.tolist(), preset)


@pytest.fixture(scope="session")
def batch_of():
    """(network, images, targets) → batch."""

    def made(network: nn.Module, images: Tensor, targets: list[int], classes: int = 3) -> Batch:
        return Batch(
            Model.of(network, map(str, range(classes))), [str(index) for index in range(len(images))], images, targets
        )

    return made


@pytest.fixture(scope="session")
def calibrated():
    """(network, size) → the network with statistics of random images, in evaluation mode and float64."""

    def made(network: nn.Module, size: int = 32) -> nn.Module:
        network = network.double().train()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
        draw = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for _ in range(2):
                network(torch.rand(4, 3, size, size, dtype=torch.float64, generator=draw))
        return network.eval()

    return made
