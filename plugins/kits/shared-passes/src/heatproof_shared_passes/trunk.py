"""The part of a network's graph that leads to one of its nodes."""

from torch import fx


def until(network: fx.GraphModule, last: fx.Node) -> fx.Graph:
    """The network's graph up to a node, whose value it returns, without what that node does not need."""
    graph, copies = fx.Graph(owning_module=network), dict[fx.Node, fx.Node]()
    for node in network.graph.nodes:
        copies[node] = graph.node_copy(node, copies.__getitem__)
        if node is last:
            break
    graph.output(copies[last])
    graph.eliminate_dead_code()
    return graph
