"""Writes samples of one dataset in the layout of another, such as a synthetic twin of a download."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heatproof.config.components import create, settings_of
from heatproof.dataset import Dataset
from heatproof.records import Sample
from heatproof_fresh_folders.folder import fresh_folder

if TYPE_CHECKING:
    from heatproof.registry.catalog import Catalog


def write_layout(
    catalog: "Catalog", name: str, source: str, settings: Sequence[str], split: str | None, root: Path,
    layout_settings: Sequence[str] = (),
) -> int:  # fmt: skip
    """Write samples of dataset ``source`` in the layout of dataset ``name``; the number written."""
    origin: Any = create(catalog, "dataset", source, settings_of(settings))
    origin.require_split(split)
    layout: Any = create(catalog, "dataset", name, settings_of(layout_settings) | {"root": str(root.absolute())})
    with fresh_folder(root):
        count: int = layout.write(_samples(origin, layout, split), root)
    return count


def _samples(origin: Dataset, layout: Dataset, split: str | None) -> Iterator[Sample]:
    """The samples one by one, each told the split of the layout that it goes to."""
    for part in [split] if split else origin.splits:
        extras = {"split": _split(part, origin, layout)} if len(origin.splits) > 1 else {}
        for id in origin.ids(part):
            sample = origin.load(id)
            yield Sample(**{**vars(sample), "extras": {**sample.extras, **extras}})


def _split(part: str, origin: Dataset, layout: Dataset) -> str:
    """The layout's split of the same name, of the same use (tuning), or of the same place (the last one, or not)."""
    if part in layout.splits:
        return part
    if part == origin.tuning and layout.tuning:
        return layout.tuning
    return layout.splits[-1 if part == origin.splits[-1] else 0]
