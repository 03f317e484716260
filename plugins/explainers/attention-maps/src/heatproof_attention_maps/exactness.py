"""Decides whether AttnLRP has a rule for every layer of a network, and names those for which it has none."""

from torch import fx, nn

from heatproof.model import Model
from heatproof.network.graph import ancestors, callee, dependents, image_node, module_of, output_of, reads_shape
from heatproof.network.modules import BATCH_NORMS, POOLS, Add, Concatenate, Mean
from heatproof.records import Verdict

from .propagation import called_by_rule, has_rule

PROPORTIONAL = (
    Add, Concatenate, Mean, *POOLS, *BATCH_NORMS, nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout1d,
    nn.Dropout2d, nn.Dropout3d, nn.ZeroPad2d, nn.Upsample,
)  # fmt: skip
"""Modules whose output is proportional to the input, but for a bias: the plain gradient is their rule."""
PROPORTIONAL_CALLS = frozenset({
    "flatten", "unflatten", "reshape", "reshape_as", "view", "permute", "transpose", "movedim", "swapaxes", "squeeze",
    "unsqueeze", "getitem", "contiguous", "clone", "to", "float", "type_as", "chunk", "split", "cat", "stack", "expand",
    "unbind", "select", "narrow", "roll", "flip", "pad", "dropout", "getattr", "add", "iadd", "sub", "neg", "mean",
    "sum", "linear", "conv2d", "conv3d", "t", "repeat", "tile", "interpolate", "stochastic_depth", "masked",
})  # fmt: skip
"""Functions and methods of the same kind."""
BY_NUMBERS = frozenset({"mul", "imul", "truediv", "div"})
"""Calls that are proportional if their other argument is a number or a Parameter."""
REARRANGING = ("einops.",)
"""The modules of these libraries only move values."""


def exactness(short: str, model: Model) -> Verdict:
    """The verdict of the explainer ``short``: exact if every layer has a rule, approximate if not.

    Undefined without attention, where ``lrp`` applies, and where the weights of attention cannot be observed.
    """
    outline = model.outline
    if not outline.attentions:
        if outline.reason:
            return Verdict("undefined", f"{model.short} cannot be traced ({outline.reason}), so no layer has a rule")
        return Verdict("undefined", f"{model.short} has no self-attention; use lrp in place of {short}")
    hidden = [name for name, shape in outline.attentions.items() if not shape]
    if hidden:
        reason = f"the attention {hidden[0]!r} of {model.short} is inside one function, so {short} has no rule for it"
        return Verdict("undefined", reason)
    network = outline.module
    assert network is not None
    names = list(dict.fromkeys(_name(network, node) for node in _without_rule(network, model)))
    if not names:
        return Verdict("exact")
    text = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return Verdict("approximate", f"in {model.short} no rule exists for {text}, so relevance passes by the gradient")


def _without_rule(network: fx.GraphModule, model: Model) -> list[fx.Node]:
    """The nodes between image and output that are neither proportional nor have a rule."""
    reached = dependents(image_node(network.graph))
    path = reached & ancestors(output_of(network.graph, model.explained, model.outputs))
    return [node for node in network.graph.nodes if node in path and not _is_known(network, node, reached)]


def _is_known(network: fx.GraphModule, node: fx.Node, reached: set[fx.Node]) -> bool:
    module = module_of(network, node)
    if module is not None:
        moving = type(module).__module__.startswith(REARRANGING)
        return moving or isinstance(module, PROPORTIONAL) or has_rule(module)
    if node.op == "placeholder" or reads_shape(node) or callee(node) in PROPORTIONAL_CALLS or called_by_rule(node):
        return True
    sources = [source for source in node.all_input_nodes if source in reached]
    return callee(node) in BY_NUMBERS and sources == [node.args[0]]


def _name(network: fx.GraphModule, node: fx.Node) -> str:
    """The class or function of a node."""
    module = module_of(network, node)
    return callee(node) if module is None else type(module).__name__
