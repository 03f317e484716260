"""The files of an inspection: tables as CSV, figures as PNG, SVG and PDF, and the record of what was inspected."""

import io
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from heatproof.errors import StoreError
from heatproof.results.tabular import as_csv
from heatproof_fresh_folders.file import replace_file
from heatproof_inspectors.inspection import Inspection

from .features import writing
from .settings import InspectionConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .inspecting import Section

RECORD = "inspection.json"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "heatproof", "pdf.fonttype": 42, "text.parse_math": False, "font.size": 9,
}  # fmt: skip
FORMATS: Mapping[str, Mapping[str, Any]] = {
    "svg": {"metadata": {"Date": None, "Creator": None}},
    "pdf": {"metadata": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None}},
    "png": {"metadata": {"Software": None}, "dpi": 150},
}
"""The formats of figures, with the options that give the same bytes again."""


def opened(config: InspectionConfig) -> None:
    """Make the folder of an inspection; raises ``StoreError`` for one that holds other files."""
    folder = config.output
    with writing(folder):
        others = [path.name for path in folder.iterdir() if path.name not in (RECORD, "features")]
    if others and not (folder / RECORD).is_file():
        raise StoreError(
            f"{folder} holds other files than those of an inspection, such as {others[0]}; choose another output."
        )
    with writing(folder):
        settings = json.dumps(config.described(), indent=1, ensure_ascii=False)
        replace_file(folder / RECORD, f'{{"config": {settings}}}\n'.encode())


def sweep(folder: Path, kept: Path) -> None:
    """Remove the features of other cases, files or weights, which nothing reads any more."""
    with writing(folder):
        for path in (folder / "features").glob("*"):
            if path != kept:
                shutil.rmtree(path)


def write_files(folder: Path, name: str, inspection: Inspection) -> None:
    """Write the tables and figures of an inspector into ``folder/name``; raises ``StoreError``."""
    with writing(folder / name):
        for path in (folder / name).iterdir():
            path.unlink()
        for table, rows in inspection.tables.items():
            replace_file(folder / name / f"{table}.csv", table_text(rows).encode())
        for points, entry in inspection.points.items():
            head = ["row", *entry.axes]
            lines = [[int(row), *map(float, position)] for row, position in zip(entry.rows, entry.positions)]
            replace_file(folder / name / f"{points}-points.csv", as_csv([head, *lines]).encode())
        for title, figure in inspection.figures.items():
            for suffix in FORMATS:
                replace_file(folder / name / f"{title}.{suffix}", figure_bytes(figure, suffix))


def write_record(config: InspectionConfig, sections: "Sequence[Section]", unread: Sequence[str]) -> None:
    """Write what was inspected, and what it showed, as JSON."""
    record = {
        "config": config.described(), "model": config.model.identity, "weights": config.model.weights_digest,
        "dataset": config.datasets[0].component.identity, "unread": list(unread),
        "inspectors": [
            {"name": section.name, "settings": section.inspector.describe(), "reason": section.reason,
             "sentences": list(section.inspection.sentences) if section.inspection else []}
            for section in sections
        ],
    }  # fmt: skip
    with writing(config.output):
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
        replace_file(config.output / RECORD, f"{text}\n".encode())


def table_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV, their keys as head."""
    head = list(rows[0]) if rows else []
    return as_csv([head, *([_cell(row[name]) for name in head] for row in rows)])


def figure_bytes(figure: "Figure", suffix: str) -> bytes:
    """Return a figure in a format of ``FORMATS``; the same figure gives the same bytes."""
    from matplotlib import rc_context

    stream = io.BytesIO()
    with rc_context(STYLE):
        figure.savefig(stream, format=suffix, **FORMATS[suffix])
    return stream.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return "" if value is None else value
