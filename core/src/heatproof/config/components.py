"""Single components by name for the command line, with mistakes in sentences."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..component import Component
from ..errors import ConfigError, HeatproofError
from ..messages import in_one_line
from ..registry.catalog import Catalog
from .yamlfile import Document


def create(catalog: Catalog, kind: str, name: str, params: Mapping[str, Any], base: Path = Path()) -> Component:
    """Create a component by name; nested ones are names or ``{"use": name, …}``, paths relative to ``base``.

    Raises ``PluginError`` for names and faults of plugins, ``HeatproofError`` for wrong Params.
    """
    try:
        return catalog.create(kind, name, params, base)
    except ValidationError as error:
        entry = catalog.resolve(kind, name)
        raise HeatproofError(f"{entry.full}: {in_one_line(error, params, catalog.load(entry).Params)}") from None


def settings_of(assignments: Sequence[str]) -> dict[str, Any]:
    """Parse ``NAME=VALUE`` arguments, values in YAML, as Params; raises ``ConfigError`` with all mistakes."""
    document = Document("--set", {})
    for assignment in assignments:
        document.override(assignment)
    if document.problems:
        raise ConfigError("\n".join(map(str, document.problems)))
    return dict(document.data)
