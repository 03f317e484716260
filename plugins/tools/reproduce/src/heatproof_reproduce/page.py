"""Writes the HTML page of a reproduction: one file that loads nothing from the network."""

import base64
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from .comparison import DIFFERS, INCOMPARABLE, REPRODUCED, Comparison
from .disk import replace_file
from .figures import Drawn
from .reproduction import Reproduction


def write_page(reproduction: Reproduction, comparisons: Sequence[Comparison], figures: Iterable[Drawn]) -> Path:
    """Write ``report.html`` into the folder of a reproduction and return its path; raises ``StoreError``."""
    environment = Environment(
        loader=PackageLoader("heatproof_reproduce", "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(number=number, uri=uri)
    counts = Counter(comparison.verdict for comparison in comparisons)
    text = environment.get_template("reproduction.html.j2").render(
        reproduction=reproduction,
        comparisons=comparisons,
        tables=_tables(comparisons),
        counts={verdict: counts[verdict] for verdict in (REPRODUCED, DIFFERS, INCOMPARABLE)},
        figures=list(figures),
        steps=[_step(reproduction, step.name) for step in reproduction.paper.steps if step.run],
        style=Markup(environment.get_template("reproduction.css").render()),
    )
    path = reproduction.output / "report.html"
    replace_file(path, text.encode())
    return path


def _tables(comparisons: Iterable[Comparison]) -> dict[str, list[Comparison]]:
    """The comparisons by the table of the paper, in order."""
    tables: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        tables.setdefault(comparison.published.table, []).append(comparison)
    return tables


def _step(reproduction: Reproduction, step: str) -> dict[str, Any]:
    """What a run has shown: its combinations, and the cases of all of them by status."""
    summary = reproduction.results(step).summary
    first = {(row["dataset"], row["split"], row["combination"], row["metric"]): row for row in reversed(summary)}
    rows = list(first.values())
    return {
        "name": step,
        "combinations": len({row["combination"] for row in rows}),
        "data": reproduction.used(step),
        "flags": list(dict.fromkeys(flag for row in rows for flag in row["flag"].split("; ") if flag)),
        "samples": sorted({row["n_valid"] + row["n_failed"] + row["n_excluded"] + row["n_invalid"] for row in rows}),
        **{status: sum(row[f"n_{status}"] for row in rows) for status in ("valid", "failed", "excluded", "invalid")},
    }


def number(value: Any) -> str:
    """Format a number with at most four digits; names unchanged, a missing value as a dash.

    >>> number("0.123456"), number("Grad-CAM"), number(None)
    ('0.123', 'Grad-CAM', '–')
    """
    if value is None or value == "" or value != value:
        return "–"
    try:
        real = float(value)
    except ValueError:
        return str(value)
    return f"{real:.0f}" if real.is_integer() and abs(real) >= 2 else f"{real:.3g}"


def uri(png: bytes) -> str:
    """Write an image as a ``data:`` address."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
