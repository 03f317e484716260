"""The best, worst, median and typical cases of a combination."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from heatproof.records import Array
from heatproof.results.finished import Results

Row = Mapping[str, Any]


def picks(rows: Sequence[Row], primary: str, higher_is_better: bool, count: int) -> dict[str, list[str]]:
    """Group → the cases of a combination that stand for it; no case is in two of the groups best, median and worst.

    ``rows`` are its scores by case and measure. Median: the case in the middle of the order. Typical: the case whose
    values of all measures lie closest to the middle of their orders, by the mean distance of the ranks; it is left out
    with a single measure, where it is the median.
    """
    values = {row["case"]: row["value"] for row in rows if row["measure"] == primary and row["value"] is not None}
    sign = -1 if higher_is_better else 1
    ranked = sorted(values, key=lambda case: (sign * values[case], case))
    groups = {"Best": ranked[:count], "Worst": ranked[count:][-count:][::-1]}
    between = ranked[count : len(ranked) - count]
    middle = ranked[(len(ranked) - 1) // 2] if ranked else ""
    if middle in between:
        groups["Median"] = [middle]
    typical = _typical(rows, ranked)
    if typical:
        groups["Typical"] = [typical]
    return groups


def _typical(rows: Sequence[Row], cases: Sequence[str]) -> str | None:
    measures = list(dict.fromkeys(row["measure"] for row in rows if row["value"] is not None))
    if len(measures) < 2 or len(cases) < 3:
        return None
    position = {case: index for index, case in enumerate(cases)}
    table = np.full((len(cases), len(measures)), np.nan)
    for row in rows:
        if row["value"] is not None and row["case"] in position:
            table[position[row["case"]], measures.index(row["measure"])] = row["value"]
    distance = np.nanmean(np.stack([_from_the_middle(column) for column in table.T], axis=1), axis=1)
    return cases[int(np.nanargmin(distance))]


def _from_the_middle(column: Array) -> Array:
    """The distance of each rank from the middle rank, as a share of the number of values (n,); NaN stays NaN."""
    defined = ~np.isnan(column)
    values = column[defined]
    below = (values[:, None] > values).sum(axis=1) + ((values[:, None] == values).sum(axis=1) - 1) / 2
    distance = np.full(len(column), np.nan)
    distance[defined] = np.abs(below - (len(values) - 1) / 2) / max(1, len(values))
    return distance


def scores(results: Results, row: Row) -> list[dict[str, Any]]:
    """Query the scores of the combination and metric that a summary row names, for all cases and measures, by case."""
    return results.query(
        'select "case", patient, measure, value, status, reason, heatmap, row from scores '
        'where combination = ? and metric = ? and dataset = ? and split = ? order by "case", measure',
        *(row[name] for name in ("combination", "metric", "dataset", "split")),
    )
