"""The data of the page's browser of all cases: an index, thumbnails, and the whole grids.

The parts that fit are written into the page, the others as script files beside it, since a page that was opened from a
disk must not read other files.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heatproof.errors import HeatproofError
from heatproof.results.finished import Results

from .board import Board
from .cases import methods_by_rank
from .collection import Collection
from .layers import Layers, layers
from .overlay import PALETTE, SCALES
from .paths import Shortened
from .picks import picks
from .sheets import Tiling, sheet, tiles, tiling

LIMIT = 3_600_000
"""The most bytes of data in a page; with everything else it stays below 5 MB."""
SIDES = ((2500, 96), (20_000, 64))
"""The number of tiles up to which thumbnails have this many pixels on their longer side."""
SMALLEST = 48
PART = 50
"""The number of cases whose thumbnails are loaded together."""
STATUSES = ("valid", "excluded", "invalid", "failed")
Row = Mapping[str, Any]


@dataclass
class Data:
    """Named texts of JSON: those in the page, and the names of those in script files of a folder."""

    folder: Path
    address: str
    inside: dict[str, str] = field(default_factory=dict)
    size: int = 0
    outside: bool = False
    """Whether some of the data lie beside the page."""

    def write(self, name: str, value: Any) -> None:
        """Write a value as a script file."""
        self.folder.mkdir(exist_ok=True)
        text = _json(value)
        path = self.folder / f"{name}.js"
        path.write_text(f"heatproofData({_json(name)}, {text});\n", encoding="utf-8")

    def take_in(self, names: Sequence[str]) -> None:
        """Move files into the page if there is room for all of them."""
        paths = {name: self.folder / f"{name}.js" for name in names}
        size = sum(path.stat().st_size for path in paths.values())
        if self.size + size > LIMIT:
            return
        self.size += size
        for name, path in paths.items():
            text = path.read_text(encoding="utf-8")
            self.inside[name] = text.removeprefix(f"heatproofData({_json(name)}, ").removesuffix(");\n")
            path.unlink()


def _json(value: Any) -> str:
    """JSON without spaces that can stand in a page and in a script; ``<`` cannot end an element there."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def write_browser(
    results: Results,
    ranked: Sequence[Board],
    collected: Sequence[Collection],
    folder: Path,
    address: str,
    shortened: Shortened,
) -> Data:
    """Write the data of all cases, whose folder has an address relative to the page.

    The same run gives the same bytes.
    """
    data = Data(folder, address)
    entries = []
    thumbnails: list[str] = []
    wholes: list[str] = []
    for number, collection in enumerate(collected):
        entry, images = _collection(results, ranked, collection, number, data)
        entries.append(entry)
        for start in range(0, len(images), PART):
            thumbnails.append(f"thumbnails-{number}-{start // PART}")
            data.write(thumbnails[-1], images[start : start + PART])
        wholes += [f"case-{number}-{index}" for index, image in enumerate(images) if image]
    data.write("index", shortened({"collections": entries, "colours": colours(), "part": PART}))
    for names in (["index"], thumbnails, wholes):
        data.take_in(names)
    data.outside = any(folder.iterdir())
    if not data.outside:
        folder.rmdir()
    return data


def colours() -> dict[str, str]:
    """The colour scales as 256 colours of six hexadecimal digits each."""
    from matplotlib import colormaps

    names = {"positive": SCALES[False], "signed": SCALES[True]}
    return {name: colormaps[scale](range(256), bytes=True)[:, :3].tobytes().hex() for name, scale in names.items()}


def _collection(
    results: Results, ranked: Sequence[Board], collection: Collection, number: int, data: Data
) -> tuple[dict[str, Any], list[str]]:
    """The index of a collection, and the sheet of thumbnails of each case; whole grids are written one by one."""
    methods = methods_by_rank(ranked, collection)
    boards = [board for board in ranked if (board.dataset, board.split) == (collection.dataset, collection.split)]
    rows = _scores(results, collection)
    cases = []
    images = []
    layout: dict[str, Any] = {}
    for index, case in enumerate(collection.cases):
        entry: dict[str, Any] = {"id": case, "patient": collection.patients[case]}
        image = ""
        try:
            entry |= collection.classes(case)
            shown = layers(collection, case, methods)
            layout = layout or _layout(shown, len(methods), len(collection.cases))
            image = _write_case(shown, methods, f"case-{number}-{index}", entry, layout, data)
        except HeatproofError as error:
            entry["problem"] = str(error)
        except Exception as error:
            entry["problem"] = f"{type(error).__name__}: {error}"
        cases.append(entry)
        images.append(image)
    metrics = [_metric(board, collection, methods, rows) for board in boards]
    content = {
        "name": collection.name, "methods": methods, "cases": cases,
        "findings": layout.get("findings", []), "sizes": layout.get("sizes", []),
        "metrics": [metric for metric in metrics if any(metric["values"])],
    }  # fmt: skip
    return content, images


