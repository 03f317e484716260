"""A graph that ends at a node."""

import torch
from torch import fx, nn

from heatproof.network.canonical import canonical
from heatproof_shared_passes.trunk import until


def test_a_graph_that_ends_earlier_computes_no_more() -> None:
    torch.manual_seed(0)
    network = canonical(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    )
    images = torch.rand(2, 3, 5, 5)
    code = network.code
    pooled = next(node for node in network.graph.nodes if node.target == "2")
    graph = until(network, pooled)
    assert [node.target for node in graph.nodes if node.op.startswith("call")] == ["0", "1", "2"]
    values = fx.Interpreter(network, graph=graph).run(images)
    assert torch.equal(values, network.get_submodule("0")(images).relu().mean((2, 3), keepdim=True))
    assert network.code == code
