"""One heatmap of one image."""

import weakref
from collections.abc import Sequence
from typing import Any

from ..component import Component
from ..model import Head
from .case import Case
from .compare import compared, discard, entries, names_of, several, window_of
from .inputs import Given


def explain(
    network: Any, image: Any, explainer: Any, *, target: Any = "predicted", label: Any = None,
    classes: Sequence[str] | None = None, head: Head | None = None, preparation: Any = None, window: Any = None,
    device: str | None = None, seed: int = 0, output: Any = None, **settings: Any,
) -> Case:  # fmt: skip
    """Explain a network's output for one image; return the case with its heatmap.

    ``settings`` are those of the explainer, such as ``layer="layer4"``; the other arguments are those of
    ``heatproof.compare``. Raises ``HeatproofError`` with a sentence for what cannot be used or explained.
    """
    (described,) = entries(explainer)
    if isinstance(described, Component):
        described = described.with_(**settings)
    elif settings:
        described = ({"use": described} if isinstance(described, str) else described) | settings
    labels = None if label is None else [label]
    statements = Given(names_of(classes), head, preparation, labels, window=window_of(window))
    config: dict[str, Any] = {"explainers": [described], "targets": several(target), "seed": seed, "rows": 1}
    if device is not None:
        config["device"] = device
    result = compared(network, [image], statements, output, config, False)
    if output is None:
        # The case holds the result, and so the folder, for as long as somebody holds the case.
        weakref.finalize(result, discard, str(result.folder))
    return result.case(result.cases[0])