def _layout(shown: Layers, methods: int, cases: int) -> dict[str, Any]:
    """The tilings of the thumbnails and of the whole grids of a collection, and its findings with their colours."""
    count = 1 + methods + len(shown.masks)
    side = next((side for most, side in SIDES if cases * count <= most), SMALLEST)
    space = shown.original.shape[:2]
    tilings = [tiling(space, count, side), tiling(space, count)]
    findings = [[name, PALETTE[index % len(PALETTE)]] for index, name in enumerate(shown.masks)]
    return {"findings": findings, "tilings": tilings, "sizes": [_sizes(layout) for layout in tilings]}


def _sizes(layout: Tiling) -> list[int]:
    return [layout.width, layout.height, *layout.pitch, layout.columns]


def _write_case(
    shown: Layers, methods: Sequence[str], name: str, entry: dict[str, Any], layout: Mapping[str, Any], data: Data
) -> str:
    """Write the whole grids of a case, complete its entry in the index, and return its sheet of thumbnails."""
    images = tiles(shown, methods)
    small, whole = layout["tilings"]
    heats = {heat.method: [_rounded(heat.low), _rounded(heat.high), int(heat.signed)] for heat in shown.heats}
    entry["scales"] = [heats.get(method) for method in methods]
    entry["findings"] = [index for index, mask in enumerate(shown.masks.values()) if mask.any()]
    entry["remark"] = shown.remark
    data.write(name, sheet(images, whole, reduced=False))
    return sheet(images, small, reduced=True)


def _scores(results: Results, collection: Collection) -> dict[tuple[str, str], list[Row]]:
    """(metric, method) → the rows of scores of a collection."""
    keys = {key: name for name, combined in collection.methods.items() for key in combined}
    rows = results.query(
        'select combination, metric, measure, "case", value, status, reason from scores where dataset = ? '
        'and split = ? and list_contains(?, combination) order by metric, combination, "case", measure',
        collection.dataset, collection.split, list(keys),
    )  # fmt: skip
    gathered: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        gathered.setdefault((row["metric"], keys[row["combination"]]), []).append(row)
    return gathered


def _metric(
    board: Board, collection: Collection, methods: Sequence[str], rows: Mapping[tuple[str, str], Sequence[Row]]
) -> dict[str, Any]:
    """The scores of a metric: per method and case a list of values, or the status and the number of its reason."""
    reasons: dict[str, int] = {}
    position = {case: index for index, case in enumerate(collection.cases)}
    values: list[list[Any]] = []
    groups: list[dict[str, list[int]]] = []
    for method in methods:
        scored = rows.get((board.metric, method), [])
        values.append(_values(board, scored, position, reasons))
        selected = picks(scored, board.measures[0], board.standard.higher_is_better, 5)
        groups.append({name: [position[case] for case in cases] for name, cases in selected.items()})
    return {
        "name": board.metric, "measures": board.measures, "higher": board.standard.higher_is_better,
        "values": values, "groups": groups, "reasons": list(reasons),
    }  # fmt: skip


def _values(board: Board, rows: Sequence[Row], position: Mapping[str, int], reasons: dict[str, int]) -> list[Any]:
    """Per case the values by measure, or [status, reason] of the ranking measure as numbers; empty without rows."""
    if not rows:
        return []
    columns = {name: index for index, name in enumerate(board.measures)}
    table: list[Any] = [[] for _ in position]
    for row in rows:
        cell = table[position[row["case"]]]
        if row["status"] == "valid" and row["measure"] in columns and isinstance(cell, list):
            cell += [None] * (len(columns) - len(cell))
            cell[columns[row["measure"]]] = _rounded(row["value"])
        elif row["measure"] == board.measures[0]:
            number = reasons.setdefault(row["reason"], len(reasons))
            table[position[row["case"]]] = {"status": STATUSES.index(row["status"]), "reason": number}
    return table


def _rounded(value: float | None) -> float | None:
    """Four significant digits, which are enough to show."""
    if value is None or value != value:
        return None
    return float(f"{value:.4g}")
