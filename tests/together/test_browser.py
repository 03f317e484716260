"""The browser of all cases: its data against the tables, inside the page or in files beside it, and in a browser."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heatproof.registry.catalog import Catalog
from heatproof.results.finished import Results
from heatproof.results.parquet import read_table
from heatproof_report import browser
from heatproof_report.page import write_page

Ran = Callable[..., Any]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture
def folder(ran: Ran) -> Path:
    settings = {
        "explainers": ["slope", "noted"],
        "metrics": [{"use": "mass", "on": ["blob-009"], "fault": "undefined"}],
    }
    return Path(ran(report={"figures": False}, **settings).folder)


def inside(html: str) -> dict[str, Any]:
    """The data in a page by name."""
    parts = re.findall(r'<script type="application/json" id="data-(.*?)">(.*?)</script>', html, re.DOTALL)
    return {name: json.loads(text) for name, text in parts}


def test_the_index_has_all_scores(folder: Path, parts: Catalog) -> None:
    data = inside(write_page(Results(folder, parts)).read_text())
    (collection,) = data["index"]["collections"]
    (metric,) = collection["metrics"]
    scores = read_table(folder / "scores.parquet")
    cases = sorted(set(scores["case"]))
    assert [case["id"] for case in collection["cases"]] == cases
    assert collection["methods"][-1] == "random"
    for row in range(len(scores["case"])):
        cell = metric["values"][collection["methods"].index(scores["explainer"][row])][cases.index(scores["case"][row])]
        if scores["status"][row] == "valid":
            assert cell[metric["measures"].index(scores["measure"][row])] == pytest.approx(
                scores["value"][row], rel=1e-3
            )
        else:
            assert browser.STATUSES[cell["status"]] == scores["status"][row]
            assert metric["reasons"][cell["reason"]] == scores["reason"][row]
    for groups, values in zip(metric["groups"], metric["values"]):
        numbers = [cell[0] if isinstance(cell, list) else float("-inf") for cell in values]
        assert groups["Best"][0] == numbers.index(max(numbers))
    assert {case["label"] for case in collection["cases"]} == {"left", "right"}
    assert set(data) == {"index", "thumbnails-0-0", *(f"case-0-{number}" for number in range(len(cases)))}
    assert not (folder / "report/cases").exists()


def test_what_does_not_fit_lies_beside_the_page(folder: Path, parts: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write_page(Results(folder, parts)).read_text()
    assert "script-src 'sha256-" in whole
    assert "file:" not in whole[: whole.index("<title>")]
    monkeypatch.setattr(browser, "LIMIT", len(json.dumps(inside(whole)["index"])))
    monkeypatch.setattr(browser, "PART", 3)
    page = write_page(Results(folder, parts))
    html = page.read_text()
    assert set(inside(html)) == {"index"}
    assert "'self' file:" in html[: html.index("<title>")]
    names = {path.stem for path in (folder / "report/cases").iterdir()}
    assert {name for name in names if name.startswith("thumb")} == {f"thumbnails-0-{part}" for part in range(3)}
    for path in (folder / "report/cases").iterdir():
        name, value = re.fullmatch(r'heatproofData\("(.*?)", (.*)\);\n', path.read_text()).groups()  # type: ignore[union-attr]
        assert name == path.stem
        assert json.loads(value)
    assert len(html) < len(whole)


def test_json_cannot_end_an_element() -> None:
    text = browser._json({"</script><!--": "& \u2028"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"</script><!--": "& \u2028"}


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")
def test_a_browser_lists_every_case(
    folder: Path, parts: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser, "LIMIT", 1)
    page = write_page(Results(folder, parts))
    words = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
             "--virtual-time-budget=4000", "--dump-dom", page.as_uri()]  # fmt: skip
    shown = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout
    assert len(re.findall(r'<div role="option"', shown)) == 8
    assert "8 of 8 cases" in shown
    assert re.search(r'id="browser" data-address="report/cases">', shown)
