"""The tables of a run: rows pivoted by case, counts that add up, tests against the right baseline."""

import csv
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heatproof.metric import ClosedForm, Metric
from heatproof.results.checksums import DamagedUnit
from heatproof.results.parquet import SCORE_COLUMNS, read_table, write_table
from heatproof.results.rank_rows import ranked
from heatproof.results.resampling import resample_counts
from heatproof.results.scores import COMBINATION_COLUMNS, ScoredCombination, cases_of, name_of, write_csv, write_scores
from heatproof.results.significance import CORRECTIONS, holm
from heatproof.results.store import Run
from heatproof.results.summary import SummarySettings, comparisons, results, summaries, summary_columns
from heatproof_parts import Area, Mass

SETTINGS = SummarySettings(resamples=40, permutations=1000, confidence=0.9, seed=3)


def tables(cases: Any, settings: SummarySettings = SETTINGS) -> tuple[Any, Any]:
    """The rows of the summary and of the comparisons."""
    result = results(cases, settings)
    return result["summary"].rows, result["comparisons"].rows


def place(explainer: str, **more: str) -> dict[str, str]:
    usual = dict.fromkeys(COMBINATION_COLUMNS, "") | {
        "dataset": "d",
        "split": "test",
        "model": "m",
        "explainer": explainer,
    }
    return {**usual, "combination": f"key-{explainer}", **more}


def row(case: str, measure: str, value: Any, status: str = "valid", reason: str = "", patient: str = "") -> list[Any]:
    array = list(value) if isinstance(value, (list, tuple)) else None
    number = None if array is not None or status != "valid" else value
    return [case, patient or f"patient-{case}", measure, number, status, reason, array, "{}", None, None]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run")


def commit(run: Run, key: str, rows: list[list[Any]]) -> str:
    with run.commit("scores", key, {}) as folder:
        write_table(folder / "scores.parquet", SCORE_COLUMNS, rows)
    return key


def entry(
    run: Run, explainer: str, rows: list[list[Any]], metric: Metric | None = None, **more: Any
) -> ScoredCombination:
    keys = (commit(run, f"{explainer}-{len(run.keys('scores'))}", rows),)
    return ScoredCombination(
        place(explainer), metric or Mass(), "mass", keys, explainer == "random", dataset="d1", grid="g1", **more
    )


def test_units_become_one_sorted_table(run: Run) -> None:
    first = [row("c", "value", 3.0), row("a", "value", 1.0)]
    second = [row("b", "value", 2.0), row("b", "left", None, "excluded", "absent")]
    slope = ScoredCombination(
        place("slope"), Mass(), "mass", (commit(run, "u1", first), commit(run, "u2", second), "not there"), False
    )
    cam = entry(run, "cam", [row("a", "value", 9.0)])
    columns = write_scores(run, [slope, cam])
    table = read_table(run.folder / "scores.parquet")
    assert list(table) == [*COMBINATION_COLUMNS, *SCORE_COLUMNS]
    rows = list(zip(*(table[name].tolist() for name in ("explainer", "measure", "case", "value"))))
    assert str(rows) == str([("cam", "value", "a", 9.0), ("slope", "left", "b", np.nan), ("slope", "value", "a", 1.0),
                              ("slope", "value", "b", 2.0), ("slope", "value", "c", 3.0)])  # fmt: skip
    assert all(np.array_equal(columns[name].astype(str), table[name].astype(str)) for name in table)


def test_the_order_of_units_does_not_change_a_byte(run: Run) -> None:
    entries = [entry(run, name, [row(case, "value", hash_) for case, hash_ in zip("dbca", range(4))]) for name in "ab"]
    write_scores(run, entries)
    first = (run.folder / "scores.parquet").read_bytes()
    write_scores(run, entries[::-1])
    assert (run.folder / "scores.parquet").read_bytes() == first


def test_without_any_unit_there_is_an_empty_table(run: Run) -> None:
    rows = [ScoredCombination(place("slope"), Mass(), "mass", ("none",), False)]
    write_scores(run, rows)
    table = read_table(run.folder / "scores.parquet")
    assert list(table) == [*COMBINATION_COLUMNS, *SCORE_COLUMNS]
    assert cases_of(table, rows) == []


