"""Cuts out the part of a network's graph that leads to one of its nodes."""

from torch import fx


def until(network: fx.GraphModule, last: fx.Node) -> fx.Graph:
    """Copy the part of the network's graph that the node ``last`` needs; the copy returns the value of that node."""
    graph = fx.Graph(owning_module=network)
    copies: dict[fx.Node, fx.Node] = {}
    for node in network.graph.nodes:
        copies[node] = graph.node_copy(node, copies.__getitem__)
        if node is last:
            break
    graph.output(copies[last])
    graph.eliminate_dead_code()
    return graph
