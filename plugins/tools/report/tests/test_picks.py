"""Best, worst, median and typical cases, against their definitions written out."""

import numpy as np

from heatproof_report.picks import picks


def rows(**columns: list[float | None]) -> list[dict[str, object]]:
    """Rows of scores of the cases 0, 1, … by measure."""
    return [
        {"case": str(case), "measure": measure, "value": value}
        for measure, values in columns.items()
        for case, value in enumerate(values)
    ]


def test_groups_of_one_measure() -> None:
    scored = rows(v=[0.1, 0.9, 0.5, 0.3, 0.7, None])
    groups = picks(scored, "v", True, 1)
    assert groups == {"Best": ["1"], "Worst": ["0"], "Median": ["2"]}
    assert picks(scored, "v", False, 1) == {"Best": ["0"], "Worst": ["1"], "Median": ["2"]}
    assert picks(scored, "v", True, 2) == {"Best": ["1", "4"], "Worst": ["0", "3"], "Median": ["2"]}
    assert picks(scored, "v", True, 4) == {"Best": ["1", "4", "2", "3"], "Worst": ["0"]}
    assert picks([], "v", True, 2) == {"Best": [], "Worst": []}


def test_the_typical_case_is_in_the_middle_of_all_measures() -> None:
    rng = np.random.default_rng(0)
    table = rng.random((9, 3))
    table[3, 1] = np.nan
    columns = {name: [None if x != x else float(x) for x in column] for name, column in zip("abc", table.T)}
    distances = np.full((9, 3), np.nan)
    for column in range(3):
        order = [case for case in np.argsort(table[:, column]) if table[case, column] == table[case, column]]
        for rank, case in enumerate(order):
            distances[case, column] = abs(rank - (len(order) - 1) / 2) / len(order)
    expected = int(np.nanargmin(np.nanmean(distances, axis=1)))
    assert picks(rows(**columns), "a", True, 2)["Typical"] == [str(expected)]
