"""Tables of subgroups: the numbers of a run of these cases alone, and the remark on few patients."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heatproof.registry.catalog import Catalog
from heatproof.results.divisions import divisions
from heatproof.results.finished import Results
from heatproof.results.ranking import rankings
from heatproof.results.subgroups import FEW, FLAG
from heatproof_parts import Images

Ran = Callable[..., Any]
ABSENT = ("blob-017", "blob-019", "blob-022")
DATASET = {"use": "images", "split": "test", "count": 32, "absent": ABSENT, "unexamined": ["blob-030"]}
LABELS = {"blob-016": None, "blob-018": [0, 1]}
PARTS = {"explainers": ["slope", "noted"], "metrics": ["mass", "accuracy", "drop"]}


def numbers(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows without what only rows of subgroups have, NaN as text, which equals itself."""
    kept = [{name: value for name, value in row.items() if name not in ("by", "group", "flag")} for row in rows]
    return [{name: "nan" if value != value else value for name, value in row.items()} for row in kept]


def results_of(finished: Any, parts: Catalog) -> Results:
    return Results(finished.folder, parts)


@pytest.fixture
def divided(ran: Ran, parts: Catalog, tmp_path: Path) -> Results:
    by = ["label", "finding", "eye", {"of": "age", "edges": [50, 58]}]
    finished = ran(output=str(tmp_path / "all"), datasets=[DATASET], by=by, **PARTS)
    return results_of(finished, parts)


@pytest.mark.parametrize(
    ("by", "group", "ids"),
    [
        ("label", "right", [f"blob-0{number}" for number in range(17, 32, 2)]),
        ("finding", "none", list(ABSENT)),
        ("finding", "left", sorted({f"blob-0{number}" for number in range(16, 32)} - {*ABSENT, "blob-030"})),
        ("age", "50 to below 58", [f"blob-0{number}" for number in range(20, 28)]),
        ("age", "below 50", [f"blob-0{number}" for number in range(16, 20)]),
    ],
)
def test_a_subgroup_has_the_numbers_of_a_run_of_its_cases(
    ran: Ran, parts: Catalog, divided: Results, tmp_path: Path, by: str, group: str, ids: list[str]
) -> None:
    """To the bit: value, interval, tests, corrections, ranks and counts."""
    finished = ran(output=str(tmp_path / "some"), datasets=[{**DATASET, "ids": ids}], **PARTS)
    alone = results_of(finished, parts)
    pairs = {"summary": "subgroups", "comparisons": "subgroup_comparisons", "ranks": "subgroup_ranks"}
    for name, table in pairs.items():
        rows = [row for row in getattr(divided, table) if (row["by"], row["group"]) == (by, group)]
        assert numbers(rows) == numbers(getattr(alone, name))
        assert rows or name == "ranks"
        assert set(rows[0]) - {"by", "group"} == set(getattr(alone, name)[0])
    assert sum(row["n_valid"] for row in alone.summary) > 0


def test_groups_and_their_order(divided: Results) -> None:
    groups = list(dict.fromkeys((row["by"], row["group"]) for row in divided.subgroups))
    ages = ["below 50", "50 to below 58", "58 or more"]
    assert groups == [
        ("label", "left"), ("label", "right"), ("finding", "left"), ("finding", "right"), ("finding", "none"),
        ("eye", "left"), ("eye", "right"), *(("age", age) for age in ages),
    ]  # fmt: skip
    source = Images(count=32)
    eyes = [row for row in divided.subgroups if row["by"] == "eye" and row["metric"] == "accuracy"]
    assert {row["n_valid"] for row in eyes} == {len(source.ids("test")) // 2}


def test_few_patients_are_flagged_by_those_with_a_value(ran: Ran, parts: Catalog, tmp_path: Path) -> None:
    """Of 10 patients one has no label to explain, so ``mass`` has values of 9, but of 10 for random heatmaps."""
    labels = {"blob-020": None, "blob-021": None}
    dataset = {"use": "images", "split": "test", "count": 4 * FEW, "labels": labels}
    settings = {**PARTS, "metrics": ["mass", "accuracy"], "targets": ["label"], "by": ["eye"]}
    finished = ran(output=str(tmp_path / "few"), datasets=[dataset], **settings)
    results = results_of(finished, parts)
    flagged = {(row["metric"], row["baseline"]): FLAG in row["flag"] for row in results.subgroups}
    assert flagged[("mass", False)]
    assert not flagged[("mass", True)]
    assert not flagged[("accuracy", False)]
    mass = [row for row in (*results.subgroup_comparisons, *results.subgroup_ranks) if row["metric"] == "mass"]
    assert {(row["n_patients"], FLAG in row["flag"]) for row in mass} == {(FEW - 1, True)}
    assert not any(FLAG in row["flag"] for row in results.summary)


def test_a_subgroup_of_one_patient_has_no_interval(ran: Ran, parts: Catalog, tmp_path: Path) -> None:
    """Also where other patients of the group have no value."""
    dataset = {"use": "images", "split": "test", "count": 16, "unreadable": ["blob-008", "blob-009"]}
    by = [{"of": "age", "edges": [42]}]
    results = results_of(ran(output=str(tmp_path / "one"), datasets=[dataset], by=by, metrics=["mass"]), parts)
    rows = [row for row in results.subgroups if row["group"] == "below 42" and row["measure"] == "value"]
    assert {(row["n_valid"], row["n_patients"]) for row in rows} == {(2, 2)}
    for row in rows:
        assert not np.isnan(row["value"])
        assert np.isnan(row["low"])
        assert np.isnan(row["high"])
        assert "there is only one patient" in row["flag"]


def test_divisions_are_ordered_and_say_what_all_have_in_common(divided: Results) -> None:
    (mass,) = [ranking for ranking in rankings(divided) if ranking.metric == "mass"]
    assert [division.by for division in divisions(divided, mass)] == ["label", "finding", "eye", "age"]
    division = divisions(divided, mass)[2]
    assert [group.name for group in division.groups] == ["left", "right"]
    for group in division.groups:
        assert (group.cases, group.patients) == (8, 8)
        assert group.remarks == (FLAG,)
        values = [member.row["value"] for member in group.members if not member.row["baseline"]]
        assert values == sorted(values, reverse=True)
        assert group.members[-1].row["baseline"]
        assert all(member.few for member in group.members)
