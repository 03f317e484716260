"""The transform by which timm evaluates a network."""

import sys
from collections.abc import Mapping
from typing import Any

from torch import nn

from heatproof.errors import ModelError
from heatproof.imaging.transforms import Preparation


def preparation(source: Any) -> Preparation | None:
    """Convert a transform of timm, or read the record of a network that timm built; None for anything else.

    Raises ``ModelError`` for what cannot be converted.
    """
    # Where timm was not imported, nothing is of it, and its import takes seconds.
    if "timm" not in sys.modules:
        return None
    from heatproof_transforms.conversion import preparation_of

    return preparation_of(transform_of(source))


def transform_of(source: Any) -> Any:
    """Build the transform of evaluation of a network that timm built, from its record (``pretrained_cfg``).

    Anything else is returned as it is. Raises ``ModelError`` for a network with other channels than its record.
    """
    record = getattr(source, "pretrained_cfg", None)
    if not isinstance(source, nn.Module) or not isinstance(record, Mapping):
        return source
    channels = _channels(source, record)
    means = len(record.get("mean", ()))
    if means and channels not in (None, means):
        raise ModelError(
            f"{type(source).__name__} takes {channels} channels, but timm's record of it has {means} means; give the "
            "preparation yourself, such as Resize(size=…, channels=…, mean=…, std=…)."
        )
    changes = {}
    side = getattr(getattr(source, "patch_embed", None), "img_size", None)
    if side is not None:
        changes["input_size"] = (channels or means or 3, *side)
    return evaluation(changes, record)


def evaluation(changes: Mapping[str, Any], record: Mapping[str, Any]) -> Any:
    """Build the transform of evaluation of a record with some of its values changed."""
    from timm import data

    library: Any = data
    settings = library.resolve_data_config(dict(changes), pretrained_cfg=dict(record))
    return library.create_transform(**settings, is_training=False)


def _channels(network: nn.Module, record: Mapping[str, Any]) -> int | None:
    """The channels of the network's first convolution, where the record names it."""
    name = record.get("first_conv")
    if not isinstance(name, str):
        return None
    channels: int | None = getattr(network.get_submodule(name), "in_channels", None)
    return channels
