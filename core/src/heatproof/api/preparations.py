"""How a caller's images are prepared for a network: by a transform, by the network's own record, or not at all."""

from typing import Any

from torch import nn

from ..errors import DataError
from ..imaging.transforms import Preparation, Unchanged
from ..registry.catalog import Catalog
from .images import Collection
from .networks import Say

HOOK = "heatproof_preparation"
UNCHANGED = "unchanged"
"""The preparation of images that the network takes as they are."""
ADVICE = (
    "give preparation=, the transform that the network was trained with, or "
    "heatproof.imaging.transforms.Resize(size=224, mean=(…), std=(…))"
)


def preparation_of(
    preparation: Any, network: nn.Module, collection: Collection | None, catalog: Catalog, say: Say
) -> Preparation:  # fmt: skip
    """The preparation that a caller gives, or else the one of the network's record, or none for prepared images.

    Raises ``DataError`` where nothing tells how images become the network's input.
    """
    prepared = collection is not None and collection.meaning == "prepared"
    if isinstance(preparation, str) and preparation == UNCHANGED:
        return Unchanged()
    if preparation is not None:
        if collection is not None:
            require_unprepared(collection)
        return _converted(preparation, catalog)
    if prepared:
        say("The images are taken as prepared: their values are neither from 0 to 1 nor whole ones from 0 to 255.")
        return Unchanged()
    recorded: Preparation | None = catalog.first(HOOK, source=network)
    if recorded is not None:
        say(f"The images are prepared as the network's own record says: {recorded!r}.")
        return recorded
    if collection is None or collection.raw:
        raise DataError(f"nothing tells how these images become the input of {type(network).__name__}; {ADVICE}.")
    say("The images are taken as prepared, since they are floats and no preparation is given.")
    return Unchanged()


def require_unprepared(collection: Collection) -> None:
    """Raise ``DataError`` for images that seem to be prepared already, where they are prepared again."""
    if collection.meaning == "prepared" and collection.range:
        low = collection.range.low
        high = collection.range.high
        raise DataError(
            f"the images have values from {low:g} to {high:g}, neither from 0 to 1 nor whole ones from 0 to 255. If "
            "they are measured, such as those of CT, say which become black and white: window=(-1000, 400), or "
            "window='percentiles'. If they are prepared already, they would be prepared twice: give them as they were, "
            f"or a torch module with preparation={UNCHANGED!r}."
        )


def _converted(transform: Any, catalog: Catalog) -> Preparation:
    if isinstance(transform, Preparation):
        return transform
    converted: Preparation | None = catalog.first(HOOK, source=transform)
    if converted is None:
        raise DataError(
            f"a {type(transform).__name__} is no preparation that is known here; {ADVICE}, or prepare the images and "
            f"their annotations yourself and give preparation={UNCHANGED!r}."
        )
    return converted