def test_a_damaged_unit_among_many_is_named(run: Run) -> None:
    good = entry(run, "slope", [row("a", "value", 1.0)])
    bad = entry(run, "cam", [row("a", "value", 1.0)])
    path = run.unit("scores", bad.units[0]) / "scores.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DamagedUnit, match=f"{path} is damaged"):
        write_scores(run, [good, bad])
    assert not (run.folder / "scores.parquet").exists()


def test_a_run_in_a_folder_with_odd_names(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "case=7" / "it's [1]")
    write_scores(run, [entry(run, "slope", [row("a", "value", 1.0)])])
    assert read_table(run.folder / "scores.parquet")["case"].tolist() == ["a"]


def pivoted(run: Run, entries: list[ScoredCombination]) -> list[Any]:
    return cases_of(write_scores(run, entries), entries)


def test_rows_are_pivoted_by_case(run: Run) -> None:
    rows = [
        row("b", "value", 2.0, patient="q"), row("b", "left", 0.5, patient="q"),
        row("a", "value", 1.0, patient="p"), row("a", "left", None, "excluded", "absent", patient="p"),
        row("c", "value", None, "failed", "broken", patient="p"),
        row("d", "value", 4.0, patient="r"),
    ]  # fmt: skip
    (cases,) = pivoted(run, [entry(run, "slope", rows)])
    assert cases.ids == ("a", "b", "c", "d")
    assert cases.patients == ("p", "q", "p", "r")
    assert str(cases.values["value"].tolist()) == "[1.0, 2.0, nan, 4.0]"
    assert str(cases.values["left"].tolist()) == "[nan, 0.5, nan, nan]"
    assert cases.statuses["value"] == ["valid", "valid", "failed", "valid"]
    assert cases.statuses["left"] == ["excluded", "valid", "failed", "excluded"]


def test_curves_are_pivoted_to_points(run: Run) -> None:
    rows = [
        row("a", "curve", [0.0, 1.0, 2.0]),
        row("b", "curve", [3.0]),
        row("c", "curve", None, "invalid", "infinite"),
    ]
    (cases,) = pivoted(run, [entry(run, "slope", rows)])
    assert str(cases.values["curve"].tolist()) == "[[0.0, 1.0, 2.0], [3.0, nan, nan], [nan, nan, nan]]"


def test_two_datasets_of_one_name_are_told_apart(run: Run) -> None:
    """Their combinations have different keys."""
    first = ScoredCombination(
        place("slope", combination="k1"), Mass(), "mass", (commit(run, "u1", [row("a", "value", 1.0)]),), False
    )
    second = ScoredCombination(
        place("slope", combination="k2"), Mass(), "mass", (commit(run, "u2", [row("a", "value", 2.0)]),), False
    )
    assert [case.values["value"].tolist() for case in pivoted(run, [first, second])] == [[1.0], [2.0]]


def failing(case: str, primary: str) -> list[Any]:
    return row(case, primary, None, "failed", "broken")


def area_rows(values: Mapping[str, tuple[float, float]], failed: str = "") -> list[list[Any]]:
    rows = [row(case, name, number) for case, pair in values.items() for name, number in zip(("score", "label"), pair)]
    return [*rows, *(failing(case, "auc") for case in failed)]


PAIRS = {"a": (0.1, 0.0), "b": (0.4, 0.0), "c": (0.35, 1.0), "d": (0.8, 1.0)}


def test_a_measure_made_of_others_counts_its_cases(run: Run) -> None:
    """Three of four pairs are in order, as in the textbook example; a case that failed is counted, not used."""
    summary, _ = tables(pivoted(run, [entry(run, "slope", area_rows(PAIRS, "ef"), Area())]))
    (result,) = summary
    assert (result["measure"], result["value"]) == ("auc", 0.75)
    assert [result[f"n_{name}"] for name in ("valid", "failed", "excluded", "invalid")] == [4, 2, 0, 0]
    assert result["n_patients"] == 6


def test_a_measure_made_of_others_is_tested(run: Run) -> None:
    better = PAIRS | {"c": (0.5, 1.0)}
    entries = [entry(run, "slope", area_rows(better, "e"), Area()), entry(run, "random", area_rows(PAIRS, "e"), Area())]
    summary, compared = tables(pivoted(run, entries))
    assert summary[0]["difference_to_random"] == pytest.approx(0.25)
    assert [(result["a"], result["b"], result["n_cases"]) for result in compared] == [("m × slope", "m × random", 4)]


