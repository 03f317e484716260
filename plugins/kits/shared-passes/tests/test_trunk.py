"""A graph that ends at a node, and one that is cut in two."""

import pytest
import torch
from torch import Tensor, fx, nn

from heatproof.network.canonical import canonical
from heatproof_shared_passes.trunk import halves, until


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


class Skipping(nn.Module):
    """Skip connections and a size that reach over most nodes, and an output of its own in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.third = nn.Conv2d(4, 4, 3, padding=1)
        self.side = nn.Conv2d(4, 1, 1)
        self.head = nn.Linear(64, 2)
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, images: Tensor, gain: Tensor) -> dict[str, Tensor]:
        first = self.first(images).relu()
        second = self.second(first)
        mask = self.side(second)
        second += first * gain[:, None, None, None]
        third = self.third(second * self.scale) + first
        return {"mask": mask, "logits": self.head(third.view(images.size(0), -1))}


@pytest.mark.parametrize("middle", ["first", "second", "third", "side", "head"])
def test_the_halves_of_a_graph_compute_what_the_whole_does(middle: str) -> None:
    torch.manual_seed(0)
    network = canonical(Skipping())
    images, gain = torch.rand(3, 3, 4, 4), torch.rand(3)
    logits = network.graph.output_node().args[0]["logits"]
    node = next(node for node in network.graph.nodes if node.target == middle)
    before, after = halves(network, node, logits)
    targets = [[node.target for node in graph.nodes if node.op == "call_module"] for graph in (before, after)]
    modules = [part.target for part in network.graph.nodes if part.op == "call_module"]
    assert middle in targets[0]
    assert not {*targets[0]} & {*targets[1]}
    assert {*targets[0], *targets[1]} >= {*modules} - {"side"}
    values = fx.Interpreter(network, graph=before).run(images, gain)
    actual = fx.Interpreter(network, graph=after).run(*values)
    assert torch.equal(actual, network(images, gain)["logits"])
    doubled = fx.Interpreter(network, graph=after).run(2 * values[0], *values[1:])
    assert torch.equal(doubled, actual) == (middle == "side")
