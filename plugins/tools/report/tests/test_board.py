"""A ranking as the page shows it: the best value of each measure, its pairs, and its flags."""

from typing import Any

import pytest

from heatproof.results.ranking import RankedCombination, Standard
from heatproof_report.board import Board


def entry(name: str, flag: str = "", baseline: bool = False) -> RankedCombination:
    row = {"combination": name, "value": 0.5, "flag": flag, "baseline": baseline}
    return RankedCombination(name, "", {}, {}, row)


def board(*entries: RankedCombination, **others: Any) -> Board:
    return Board("d", "all", "m", Standard("v"), ("v",), entries, **others)


def test_pairs_with_a_baseline_stand_in_the_ranking_only() -> None:
    rows = tuple({"combination_a": a, "combination_b": b} for a, b in ("ab", "ar", "br"))
    assert board(entry("a"), entry("b"), entry("r", baseline=True), comparisons=rows).pairs == [rows[0]]


@pytest.mark.parametrize(
    ("flags", "run", "common"),
    [(("x", "x"), "", "x"), (("x", ""), "", ""), (("x; every", "x; every"), "every", "x"), (("every",), "every", "")],
)
def test_a_flag_of_all_combinations_is_common(flags: tuple[str, ...], run: str, common: str) -> None:
    ranked = board(*(entry(str(number), flag) for number, flag in enumerate(flags)), flag=run)
    assert ranked.common_flag == common
    assert [ranked.flag_of(row) for row in ranked.entries] == [flag.split("every")[0].strip("; ") for flag in flags]


@pytest.mark.parametrize(("higher", "best"), [(True, {"v": 0.7, "cost": 1.0}), (False, {"v": 0.2, "cost": 3.0})])
def test_each_measure_leads_in_its_own_direction(higher: bool, best: dict[str, float]) -> None:
    values = [{"v": 0.2, "cost": 3.0}, {"v": 0.7, "cost": 1.0}]
    entries = tuple(
        RankedCombination(
            str(number),
            "",
            {},
            {name: {"value": value} for name, value in row.items()},
            {"value": row["v"], "baseline": False},
        )
        for number, row in enumerate(values)
    )
    standard = Standard("v", higher, frozenset({"cost"}))
    assert Board("d", "all", "m", standard, ("v", "cost"), entries).leaders == best


def test_a_measure_that_no_combination_changes_has_no_best() -> None:
    rows = [{"v": {"value": value}, "chance": {"value": 0.3}} for value in (0.2, 0.7)]
    entries = tuple(
        RankedCombination(str(number), "", {}, row, {"value": 0.5, "baseline": False})
        for number, row in enumerate(rows)
    )
    measures = ("v", "chance")
    assert Board("d", "all", "m", Standard("v", True), measures, entries).leaders == {"v": 0.7}
    assert Board("d", "all", "m", Standard("v", True), measures, entries[:1]).leaders == {"v": 0.2, "chance": 0.3}