def test_if_every_case_failed_the_primary_measure_says_so(run: Run) -> None:
    for metric in (Area(), Mass()):
        rows = [failing(case, metric.primary) for case in "abc"]
        (result,), compared = tables(pivoted(run, [entry(run, "slope", rows, metric)]))
        assert result["measure"] == metric.primary
        assert np.isnan(result["value"])
        assert result["n_failed"] == 3
        assert compared == []


VALUES = {"slope": (3.0, 5.0, 9.0, 2.0), "cam": (2.0, 5.5, 4.0, 2.5), "random": (1.0, 1.0, 2.0, 2.0)}


def mass(run: Run) -> list[ScoredCombination]:
    return [
        entry(run, name, [row(case, "value", value) for case, value in zip("abcd", values)])
        for name, values in VALUES.items()
    ]


def exact(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Two-sided p over all sign patterns, written out."""
    differences = np.subtract(a, b)
    means = [abs(np.mean(differences * signs)) for signs in product((1, -1), repeat=len(a))]
    return float(np.mean([mean >= abs(differences.mean()) - 1e-12 for mean in means]))


def test_combinations_are_tested_against_random_and_each_other(run: Run) -> None:
    summary, compared = tables(pivoted(run, mass(run)))
    by_name = {result["explainer"]: result for result in summary}
    chance = [exact(VALUES[name], VALUES["random"]) for name in ("slope", "cam")]
    for name, p, adjusted in zip(("slope", "cam"), chance, holm(np.array(chance))):
        assert by_name[name]["value"] == np.mean(VALUES[name])
        assert by_name[name]["difference_to_random"] == pytest.approx(np.mean(VALUES[name]) - 1.5)
        assert by_name[name]["p_random"] == pytest.approx(p)
        assert by_name[name]["p_random_holm"] == pytest.approx(adjusted)
        assert by_name[name]["low"] <= by_name[name]["value"] <= by_name[name]["high"]
    assert np.isnan(by_name["random"]["p_random"])
    pairs = [("slope", "cam"), ("slope", "random"), ("cam", "random")]
    ps = [exact(VALUES[a], VALUES[b]) for a, b in pairs]
    assert [(result["a"], result["b"]) for result in compared] == [(f"m × {a}", f"m × {b}") for a, b in pairs]
    assert [result["p"] for result in compared] == pytest.approx(ps)
    assert [result["p_holm"] for result in compared] == pytest.approx(holm(np.array(ps)).tolist())
    assert all(result["exact"] and result["permutations"] == 16 for result in compared)


def test_the_baseline_is_that_of_the_same_samples_and_grid(run: Run) -> None:
    """Other datasets and grids may have cases of the same names."""
    slope, _, random = mass(run)
    others = [
        replace(random, units=(commit(run, f"x{index}", [row(case, "value", 100.0) for case in "abcd"]),),
                columns=random.columns | {"combination": f"other-{index}"} | changes, **fields)
        for index, (fields, changes) in enumerate(
            [({"grid": "g2"}, {}), ({"dataset": "d2"}, {}), ({}, {"split": "tuning"})]
        )
    ]  # fmt: skip
    cases = pivoted(run, [*others, slope, random])
    assert len(cases) == 5
    summary, compared = tables(cases)
    (result,) = [line for line in summary if line["explainer"] == "slope"]
    assert result["difference_to_random"] == pytest.approx(np.mean(VALUES["slope"]) - 1.5)
    # Another grid of the same samples is compared; other samples are not.
    assert len(compared) == 3


@pytest.mark.parametrize(("model", "target"), [("m1", ""), ("m2", "left")])
def test_judged_maps_have_the_baseline_of_their_model_and_target(run: Run, model: str, target: str) -> None:
    """Two models may have one name in the tables."""
    slope, _, random = (replace(scored, model="m2") for scored in mass(run))
    units = (commit(run, "other", [row(case, "value", 100.0) for case in "abcd"]),)
    columns = random.columns | {"combination": "other", "target": target}
    summary, _ = tables(pivoted(run, [replace(random, units=units, columns=columns, model=model), slope, random]))
    (result,) = [line for line in summary if line["explainer"] == "slope"]
    assert result["difference_to_random"] == pytest.approx(np.mean(VALUES["slope"]) - 1.5)


def test_random_maps_stand_once_for_a_metric_that_asks_no_model(ran: Callable[..., Any], tmp_path: Path) -> None:
    """Whether another metric judges them by a model changes nothing of its rows and families."""

    def rows(metrics: list[str]) -> list[dict[str, Any]]:
        finished = ran(models=["regions", "linear"], metrics=metrics, output=str(tmp_path / "-".join(metrics)))
        return [row for row in finished.summary if row["metric"] == "mass"]

    both = rows(["mass", "drop"])
    alone = rows(["mass"])
    columns = ("model", "explainer", "target", "value", "difference_to_random", "p_random", "p_random_holm", "n_valid")
    assert str([[row[name] for name in columns] for row in both]) == str(
        [[row[name] for name in columns] for row in alone]
    )
    assert {row["model"] for row in both if row["explainer"] == "random"} == {""}


def test_a_case_without_a_value_leaves_the_pair(run: Run) -> None:
    slope = entry(run, "slope", [row("a", "value", 3.0), row("b", "value", 5.0), failing("c", "value")])
    random = entry(run, "random", [row("a", "value", 1.0), failing("b", "value"), row("c", "value", 2.0)])
    _, (compared,) = tables(pivoted(run, [slope, random]))
    assert (compared["difference"], compared["n_cases"]) == (2.0, 1)


def test_the_seed_decides_the_resamples(run: Run) -> None:
    cases = pivoted(run, mass(run))
    first, again = (str(results(cases, SETTINGS)) for _ in range(2))
    other = str(results(cases, SETTINGS.model_copy(update={"seed": 4})))
    assert first == again != other


@pytest.mark.parametrize("correction", ["benjamini_hochberg", "benjamini_yekutieli"])
def test_another_correction_has_columns_of_its_own(run: Run, correction: str) -> None:
    cases = pivoted(run, mass(run))
    result = results(cases, SETTINGS.model_copy(update={"correction": correction}))
    for name, p in (("summary", "p_random"), ("comparisons", "p")):
        rows = result[name].rows
        assert set(rows[0]) == set(result[name].columns)
        assert f"{p}_holm" not in rows[0]
        expected = CORRECTIONS[correction](np.array([row[p] for row in rows]))
        actual = [row[f"{p}_{correction}"] for row in rows]
        assert actual == pytest.approx(expected.tolist(), nan_ok=True)


def test_tests_swap_exchangeable_measurements(run: Run) -> None:
    """A metric that compares cases with each other: p must not depend on the scale of a combination's values."""

    class Best(Mass):
        """The value of the best case over the mean of all."""

        def summarise(self, measurements: Any, counts: Any) -> dict[str, Any]:
            values = measurements["value"]
            return {"value": np.where(counts > 0, values, 0).max(1) / (counts @ values / counts.sum(1))}

        def exchangeable(self, measurements: Any) -> dict[str, Any]:
            return {"value": measurements["value"] / measurements["value"].mean()}

    rows = {}
    for scale in (1, 1000):
        values = VALUES | {"cam": [scale * value for value in VALUES["cam"]]}
        entries = [entry(run, name, [row(case, "value", value) for case, value in zip("abcd", values[name])], Best())
                   for name in ("slope", "cam", "random")]  # fmt: skip
        summary, compared = tables(pivoted(run, entries))
        cam = next(line for line in summary if line["explainer"] == "cam")
        rows[scale] = [cam["p_random"], cam["difference_to_random"]]
        rows[scale] += [value for line in compared for value in (line["p"], line["difference"])]
    assert rows[1000] == pytest.approx(rows[1])


def test_ranks_are_those_of_the_summary(run: Run) -> None:
    table = results(pivoted(run, mass(run)), SETTINGS)["ranks"]
    first, second = table.rows
    assert set(first) == set(table.columns)
    assert [first[name] for name in ("name", "rank", "value", "n_combinations")] == ["m × slope", 1, 4.75, 2]
    assert [second[name] for name in ("name", "rank", "value", "n_patients")] == ["m × cam", 2, 3.5, 4]
    # Of four patients two rank slope first, two rank cam first.
    assert (first["mean_rank"], first["friedman"], first["p_friedman"]) == (1.5, 0, 1)
    assert first["best_share"] + second["best_share"] == pytest.approx(1)
    assert first["best_share"] > 0.5


def test_a_test_in_closed_form_beside_the_permutation_test(run: Run) -> None:
    class Tested(Mass):
        def closed_form(self, a: Any, b: Any, patients: Any) -> ClosedForm:
            return ClosedForm("t", float(len(patients)) / 100)

    class Broken(Mass):
        def closed_form(self, a: Any, b: Any, patients: Any) -> ClosedForm:
            raise ValueError("singular")

    table = results(pivoted(run, [replace(entry, metric=Tested()) for entry in mass(run)]), SETTINGS)["comparisons"]
    assert [(row["closed_form"], row["p_closed_form"]) for row in table.rows] == [("t", 0.04)] * 3
    assert [row["p_closed_form_holm"] for row in table.rows] == pytest.approx([0.12] * 3)
    assert set(table.rows[0]) == set(table.columns)
    table = results(pivoted(run, [replace(entry, metric=Broken()) for entry in mass(run)]), SETTINGS)["comparisons"]
    flags = {row["flag"] for row in table.rows}
    assert len(flags) == 1
    assert "cannot be tested in closed form (ValueError: singular)" in flags.pop()
    assert np.isnan([row["p_closed_form"] for row in table.rows]).all()
    assert not any(np.isnan(row["p"]) for row in table.rows)


def test_nemenyi_in_both_tables(run: Run) -> None:
    tables = results(pivoted(run, mass(run)), SETTINGS)
    pairs = {frozenset((row["a"], row["b"])): row["p_nemenyi"] for row in tables["comparisons"].rows}
    best, other = tables["ranks"].rows
    assert pairs.pop(frozenset((best["name"], other["name"]))) == pytest.approx(1)
    assert np.isnan(list(pairs.values())).all()
    assert (best["p_nemenyi"], other["p_nemenyi"]) == pytest.approx((1, 1))


def test_wins_are_shares_of_the_resamples(run: Run) -> None:
    result = results(pivoted(run, mass(run)), SETTINGS)
    counts = resample_counts([f"patient-{case}" for case in "abcd"], 40, 3)
    slope, cam = (counts @ np.array(VALUES[name]) / 4 for name in ("slope", "cam"))
    wins = float((slope > cam + 1e-9).mean() + (abs(slope - cam) <= 1e-9).mean() / 2)
    assert result["comparisons"].rows[0]["win_share"] == pytest.approx(wins)
    assert result["ranks"].rows[0]["best_share"] == pytest.approx(wins)


@pytest.mark.parametrize("cases", ["abcd", "abc"], ids=["every case", "a failed case"])
def test_the_interval_of_a_difference_is_that_of_paired_resamples(run: Run, cases: str) -> None:
    """Over the cases with a value of both, the same patients are drawn for both."""
    rows = {name: [row(case, "value", value) for case, value in zip("abcd", VALUES[name])] for name in ("slope", "cam")}
    rows["cam"][len(cases) :] = [row(case, "value", None, "failed") for case in "abcd"[len(cases) :]]
    entries = [entry(run, name, members) for name, members in rows.items()]
    [pair] = results(pivoted(run, entries), SETTINGS)["comparisons"].rows
    counts = resample_counts([f"patient-{case}" for case in cases], 40, 3)
    differences = np.subtract(*(np.array(VALUES[name][: len(cases)]) for name in ("slope", "cam")))
    resampled = [np.average(differences, weights=drawn) for drawn in counts]
    assert (pair["low"], pair["high"]) == pytest.approx(tuple(np.quantile(resampled, (0.05, 0.95))))
    assert pair["difference"] == pytest.approx(differences.mean())


@pytest.mark.parametrize("interval", ["percentile", "parity"])
def test_the_difference_of_one_patient_has_no_interval_unless_cases_are_drawn(run: Run, interval: str) -> None:
    entries = [
        entry(run, name, [row(case, "value", value, patient="p") for case, value in zip("abcd", VALUES[name])])
        for name in ("slope", "cam")
    ]
    settings = SETTINGS.model_copy(update={"interval": interval})
    [pair] = results(pivoted(run, entries), settings)["comparisons"].rows
    assert np.isnan([pair["low"], pair["high"]]).all() == (interval == "percentile")


def test_where_less_is_better_the_least_leads(run: Run) -> None:
    class Error(Mass):
        higher_is_better = False

    entries = [
        entry(run, name, [row(case, "value", value) for case, value in zip("abcd", VALUES[name])], Error())
        for name in ("slope", "cam")
    ]
    result = results(pivoted(run, entries), SETTINGS)
    assert [line["name"] for line in result["ranks"].rows] == ["m × cam", "m × slope"]
    assert result["comparisons"].rows[0]["win_share"] < 0.5


def test_a_measure_of_many_cases_has_ranks_without_a_test(run: Run) -> None:
    better = PAIRS | {"c": (0.5, 1.0)}
    entries = [entry(run, "slope", area_rows(better), Area()), entry(run, "cam", area_rows(PAIRS), Area())]
    rows = results(pivoted(run, entries), SETTINGS)["ranks"].rows
    assert [(line["name"], line["rank"]) for line in rows] == [("m × slope", 1), ("m × cam", 2)]
    assert all(np.isnan(line["friedman"]) and line["n_patients"] == 0 for line in rows)


def test_parity_is_flagged_in_every_table(run: Run) -> None:
    result = results(pivoted(run, mass(run)), SETTINGS.model_copy(update={"interval": "parity"}))
    for table in result.values():
        assert table.rows
        assert all(line["flag"].startswith("parity with Watanabe et al. 2022") for line in table.rows)
    assert {line["resamples"] for line in result["summary"].rows} == {30}


def test_an_interval_that_cannot_be_made_is_explained(run: Run) -> None:
    same = entry(run, "slope", [row(case, "value", 2.0) for case in "abc"])
    result = results(pivoted(run, [same]), SETTINGS.model_copy(update={"interval": "bca"}))["summary"].rows[0]
    assert np.isnan([result["low"], result["high"]]).all()
    assert result["flag"] == "no bca interval: no patient makes a difference to the value"


def test_tables_are_written_as_csv(run: Run) -> None:
    result = results(pivoted(run, mass(run)), SETTINGS)
    for name, table in result.items():
        write_csv(run, f"{name}.csv", table.columns, table.rows)
    summary = result["summary"].rows
    with open(run.folder / "summary.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == summary_columns("holm")
    assert [float(line["value"]) for line in rows] == [line["value"] for line in summary]
    assert rows[2]["p_random"] == ""
    assert (run.folder / "summary.csv").read_bytes().count(b"\r") == 0


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (
            {"model": "resnet50", "explainer": "gradcam", "target": "predicted", "reduction": "max"},
            "resnet50 × gradcam",
        ),
        ({"model": "", "explainer": "random", "target": "", "reduction": "max"}, "random"),
        ({"model": "a", "explainer": "b", "target": "left", "reduction": "sum"}, "a × b × left × sum"),
        ({"model": "a", "explainer": "", "target": "", "reduction": ""}, "a"),
    ],
)
def test_a_combination_in_a_few_words(named: dict[str, str], expected: str) -> None:
    assert name_of(named) == expected


