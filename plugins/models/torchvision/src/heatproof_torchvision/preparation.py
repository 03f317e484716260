"""Preparations of what torchvision defines."""

import sys
from typing import Any

from heatproof.imaging.transforms import Preparation


def preparation(source: Any) -> Preparation | None:
    """Convert a transform of torchvision, or that of its weights; None for anything else.

    Raises ``ModelError`` for a transform with a step that cannot be converted.
    """
    # Where torchvision was not imported, nothing is a transform of it, and its import takes seconds.
    if "torchvision" not in sys.modules:
        return None
    from torchvision.models import WeightsEnum

    from heatproof_transforms.conversion import preparation_of

    if isinstance(source, WeightsEnum):
        source = source.transforms()
    return preparation_of(source)
