"""Text that a spreadsheet would run: it is neutralised in every CSV file, and names still match."""

import csv
from pathlib import Path
from typing import Any

import pytest

from heatproof.results.finished import Results, read_rows
from heatproof.results.scores import write_csv
from heatproof.results.store import Run
from heatproof.spreadsheet import literal, neutral
from heatproof_parts import Images

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", '=HYPERLINK("http://x","y")')
NAMES = ("plain", "", "'tis", "''", "'=1", "''-1", "a=1", " =1", "1-1")


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_becomes_text_and_comes_back(text: str) -> None:
    assert neutral(text) == f"'{text}"
    assert literal(neutral(text)) == text


@pytest.mark.parametrize("text", NAMES)
def test_other_text_comes_back(text: str) -> None:
    assert literal(neutral(text)) == text


@pytest.mark.parametrize("number", [-1, -0.5, 3, -1e-300, True, None])
def test_numbers_stay_numbers(number: Any) -> None:
    assert neutral(number) is number


def test_a_table_is_neutral_and_read_back(tmp_path: Path) -> None:
    rows = [{"dataset": text, "value": -0.25, "n_valid": 3} for text in (*FORMULAS, *NAMES)]
    write_csv(Run.create(tmp_path), "table.csv", ("dataset", "value", "n_valid"), rows)
    with open(tmp_path / "table.csv", newline="", encoding="utf-8") as stream:
        cells = list(csv.reader(stream))[1:]
    assert not [row[0] for row in cells if row[0][:1] and row[0][0] in "=+-@\t\r\n"]
    assert {row[1] for row in cells} == {"-0.25"}
    assert read_rows(tmp_path / "table.csv") == rows


def test_a_run_whose_cases_patients_and_findings_look_like_formulas(
    ran: Any, parts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every text of every table is neutral; the tables in Python and scores.parquet have the names themselves."""
    monkeypatch.setattr(Images, "ids", lambda self, split=None: [f"=blob-{index:03}" for index in range(8, 16)])
    monkeypatch.setattr(Images, "patient", lambda self, id: f"@{id[-3:]}")
    monkeypatch.setattr(Images, "short", "-images", raising=False)
    monkeypatch.setattr(Images, "_index", lambda self, id: int(id[-3:]))
    finished = ran(explainers=["slope", "noted"])
    for path in finished.folder.glob("*.csv"):
        with open(path, newline="", encoding="utf-8") as stream:
            header, *lines = csv.reader(stream)
        assert lines
        texts = [(name, cell) for line in lines for name, cell in zip(header, line) if cell[:1] in ("=", "+", "-", "@")]
        assert all(float(cell) < 0 for _, cell in texts), path
    results = Results(finished.folder, parts)
    assert {row["dataset"] for row in results.summary} == {"-images"}
    assert {row["patient"] for row in results.query("select patient from scores")} == {f"@{n:03}" for n in range(8, 16)}
