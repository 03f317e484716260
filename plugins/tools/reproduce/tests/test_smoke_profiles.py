"""Papers run through in their smoke profile: all steps on small twins, the comparison, the figures and the page."""

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from heatproof.cli.commands import cli
from heatproof_reproduce.athanasoula_2022 import flags
from heatproof_reproduce.watanabe_2022 import rejected_shares

Row = dict[str, str]


def reproduced(paper: str, folder: Path) -> list[Row]:
    """Run the smoke profile of a paper into a folder; return the rows of its comparison."""
    words = ["reproduce", paper, "--profile", "smoke", "--output", str(folder)]
    result = CliRunner(env={"COLUMNS": "300"}).invoke(cli, words, prog_name="heatproof")
    assert result.exit_code == 0, result.output
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "synthetic" in page
    assert 'src="http' not in page
    rows = table(folder / "comparison.csv")
    assert {row["verdict"] for row in rows} == {"cannot be compared"}
    assert all(row["reason"] for row in rows)
    return rows


def table(path: Path) -> list[Row]:
    """The rows of a CSV file."""
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_gonzalez_gonzalo_2018(tmp_path: Path) -> None:
    rows = reproduced("gonzalez-gonzalo-2018", tmp_path)
    assert [float(row["published"]) for row in rows] == [0.93, 0.72]
    assert {row["reason"] for row in rows} == {"the data are a synthetic twin"}
    tested = [row for row in table(tmp_path / "grader/predictions.csv") if row["part"] == "validation"]
    assert {row["n"] for row in rows} == {str(len(tested))}
    drawn = table(tmp_path / "figures/figure-2.csv")
    assert len(drawn) == len({(row["grade"], row["map"], row["false positives per image"]) for row in drawn}) == 28
    cases = [row for row in table(tmp_path / "localisation/subgroups.csv") if row["measure"] == "overlap"]
    counts = {(row["group"], row["explainer"]): row["n_valid"] for row in cases}
    names = {"grade 2": "moderate", "grade 3": "severe"}
    assert all(row["n"] == counts[names[row["grade"]], row["map"]] for row in drawn)


@pytest.mark.slow
def test_athanasoula_2022(tmp_path: Path) -> None:
    rows = reproduced("athanasoula-2022", tmp_path)
    names = ["PET/CT", "LIDC-IDRI", "COV_X", "COV_CT", "Cells", "MPIP", "MNIST"]
    assert list(dict.fromkeys(row["quantity"].partition(", ")[0] for row in rows)) == names
    assert len(rows) == 4 * 5 + 3 * 2
    assert [row["quantity"] for row in rows if row["misprint"]] == ["PET/CT, accuracy", "MPIP, F1"]
    printed = table(tmp_path / "figures/table-2.csv")
    assert [row["data set"] for row in printed if row["contradictions"]] == ["PET/CT", "MPIP"]
    assert [row["data set"] for row in printed if not row["F1 published"]] == ["COV_X", "Cells", "MNIST"]
    assert all(not row["F1 value"] for row in printed if not row["F1 published"])
    for row, step in zip(printed, ("petct", "lidc", "covid-x", "covid-ct", "cells", "polar-map", "skin")):
        tested = [cells for cells in table(tmp_path / step / "predictions.csv") if cells["part"] == "test"]
        right = [cells["label"] == cells["decision"] for cells in tested]
        assert int(row["n"]) == len(tested) == len({cells["sample"] for cells in tested})
        assert float(row["accuracy value"]) == pytest.approx(sum(right) / len(right))
    shown = table(tmp_path / "figures/grad-cam.csv")
    assert len(shown) == len({(row["data set"], row["class"]) for row in shown})
    assert {row["data set"] for row in shown} == set(names)


def test_the_published_rows_that_contradict_themselves() -> None:
    """The accuracy of one table of counts lies between sensitivity and specificity, and F1 follows from them."""
    right = {"accuracy": 0.8252, "sensitivity": 0.7629, "specificity": 0.8870, "F1": 0.8080}
    assert flags("LIDC-IDRI", right) == []
    [sentence] = flags("LIDC-IDRI", right | {"F1": 0.7})
    assert sentence.startswith("the F1 0.7 is neither 0.8131")
    assert flags("Cells", {"accuracy": 0.9, "AUC": 0.9}) == []


@pytest.mark.slow
def test_watanabe_2022(tmp_path: Path) -> None:
    rows = reproduced("watanabe-2022", tmp_path)
    assert len(rows) == 2 * 8 * 4
    best = {row["step"]: row for row in rows if row["quantity"] == "set-3-guided-backprop, AUC average"}
    assert {(row["published"], row["published_low"], row["published_high"]) for row in best.values()} == {
        ("0.913", "0.86", "0.966")
    }
    printed = table(tmp_path / "figures/tables.csv")
    assert len(printed) == 64
    for row in printed:
        assert ("parity" in row["flag"]) == (row["interval"] == "interval of the paper")
    panels = table(tmp_path / "figures/panels.csv")
    assert len(panels) == 8
    assert [row["model"] for row in panels if not row["correlation of mask and gaze"]] == ["encoder"]
    looked = table(tmp_path / "figures/rejection.csv")
    assert [float(row["alpha"]) for row in looked] == sorted((float(row["alpha"]) for row in looked), reverse=True)
    for row in looked:
        assert (row["rejected"] == "True") == (float(row["alpha"]) > 1)
        assert (row["wrong"] == "True") == (row["label"] != row["decision"])


@pytest.mark.slow
def test_huff_2021(tmp_path: Path) -> None:
    rows = reproduced("huff-2021", tmp_path)
    assert not any(row["value"] for row in rows)
    drawn = table(tmp_path / "figures/techniques.csv")
    assert len(drawn) == len({(row["model"], row["technique"]) for row in drawn}) == 10 + 5 + 3
    summary = [row for row in table(tmp_path / "explainers/summary.csv") if row["measure"] == "combined"]
    values = {row["explainer"]: row["value"] for row in summary}
    for row in drawn[:10]:
        assert row["value"] == values[row["technique"]]


def test_shares_of_rejected_decisions() -> None:
    """A plain count for each threshold."""
    generator = np.random.default_rng(0)
    statistic = generator.integers(0, 6, 40).tolist()
    wrong = (generator.random(40) < 0.4).tolist()
    shares = rejected_shares(statistic, wrong)
    assert shares is not None
    for index, threshold in enumerate(sorted(set(statistic), reverse=True), start=1):
        above = [value >= threshold for value in statistic]
        bad = sum(a and w for a, w in zip(above, wrong)) / sum(wrong)
        good = sum(a and not w for a, w in zip(above, wrong)) / (40 - sum(wrong))
        assert shares[:, index].tolist() == pytest.approx([bad, good])
    assert rejected_shares(statistic, [False] * 40) is None
