"""Writes samples of one dataset in the layout of another, such as a synthetic twin of a download."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
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
    layout_settings: Sequence[str] = (), limit: int | None = None,
) -> int:  # fmt: skip
    """Write samples of dataset ``source`` in the layout of dataset ``name`` and return their number.

    ``limit``: the most samples of each split of the source.
    """
    origin: Any = create(catalog, "dataset", source, settings_of(settings))
    origin.require_split(split)
    layout: Any = create(catalog, "dataset", name, settings_of(layout_settings) | {"root": str(root.absolute())})
    with fresh_folder(root):
        count: int = layout.write(_samples(origin, layout, split, limit), root)
    return count


def _samples(origin: Dataset, layout: Dataset, split: str | None, limit: int | None) -> Iterator[Sample]:
    """Load the samples one by one; ``extras["split"]`` names the split of the layout where there are several splits."""
    splits = origin.splits
    if split:
        splits = (split,)
    for source in splits:
        extras = {}
        if len(origin.splits) > 1:
            extras["split"] = _target_split(source, origin, layout)
        for id in origin.ids(source)[:limit]:
            sample = origin.load(id)
            yield replace(sample, extras={**sample.extras, **extras})


def _target_split(split: str, origin: Dataset, layout: Dataset) -> str:
    """Match a split to one of the layout: by name, by use (tuning), or by position (the last split, or the first)."""
    if split in layout.splits:
        return split
    if split == origin.tuning and layout.tuning:
        return layout.tuning
    if split == origin.splits[-1]:
        return layout.splits[-1]
    return layout.splits[0]
