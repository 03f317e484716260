"""Tuned thresholds and the human benchmark in a run, as in cheXlocalize: scores, answer, tables and page."""

import re

import numpy as np
import pytest
from rich.console import Console

from heatproof.cli.display import show_results
from heatproof.config.settings import from_plain
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import Announcement
from heatproof.results.finished import Results
from heatproof.results.ranking import Benchmark, rankings
from heatproof.run.runner import run
from heatproof.testing.toys import Regions
from heatproof_parts import ReadTwice

HUMAN = "human benchmark (second)"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Return the results of a run that tunes ``iou`` and scores the second reader."""
    names = ("gradient", "localization", "report")
    announcements = [Announcement(name, f"heatproof_{name}", f"heatproof-{name}", "1") for name in names]
    catalog = Catalog([Announcement("parts", "heatproof_parts", "heatproof-parts", "1"), *announcements])
    iou = {"use": "iou", "threshold": "range", "level": "tuned", "human": "second"}
    config = from_plain(
        {
            "output": str(tmp_path_factory.mktemp("runs") / "run"), "models": ["regions"], "explainers": ["gradient"],
            "datasets": [{"use": "read_twice", "split": "test", "count": 16}], "metrics": [iou], "threads": 1,
            "device": "cpu", "cache": False, "statistics": {"resamples": 50, "permutations": 50},
        },
        catalog,
    )  # fmt: skip
    return Results(run(config, catalog).folder, catalog)


@pytest.fixture
def benchmark(results: Results) -> Benchmark:
    (ranking,) = rankings(results)
    (benchmark,) = ranking.benchmarks
    return benchmark


def test_the_second_reader_is_scored_on_the_reported_images(benchmark: Benchmark) -> None:
    """Written out: the masks of the readers on the grid of the model, both findings together."""
    model = Regions()
    dataset = ReadTwice(count=16)
    scores = []
    for id in dataset.ids("test"):
        parts = model.prepare(dataset.load(id)).annotations
        masks = {
            reader: np.logical_or.reduce([part.values >= 0.5 for part in parts if part.reader == reader])
            for reader in ("first", "second")
        }
        scores.append(np.sum(masks["first"] & masks["second"]) / np.sum(masks["first"] | masks["second"]))
    assert benchmark.name == HUMAN
    assert benchmark.value == pytest.approx(np.mean(scores), rel=1e-12)
    assert benchmark.row["n_valid"] == 8
    assert 0.2 < benchmark.value < 0.9
    assert benchmark.row["low"] < benchmark.value < benchmark.row["high"]


def test_every_explainer_has_its_own_thresholds(results: Results) -> None:
    levels = {entry["heatmaps"]: entry["filled"]["level"] for entry in results.selection.values()}
    assert levels.keys() == {"regions × gradient", "random"}
    assert all(level.keys() == {"left", "right", "combined"} for level in levels.values())
    values = {row["explainer"]: row["value"] for row in results.summary if row["measure"] == "combined"}
    assert values["gradient"] > values["random"]


def test_tables_and_page_show_the_benchmark_beside_the_combinations(results: Results, benchmark: Benchmark) -> None:
    value = f"{benchmark.value:.3f}"
    console = Console(record=True, width=200)
    show_results(console, results)
    text = console.export_text()
    assert f"the {HUMAN} reaches {value}." in text
    assert re.search(rf"{re.escape(HUMAN)} +{value}", text)
    page = (results.run.folder / "report.html").read_text(encoding="utf-8")
    chart = page[page.index('<div class="plot"') : page.index("</figure>")]
    assert chart.count(f'<span class="name">{HUMAN}</span>') == 1
    assert chart.count('<line class="benchmark"') == 3
    assert f"Dotted line: {HUMAN}." in chart
    assert f"the {HUMAN} reaches {value}" in page
    assert "Settings selected for heatproof-localization/iou of regions × gradient" in page
    assert re.search(rf'<th scope="row">{re.escape(HUMAN)} .*?<td class="n">{value}</td>', page)
