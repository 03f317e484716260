"""Names of the entries of a config: labels that tables show, and by which rows name the entries."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..component import Component, plain
from .choices import Candidates

if TYPE_CHECKING:
    from .settings import RunConfig


def problems(config: "RunConfig") -> Iterator[tuple[str, str]]:
    """Yield the list and a sentence for a name of two components, and for a component with two names."""
    rows = config.combinations
    datasets = [entry.component for entry in (*config.datasets, *(row.dataset for row in rows))]
    yield from _problems("datasets", datasets)
    yield from _problems("models", [*config.models, *(row.model for row in rows)])
    yield from _problems("explainers", [*config.explainers, *(row.explainer for row in rows)])
    yield from _problems("metrics", config.metrics)


def _problems(kind: str, components: Sequence[Component | Candidates]) -> Iterator[tuple[str, str]]:
    """Compare the components of one kind; without a name in the config, tables tell them apart by their settings."""
    for named in [component for component in components if component.entry_name]:
        for other in components:
            same_name = other.short == named.short
            same_component = other is named or _described(other) == _described(named)
            if same_name and not same_component:
                yield kind, f"{named.short!r} is the name of two of them; give them different names"
            if same_component and not same_name:
                yield kind, f"{named.short!r} and {other.short!r} have equal settings; give them one name"


def _described(component: Component | Candidates) -> Any:
    if isinstance(component, Candidates):
        return component.describe()
    return [component.name, plain(dict(component.params))]


def matching(entries: Any, name: Any) -> list[Any]:
    """Return the entries of a list that a row names: by their ``name``, or else by the name of their component.

    The latter is written with or without its distribution.
    """
    if not (isinstance(entries, list) and isinstance(name, str)):
        return []
    named = [entry for entry in entries if isinstance(entry, dict) and entry.get("name") == name]
    uses = [entry.get("use") if isinstance(entry, dict) else entry for entry in entries]
    using = [entry for entry, use in zip(entries, uses) if isinstance(use, str) and f"/{use}".endswith(f"/{name}")]
    return named or using
