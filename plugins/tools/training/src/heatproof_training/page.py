"""The HTML page of a training: one file that loads nothing."""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from heatproof.model import Model

from . import curves, folder
from .evaluation import confusion

if TYPE_CHECKING:
    from .results import Trained
    from .settings import TrainingConfig


def write_page(
    config: "TrainingConfig", model: Model, networks: "Sequence[Trained]", numbers: Mapping[str, Any]
) -> Path:
    """Write ``curves.png`` and ``training.html``, each in one step; raises ``StoreError``."""
    picture = curves.drawn(networks, config.select)
    folder.replace_file(config.output / "curves.png", picture)
    environment = Environment(
        loader=PackageLoader("heatproof_training", "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["number"] = number
    part = "test" if any("test" in network.evaluations for network in networks) else "validation"
    predictions = [
        entry for network in networks if part in network.evaluations for entry in network.evaluations[part].predictions
    ]
    matrix = confusion(model, predictions)
    text = environment.get_template("training.html.j2").render(
        title=f"{model.short} on {config.data.component.short}",
        curves=base64.b64encode(picture).decode(),
        numbers=numbers,
        names=_names(numbers),
        part=part,
        classes=model.classes,
        matrix=None if matrix is None else matrix.tolist(),
        synthetic=config.data.component.synthetic,
        settings=json.dumps(config.described(), indent=1, ensure_ascii=False),
    )
    path = config.output / "training.html"
    folder.replace_file(path, text.encode())
    return path


def _names(numbers: Mapping[str, Any]) -> list[str]:
    """The names of all numbers on validation and test, in order."""
    parts = [network.get(part, {}) for network in numbers["networks"] for part in ("validation", "test")]
    return list(dict.fromkeys(name for part in parts for name in part))


def number(value: Any) -> str:
    """Format a number with four digits; a dash for one that is missing or undefined.

    >>> number(0.123456), number(None)
    ('0.1235', '–')
    """
    if value is None or value != value:
        return "–"
    return f"{value:.4g}"
