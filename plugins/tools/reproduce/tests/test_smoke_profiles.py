"""Papers run through in their smoke profile: all steps on small twins, the comparison, the figures and the page."""

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner

from heatproof.cli.commands import cli

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
