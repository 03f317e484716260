"""The papers that plugins declare, by name."""

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from heatproof.errors import PluginError, near

if TYPE_CHECKING:
    from heatproof.registry.catalog import Catalog

HOOK = "heatproof_papers"


def folder_of(catalog: "Catalog", name: str) -> Path:
    """Return the folder of a paper; raises ``PluginError`` if it is unknown, declared twice, or not there."""
    entries = [entry for entry in catalog.functions(HOOK) if entry.name == name]
    if not entries:
        raise PluginError(f"there is no paper {name!r}; {near(name, names(catalog))}")
    if len(entries) > 1:
        owners = " and ".join(entry.distribution for entry in entries)
        raise PluginError(f"paper {name!r} is declared by {owners}; uninstall one of them.")
    module, _, inner = entries[0].target.partition(":")
    folder = Path(str(resources.files(module).joinpath(inner, name)))
    if not (folder / "paper.yaml").is_file():
        raise PluginError(f"{entries[0].distribution} declares paper {name!r}, but {folder} holds no paper.yaml.")
    return folder


def names(catalog: "Catalog") -> list[str]:
    """The names of all papers."""
    return sorted(entry.name for entry in catalog.functions(HOOK))
