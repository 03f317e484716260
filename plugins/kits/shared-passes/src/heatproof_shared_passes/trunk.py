"""Cuts a network's graph at one of its nodes."""

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


def halves(network: fx.GraphModule, middle: fx.Node, last: fx.Node) -> tuple[fx.Graph, fx.Graph]:
    """Cut the part of the network's graph that the node ``last`` needs into what comes before ``middle`` and after it.

    The first graph has the network's inputs. It returns the value of ``middle``, and those of all other nodes that the
    second graph needs. These values are the inputs of the second graph, which returns the value of ``last``.
    """
    readers = _readers(network, middle)
    later = readers & _sources(last)
    border = {source: None for node in later for source in node.all_input_nodes if source not in {*later, middle}}
    if last not in {*later, middle}:
        border[last] = None
    before = fx.Graph(owning_module=network)
    copies: dict[fx.Node, fx.Node] = {}
    for node in network.graph.nodes:
        if node not in readers and node.op != "output":
            copies[node] = before.node_copy(node, copies.__getitem__)
    before.output(tuple(copies[node] for node in (middle, *border)))
    before.eliminate_dead_code()
    after = fx.Graph(owning_module=network)
    values = {node: after.placeholder(f"value_{index}") for index, node in enumerate((middle, *border))}
    for node in network.graph.nodes:
        if node in later:
            values[node] = after.node_copy(node, values.__getitem__)
    after.output(values[last])
    return before, after


def _readers(network: fx.GraphModule, first: fx.Node) -> set[fx.Node]:
    """The nodes that are computed from ``first``, also those that read only its shape."""
    readers = {first}
    for node in network.graph.nodes:
        if node.op != "output" and not readers.isdisjoint(node.all_input_nodes):
            readers.add(node)
    return readers - {first}


def _sources(last: fx.Node) -> set[fx.Node]:
    """The nodes that ``last`` is computed from, and ``last`` itself."""
    sources: set[fx.Node] = set()
    pending = [last]
    while pending:
        node = pending.pop()
        if node not in sources:
            sources.add(node)
            pending.extend(node.all_input_nodes)
    return sources
