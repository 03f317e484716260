"""Names of EfficientNets in the checkpoints of other libraries."""

import re
from collections.abc import Callable

from torch import nn

MODULE = re.compile(r"(?:_blocks\.\d+\.)?_[a-z0-9_]+(?=\.[a-z_]+$)")
"""The path of a module as efficientnet_pytorch names it, at the end of the name of a tensor but for ``.weight``."""
STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
"""A block without expansion, in the order of its evaluation."""
INVERTED = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2", "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}  # fmt: skip
"""A block with expansion."""
EXCITATION = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}


def of_efficientnet_pytorch(network: nn.Module) -> Callable[[str], str] | None:
    """Translate names of efficientnet_pytorch into those of this network; None for a network of another kind.

    efficientnet_pytorch (Melas-Kyriazi 2019) counts blocks through all stages, timm within each stage.
    """
    stages = getattr(network, "blocks", None)
    if not isinstance(stages, nn.Sequential) or not hasattr(network, "conv_stem"):
        return None
    names = dict(STEM)
    for count, path in enumerate(_paths(stages)):
        block = SEPARABLE
        if hasattr(stages.get_submodule(path), "conv_pwl"):
            block = INVERTED
        for theirs, ours in (block | EXCITATION).items():
            names[f"_blocks.{count}.{theirs}"] = f"blocks.{path}.{ours}"
    return lambda name: MODULE.sub(lambda match: names.get(match[0], match[0]), name)


def _paths(stages: nn.Sequential) -> list[str]:
    """The paths of all blocks below the stages, in order."""
    return [f"{stage}.{block}" for stage, blocks in stages.named_children() for block, _ in blocks.named_children()]
