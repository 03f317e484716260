"""Queries on a network's graph: what nodes call, which nodes read them, and the graph's inputs and outputs."""

import operator
from functools import partial

import pytest
import torch
from torch import Tensor, fx, nn

from heatproof.errors import ModelError
from heatproof.network.graph import (
    arguments,
    attribute,
    callee,
    module_of,
    of_kind,
    only_reader,
    output_of,
    reads_shape,
    torch_callee,
)


def clamped(values: Tensor) -> Tensor:
    """A function that is not of torch or Python."""
    return values.clamp(0)


fx.wrap("clamped")


class Several(nn.Module):
    """A convolution read by values and shape, an operator, a foreign function, a transpose and a further input."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
        self.other = nn.Conv2d(3, 4, 1)
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor, bias: Tensor, scale: float = 2.0) -> tuple[Tensor, Tensor]:
        values = self.block(images)
        count = torch.numel(values)
        sizes = values.size(2) + values.shape[3]
        turned = operator.neg(clamped(values).mT) * scale / count * sizes
        return self.head(values.mean((2, 3)) + bias), self.other(images) + turned


@pytest.fixture
def network() -> fx.GraphModule:
    torch.manual_seed(0)
    return fx.symbolic_trace(Several().eval())


def named(network: fx.GraphModule, name: str) -> fx.Node:
    (node,) = (node for node in network.graph.nodes if node.name == name)
    return node


def test_a_node_calls_a_module_or_something_with_a_name(network: fx.GraphModule) -> None:
    convolution = named(network, "block_0")
    assert module_of(network, convolution) is network.get_submodule("block.0")
    assert of_kind(network, convolution, (nn.Linear, nn.Conv2d))
    assert not of_kind(network, convolution, (nn.Linear,))
    assert (callee(convolution), torch_callee(convolution)) == ("", "")
    for name, word in (("neg", "neg"), ("mean", "mean"), ("numel", "numel"), ("size", "size")):
        node = named(network, name)
        assert (callee(node), torch_callee(node)) == (word, word)
        assert module_of(network, node) is None
        assert not of_kind(network, node, (nn.Module,))


def test_other_functions_have_no_torch_callee(network: fx.GraphModule) -> None:
    node = named(network, "clamped")
    assert (callee(node), torch_callee(node)) == ("clamped", "")
    node.target = partial(torch.clamp, min=0)
    assert callee(node).startswith("functools.partial(")
    assert torch_callee(node) == ""
    foreign = named(network, "neg")
    foreign.target = lambda values: -values
    foreign.target.__name__ = "relu"
    assert (callee(foreign), torch_callee(foreign)) == ("relu", "")


def test_a_shape_is_no_value(network: fx.GraphModule) -> None:
    shapes = {node.name for node in network.graph.nodes if reads_shape(node)}
    assert shapes == {"numel", "size", "getattr_1"}
    assert callee(named(network, "getattr_2")) == "getattr"  # .mT


def test_the_only_reader_is_the_only_one_of_values(network: fx.GraphModule) -> None:
    assert only_reader(named(network, "block_0")) is named(network, "block_1")
    assert only_reader(named(network, "block_1")) is None
    assert only_reader(named(network, "head")) is named(network, "output")
    (reader,) = named(network, "clamped").users
    reader.replace_input_with(named(network, "clamped"), named(network, "other"))
    assert only_reader(named(network, "clamped")) is None


def test_an_attribute_by_its_path(network: fx.GraphModule) -> None:
    assert attribute(network, "block.0.weight") is network.get_submodule("block.0").weight
    assert attribute(network, "head") is network.head
    with pytest.raises(AttributeError, match="nothing"):
        attribute(network, "block.0.nothing")


def test_a_graph_is_called_with_the_images_and_inputs_by_name(network: fx.GraphModule) -> None:
    images = torch.rand(2, 3, 5, 5)
    bias = torch.rand(2, 4)
    assert arguments(network.graph, images, {"bias": bias}) == [images, bias, 2.0]
    assert arguments(network.graph, images, {"scale": 3.0, "bias": bias}) == [images, bias, 3.0]


def test_an_output_by_its_name(network: fx.GraphModule) -> None:
    names = ("logits", "map")
    assert output_of(network.graph, "logits", names) is named(network, "head")
    assert output_of(network.graph, "map", names) is network.graph.output_node().args[0][1]
    network.graph.output_node().args = ({"map": named(network, "other")},)
    assert output_of(network.graph, "map", names) is named(network, "other")
    with pytest.raises(ModelError, match="has no output 'logits'; it has map"):
        output_of(network.graph, "logits", names)
    network.graph.output_node().args = (named(network, "other"),)
    assert output_of(network.graph, "logits", names) is named(network, "other")
