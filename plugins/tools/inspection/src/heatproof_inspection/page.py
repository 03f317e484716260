"""The HTML page of an inspection: one file that loads nothing, with cases in a plane to be explored."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from heatproof.plan.task import label
from heatproof.results.answer import number
from heatproof_fresh_folders.file import replace_file
from heatproof_inspectors.inspection import Points

from .features import writing
from .pictures import pictures, shown
from .settings import InspectionConfig
from .stored import Stored

if TYPE_CHECKING:
    from .inspecting import Section

NAME = "inspection.html"
ROWS = 30
"""The most rows of a table on the page; the CSV file has all."""
COLOURS: Mapping[str, str] = {"label": "label", "decision": "prediction", "split": "split", "wrong": "error"}
"""What points can be coloured by, and its name on the page."""


def write_page(config: InspectionConfig, subject: Stored, sections: "Sequence[Section]", unread: Sequence[str]) -> Path:
    """Write ``inspection.html`` in one step; raises ``StoreError``."""
    environment = Environment(
        loader=PackageLoader("heatproof_inspection", "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["cell"] = cell
    script = environment.get_template("points.js").render()
    text = environment.get_template("inspection.html.j2").render(
        title=f"{subject.model.short} on {subject.cohort.dataset.short}",
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=Markup(environment.get_template("inspection.css").render()),
        sections=[_shown(section, config.output) for section in sections],
        data=Markup(json.dumps(_data(subject, sections), allow_nan=False).replace("<", "\\u003c")),
        colours=COLOURS,
        most=ROWS,
        unread=unread,
        cases=len(subject.cases),
        wrong=sum(case.wrong for case in subject.cases),
        synthetic=subject.cohort.dataset.synthetic,
        weights=subject.model.weights_digest,
        settings=json.dumps(config.described(), indent=1, ensure_ascii=False),
    )
    with writing(config.output):
        replace_file(config.output / NAME, text.encode())
    return config.output / NAME


def _shown(section: "Section", folder: Path) -> Mapping[str, Any]:
    """What the page shows of an inspector, whose figures lie in a folder of its name."""
    inspection = section.inspection
    about = (type(section.inspector).__doc__ or "").strip().split("\n\n")[0]
    shown: dict[str, Any] = {
        "name": section.name,
        "title": label(section.inspector),
        "about": " ".join(about.split()),
        "reason": section.reason,
    }
    if inspection is None:
        return shown | {"sentences": (), "figures": {}, "tables": {}, "points": ()}
    figures = {
        name: base64.b64encode((folder / section.name / f"{name}.png").read_bytes()).decode()
        for name in inspection.figures
    }
    points = [{"id": f"{section.name}/{name}", "title": name, "remark": entry.remark}
              for name, entry in inspection.points.items()]  # fmt: skip
    return shown | {
        "sentences": inspection.sentences, "figures": figures, "tables": inspection.tables, "points": points,
    }  # fmt: skip


def _data(subject: Stored, sections: "Sequence[Section]") -> Mapping[str, Any]:
    """The cases, their pictures, and their places in each plane, for the script."""
    planes = {
        f"{section.name}/{name}": _plane(points)
        for section in sections if section.inspection is not None for name, points in section.inspection.points.items()
    }  # fmt: skip
    if not planes:
        return {"cases": [], "pictures": {}, "planes": {}}
    cases = [
        {"id": case.id, "label": ", ".join(case.labels) or "none", "decision": case.decision, "split": case.split,
         "wrong": "wrong" if case.wrong else "right" if case.labels else "no label",
         "probability": f"{max(map(float, case.probabilities)):.3f}"}
        for case in subject.cases
    ]  # fmt: skip
    rows = shown(subject)
    return {"cases": cases, "pictures": dict(zip(map(str, rows), pictures(subject, rows))), "planes": planes}


def _plane(points: Points) -> Mapping[str, Any]:
    """The points of a plane, between 0 and 1, with equal scales of both axes."""
    low = points.positions.min(axis=0)
    high = points.positions.max(axis=0)
    span = float((high - low).max()) or 1.0
    scaled = 0.5 + (points.positions - (low + high) / 2) / span
    return {
        "rows": [int(row) for row in points.rows], "axes": list(points.axes),
        "positions": [[round(float(x), 4), round(float(y), 4)] for x, y in scaled],
    }  # fmt: skip


def cell(value: Any) -> str:
    """Format a value of a table.

    >>> cell(0.123456), cell("a"), cell(True)
    ('0.123', 'a', 'yes')
    """
    if isinstance(value, (bool,)):
        return "yes" if value else "no"
    if isinstance(value, float) or hasattr(value, "dtype"):
        return number(float(value)) if not float(value).is_integer() else f"{float(value):g}"
    return str(value)
