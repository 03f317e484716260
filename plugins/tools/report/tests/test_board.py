"""The leader of a ranking, the best value of each measure, and the comparison with the random baseline."""

import pytest

from heatproof.results.ranking import RankedCombination, Standard
from heatproof_report.board import Board
from heatproof_report.page import standing


@pytest.mark.parametrize(
    ("p", "difference", "higher", "words"),
    [
        (0.01, 0.2, True, "It is better than"),
        (0.01, 0.2, False, "It is worse than"),
        (0.01, -0.2, False, "It is better than"),
        (0.05, 0.2, True, "is not significantly different"),
        (float("nan"), 0.2, True, "could not be tested"),
    ],
)
def test_leader_against_chance(p: float, difference: float, higher: bool, words: str) -> None:
    row = {"value": 0.5, "p_random_holm": p, "difference_to_random": difference}
    leader, chance = (RankedCombination("a", "", {}, {}, row | {"baseline": baseline}) for baseline in (False, True))
    ranking = Board("d", "all", "m", Standard("v", higher), ("v",), (leader, chance))
    assert words in standing(ranking, 0.05)


def test_the_leader_meets_the_baseline_of_its_own_model() -> None:
    def entry(model: str, value: float, baseline: bool = False) -> RankedCombination:
        row = {"value": value, "model": model, "target": "predicted", "baseline": baseline}
        return RankedCombination(model, "", {}, {}, row)

    net_baseline = entry("net", 0.2, True)
    other_baseline = entry("other", 0.3, True)
    entries = (entry("net", 0.5), entry("other", 0.4), other_baseline, net_baseline)
    ranking = Board("d", "all", "m", Standard("v"), ("v",), entries)
    assert ranking.opponents == [net_baseline]
    shared_baseline = entry("", 0.1, True)
    ranking = Board("d", "all", "m", Standard("v"), ("v",), (entry("net", 0.5), shared_baseline))
    assert ranking.opponents == [shared_baseline]


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