def test_names_are_told_apart_by_settings(ran: Callable[..., Any]) -> None:
    entries = [{"use": "images", "split": "test", "count": 16, "seed": seed} for seed in (0, 1)]
    finished = ran(datasets=entries, metrics=["mass", {"use": "mass", "scale": 2.0}, "filled"])
    names = {(row["dataset"], row["metric"]) for row in finished.summary}
    datasets = ("images(count=16)", "images(count=16, seed=1)")
    assert names == {(dataset, metric) for dataset in datasets for metric in ("mass", "mass(scale=2.0)", "filled")}
    for row in finished.summary:
        if row["explainer"] == "slope" and row["metric"].startswith("mass") and row["measure"] == "value":
            assert row["n_valid"] == 8
            assert (row["value"] > 1) == ("2.0" in row["metric"])


def test_models_are_compared_by_metrics_of_predictions(ran: Callable[..., Any]) -> None:
    finished = ran(models=["regions", "linear"], explainers=[], metrics=["accuracy"])
    with open(finished.folder / "comparisons.csv", newline="") as stream:
        (compared,) = csv.DictReader(stream)
    assert (compared["a"], compared["b"]) == ("regions", "linear")
    assert [(line["model"], line["explainer"], line["n_valid"]) for line in finished.summary] == [
        ("regions", "", 8), ("linear", "", 8)
    ]  # fmt: skip
    assert summaries([], SETTINGS) == comparisons([], [], SETTINGS) == ranked([], 0.95) == []
