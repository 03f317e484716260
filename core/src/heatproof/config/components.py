"""Single components by name, as the command line asks for them, their mistakes in words."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..component import Component
from ..errors import ConfigError, HeatproofError
from ..registry.catalog import Catalog
from .messages import findings
from .yamlfile import Document


def create(catalog: Catalog, kind: str, name: str, params: Mapping[str, Any], base: Path = Path()) -> Component:
    """A component by name; in its Params nested ones are names or ``{"use": name, …}``, paths relative to ``base``.

    Raises ``PluginError`` for names and faults of plugins, ``HeatproofError`` for wrong Params.
    """
    try:
        return catalog.create(kind, name, params, base)
    except ValidationError as error:
        entry = catalog.resolve(kind, name)
        wrong = findings(error, Document(entry.full, dict(params)), catalog.load(entry).Params, {})
        sentences = "; ".join(f"{one.path}: {one.text}" if one.path else one.text for one in wrong)
        raise HeatproofError(f"{entry.full}: {sentences}") from None


def settings_of(assignments: Sequence[str]) -> dict[str, Any]:
    """``NAME=VALUE`` texts of the command line as Params, values in YAML; raises ``ConfigError`` with each mistake."""
    document = Document("--set", {})
    for assignment in assignments:
        document.override(assignment)
    if document.problems:
        raise ConfigError("\n".join(map(str, document.problems)))
    return dict(document.data)
