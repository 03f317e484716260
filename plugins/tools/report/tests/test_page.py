"""The page of a run: its numbers against the stored scores, its texts, and that it loads nothing from the network."""

import base64
import csv
import hashlib
import io
import json
import re
import shutil
import sys
import types
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
import torch

from heatproof.batch import Batch
from heatproof.config.settings import from_plain
from heatproof.errors import DataError
from heatproof.explainer import Explainer
from heatproof.hooks import hookimpl
from heatproof.metric import Case, Metric, Undefined
from heatproof.model import Model
from heatproof.records import Explanation, Sample, Verdict
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import Announcement
from heatproof.results.answer import answer, groups, number
from heatproof.results.finished import Results, read_rows
from heatproof.results.ranking import rankings
from heatproof.results.store import Run
from heatproof.run.runner import run
from heatproof.testing.toys import Blobs, Regions, Slope, ToyParams
from heatproof_report.kept import STEPS
from heatproof_report.page import write_page

HOSTILE = "<script>alert('{}')</script>"
NOTE = '"><img src=x onerror=alert(1)> $\\frac{'
UNREADABLE = 1
UNDEFINED = 2
BROKEN = 4
INFINITE = 5


def index_of(id: str) -> int:
    return int(id.rsplit("-", 1)[1])


class Images(Blobs):
    """Blobs <b>with</b> hostile names; one of them cannot be read."""

    synthetic = True
    attributes = (HOSTILE.format("name"), "number")
    citation = HOSTILE.format("citation")

    def ids(self, split: str | None = None) -> list[str]:
        return [HOSTILE.format("id") + f"-{index:03}" for index in range(self.params.count)]

    def load(self, id: str) -> Sample:
        if index_of(id) == UNREADABLE:
            raise DataError(f"/data/{HOSTILE.format('path')}.png is damaged.")
        return super().load(id)

    def attributes_of(self, id: str) -> dict[str, str | int]:
        return {self.attributes[0]: HOSTILE.format(f"side {index_of(id) % 2}"), "number": index_of(id)}


class NetParams(ToyParams):
    """A note that nothing reads."""

    note: str = ""


class Net(Regions[NetParams]):
    """A network whose name comes with a hostile setting."""


class Faulty(Slope):
    """Raises on one sample, and is not finite on another."""

    def explain(self, batch: Batch) -> Any:
        values = super().explain(batch)
        for row, id in enumerate(batch.ids):
            if index_of(id) == BROKEN:
                raise ValueError(HOSTILE.format("reason"))
            if index_of(id) == INFINITE:
                values[row] = float("nan")
        return values


class Keeping(Slope):
    """Keeps images, masks, class maps and numbers, of different length for every sample, one under a hostile name."""

    def explain(self, batch: Batch) -> Any:
        counts = [step_count(index_of(id)) for id in batch.ids]
        ramp = torch.linspace(0, 1, 16).expand(16, 16)
        arrays = {
            "<b>images": [torch.stack(count * [image]) for image, count in zip(batch.images, counts)],
            "masks": [torch.stack([ramp > step / count for step in range(count - 1)]) for count in counts],
            "class": [(3 * ramp).long() - 1 for _ in counts],
            "scores": [torch.arange(count) + 0.25 for count in counts],
            "table": [torch.zeros(3, 5) for _ in counts],
        }  # fmt: skip
        return Explanation(super().explain(batch), kept=arrays)


def step_count(index: int) -> int:
    """The number of steps that ``Keeping`` keeps of a sample."""
    return 2 + index % 2 + 8 * (index == 9)


class Random(Explainer):
    """Noise."""

    traits = frozenset({"model_free", "seeded"})

    def explain(self, batch: Batch) -> Any:
        return batch.uniform(0)[:, None]


class Never(Explainer):
    """Defined on nothing."""

    def verdict(self, model: Model) -> Verdict:
        return Verdict("undefined", HOSTILE.format("never"))

    def explain(self, batch: Batch) -> Any:
        raise NotImplementedError


class Inside(Metric):
    """The share of heat ``inside`` the <annotated> blobs."""

    primary = "zone"

    def measure(self, case: Case) -> dict[str, float]:
        if index_of(case.sample.id) == UNDEFINED:
            raise Undefined("nothing <em>to</em> see")
        assert case.heatmap is not None
        heat = np.abs(case.heatmap.values.astype(np.float64))
        shares = {
            annotation.finding: float((heat * annotation.values).sum() / heat.sum())
            for annotation in case.sample.annotations
        }
        return {"zone": sum(shares.values())} | shares

    def expected(self, measure: str) -> float:
        return 0.1234


def sections(run: Any) -> Any:
    return [("From a plugin <1>", f"<p id='own'>units: {len(run.keys('heatmaps'))}</p>")]


@pytest.fixture(scope="module")
def catalog() -> Iterator[Catalog]:
    with pytest.MonkeyPatch.context() as patch:
        yield plugin(patch, sections)


def plugin(patch: pytest.MonkeyPatch, answer: Any) -> Catalog:
    toys = types.ModuleType("toys")
    declared: dict[str, dict[str, type]] = {
        "heatproof_datasets": {"images": Images},
        "heatproof_models": {"net": Net},
        "heatproof_explainers": {
            "slope": Slope,
            "faulty": Faulty,
            "never": Never,
            "random": Random,
            "keeping": Keeping,
        },
        "heatproof_metrics": {"inside": Inside},
    }
    for hook, members in declared.items():
        for member in members.values():
            setattr(toys, member.__name__, member)
        targets = {name: f"toys:{member.__name__}" for name, member in members.items()}
        setattr(toys, hook, hookimpl(function(hook, targets)))
    toys.heatproof_report_sections = hookimpl(specname="heatproof_report_sections")(answer)  # type: ignore[attr-defined]
    patch.setitem(sys.modules, "toys", toys)
    return Catalog([Announcement("toys", "toys", "heatproof-toys", "1.2")])


def function(name: str, value: Any) -> Any:
    def declare() -> Any:
        return value

    declare.__name__ = name
    return declare


@pytest.fixture(scope="module")
def folder(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = {
        "output": str(tmp_path_factory.mktemp("run")),
        "datasets": [{"use": "images"}],
        "models": [{"use": "net", "note": NOTE}],
        "explainers": ["slope", "faulty", "never"],
        "metrics": ["inside"],
        "device": "cpu",
        "rows": 4,
        "threads": 1,
        "statistics": {"resamples": 200, "permutations": 64},
        "report": {"figures": False},
    }
    return run(from_plain(config, catalog), catalog).folder


def page_of(folder: Path, catalog: Catalog) -> Path:
    return write_page(Results(folder, catalog))


@pytest.fixture(scope="module")
def html(folder: Path, catalog: Catalog) -> str:
    return page_of(folder, catalog).read_text()


class Page(HTMLParser):
    """Elements with attributes, the cells of every table, and whether every element is closed in order."""

    VOID = frozenset({"meta", "img", "input", "br"})

    def __init__(self, html: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.stack: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.stack):
            self.rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_subgroups_are_shown_and_escaped(folder: Path, html: str, catalog: Catalog, tmp_path: Path) -> None:
    """With the numbers of ``subgroups.csv``, and the remark on few patients once where all combinations have it."""
    assert "By subgroup" not in html
    settings = json.loads(json.dumps(Results(folder, catalog).config)) | {"output": str(tmp_path / "divided")}
    settings["by"] = [HOSTILE.format("name"), {"of": "number", "edges": [3]}]
    divided = run(from_plain(settings, catalog), catalog).folder
    text = page_of(divided, catalog).read_text()
    page = Page(text)
    assert page.stack == []
    assert len([script for script in page.all("script") if "type" not in script]) == 1
    for word in ("name", "side 0", "side 1"):
        assert HOSTILE.format(word) not in text
        assert HOSTILE.format(word) in unescape(text)
    (section,) = re.findall(r'<section id="subgroups">.*?</section>', text, re.DOTALL)
    rows = [row for row in read_rows(divided / "subgroups.csv") if row["measure"] == "zone"]
    assert len(rows) == 12
    for row in rows:
        low, high = (number(row[name]) for name in ("low", "high"))
        cell = f'<td class="n">{number(row["value"])}<span class="small">[{low}, {high}]</span></td>'
        assert f'{cell}<td class="n">{row["n_valid"]} / {row["n_patients"]}</td>' in section
    heads = re.findall(r'<th scope="rowgroup" colspan="3">(.*?)</th>', section)
    assert [unescape(head).partition(" <span")[0] for head in heads] == [
        HOSTILE.format("side 0"), HOSTILE.format("side 1"), "below 3", "3 or more",
    ]  # fmt: skip
    assert all(head.count("fewer than 10 patients with a value") == 1 for head in heads)
    assert section.count("fewer than 10 patients with a value") == len(heads)
    assert '<a href="#subgroups">' in text


def scores(folder: Path) -> list[dict[str, Any]]:
    cursor = duckdb.execute(f"select * from '{folder}/scores.parquet'")
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row)) for row in cursor.fetchall()]


def test_page_is_well_formed_and_refers_to_nothing(html: str) -> None:
    page = Page(html)
    assert page.stack == []
    references = []
    for _, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "xlink:href", "data", "poster"):
            if name in attributes:
                references.append(attributes[name])
    assert references
    assert all(value and value.startswith(("#", "data:image/webp;base64,")) for value in references)
    assert "@import" not in html
    assert set(re.findall(r"url\((.)", html)) <= {"#"}
    assert not {"link", "iframe", "object", "embed", "form", "base"} & {tag for tag, _ in page.elements}


def test_links_and_ids_fit(html: str) -> None:
    elements = Page(html).elements
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes.get("href") or attributes.get("xlink:href") for tag, attributes in elements]
    assert {link[1:] for link in links if link} <= set(ids)


def test_policy_allows_the_own_script_only(html: str) -> None:
    (policy,) = [meta["content"] for meta in Page(html).all("meta") if "http-equiv" in meta]
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{digest}'" in policy


def test_hostile_text_stays_text(html: str) -> None:
    page = Page(html)
    assert len([script for script in page.all("script") if "type" not in script]) == 1
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    for word in ("id", "path", "reason", "never", "citation"):
        assert HOSTILE.format(word) not in html
        assert HOSTILE.format(word) in unescape(html)
    assert NOTE in unescape(html)
    assert "&lt;annotated&gt;" in html
    assert "<code>inside</code>" in html


def test_chart_shows_every_combination(html: str, folder: Path) -> None:
    (plot,) = re.findall(r'<div class="plot".*?</figure>', html, re.DOTALL)
    rows = re.findall(r'<div class="row(| baseline)"><span class="name">(.*?)</span>(.*?)</div>', plot, re.DOTALL)
    ranked = sorted(
        (row for row in read_rows(folder / "summary.csv") if row["measure"] == "zone"), key=lambda row: -row["value"]
    )
    assert [bool(kind) for kind, *_ in rows] == [row["baseline"] for row in ranked]
    assert [unescape(name).split(" × ")[-1] for _, name, _ in rows] == [row["explainer"] for row in ranked]
    ticks = [float(text) for text in re.findall(r'<span style="left: ([\d.]+)%">', plot)]
    numbers = [float(text) for text in re.findall(r'<span style="left: [\d.]+%">([\d.]+)</span>', plot)]
    slope = (ticks[-1] - ticks[0]) / (numbers[-1] - numbers[0])
    for (_, _, marks), row in zip(rows, ranked):
        (dot,) = re.findall(r'<circle cx="([\d.]+)%"', marks)
        (ends,) = re.findall(r'class="interval" x1="([\d.]+)%" x2="([\d.]+)%"', marks)
        positions = [float(text) for text in (ends[0], dot, ends[1])]
        values = [row[name] for name in ("low", "value", "high")]
        assert positions == pytest.approx([ticks[0] + slope * (value - numbers[0]) for value in values], abs=0.02)
        assert marks.count('class="chance"') == 1


def test_the_first_sentence_is_the_answer(html: str, folder: Path, catalog: Catalog) -> None:
    (ranking,) = rankings(Results(folder, catalog))
    (sentence,) = re.findall(r'<p class="lede"><strong>(.*?)</strong></p>', html)
    assert unescape(sentence) == answer(ranking)
    letters = [cells[2] for cells in Page(html).rows if len(cells) == 12][1:]
    assert letters == [groups(ranking).get(entry.row["combination"], "") for entry in ranking.entries]


def test_a_pair_has_one_p(html: str, folder: Path) -> None:
    table = [cells for cells in Page(html).rows if len(cells) == 10]
    assert [name for name in table[0] if name.startswith("p")] == ["p (Holm)"]
    assert {"random"}.isdisjoint(name for cells in table for name in cells[:2])
    assert "Nemenyi" not in html
    # Friedman's test of two combinations would be another p of their pair.
    assert "Friedman" not in html


def test_no_absolute_path_stands_on_the_page(folder: Path, catalog: Catalog) -> None:
    results = Results(folder, catalog)
    text = page_of(folder, catalog).read_text()
    for path in (str(folder), str(folder.parent), "/data/", str(Path.home())):
        assert path not in text
    assert f"output: {folder.name}" in text
    assert results.config["output"] == str(folder)


def test_ranking_has_value_interval_and_counts(html: str, folder: Path) -> None:
    rows = [row for row in read_rows(folder / "summary.csv") if row["measure"] == "zone"]
    table = [cells for cells in Page(html).rows if len(cells) == 12][1:]
    ranked = sorted(rows, key=lambda row: -row["value"])
    assert [cells[1] for cells in table] == [f"{row['value']:.3f}" for row in ranked]
    for row, cells in zip(ranked, table):
        assert cells[3] == f"[{row['low']:.3f}, {row['high']:.3f}]"
        counts = [row[name] for name in ("n_valid", "n_excluded", "n_failed", "n_invalid", "n_patients")]
        assert list(map(int, cells[6:11])) == counts
    assert table[[row["explainer"] for row in ranked].index("random")][0].startswith(
        "random baseline on the grid of net"
    )
    assert "expected of a random heatmap: 0.123" in html


def test_every_measure_marks_its_best(html: str, folder: Path) -> None:
    rows = [row for row in read_rows(folder / "summary.csv") if row["explainer"] != "random"]
    best = {name: max(row["value"] for row in rows if row["measure"] == name) for name in ("zone", "left", "right")}
    starred = re.findall(r"★ ([0-9.]+)</span>", html)
    assert set(starred) == {f"{value:.3f}" for value in best.values()}


def test_pairs_are_listed(html: str, folder: Path) -> None:
    pairs = [row for row in csv.DictReader((folder / "comparisons.csv").open()) if "random" not in (row["a"], row["b"])]
    cells = [cells for cells in Page(html).rows if len(cells) == 10][1:]
    assert cells
    assert [(row["a"], row["b"]) for row in pairs] == [(first, second) for first, second, *_ in cells]
    assert [f"{float(row['difference']):.3f}".replace("-", "−") for row in pairs] == [row[2] for row in cells]


def test_the_order_is_shown_with_its_firmness(html: str, folder: Path) -> None:
    ranks = list(csv.DictReader((folder / "ranks.csv").open()))
    rows = [cells for cells in Page(html).rows if len(cells) == 6][1:]
    assert [cells[0] for cells in rows] == [row["name"] for row in ranks]
    assert [cells[2] for cells in rows] == [f"{float(row['best_share']):.3f}" for row in ranks]


def test_best_and_worst_cases(html: str, folder: Path) -> None:
    summary = [
        row for row in read_rows(folder / "summary.csv") if row["measure"] == "zone" and row["explainer"] != "random"
    ]
    leader = max(summary, key=lambda row: row["value"])["explainer"]
    values = {
        row["case"]: row["value"]
        for row in scores(folder)
        if row["explainer"] == leader and row["measure"] == "zone" and row["value"] is not None
    }
    ranked = sorted(values, key=lambda case: (-values[case], case))
    expected = [*ranked[:2], ranked[-1], ranked[-2], ranked[(len(ranked) - 1) // 2]]
    captions = re.findall(r"<figcaption>\s*<strong>(.*?)</strong> · zone <strong>(.*?)</strong>", html)
    shown = [(unescape(case), value) for case, value in captions]
    assert shown[:-1] == [(case, f"{values[case]:.3f}") for case in expected]
    assert shown[-1][0] in ranked
    assert re.findall(r"<h4>(.*?)</h4>", html) == ["Best", "Worst", "Median", "Typical"]


def test_every_case_has_a_labelled_slider(html: str) -> None:
    cases = re.findall(r'<figure class="case">.*?</figure>', html, re.DOTALL)
    assert len(cases) == 6
    for case in cases:
        page = Page(case)
        (slider,) = [control for control in page.all("input") if control["type"] == "range"]
        assert re.search(r"<label[^>]*>Heatmap opacity <input type=\"range\"", case)
        moved = [attributes for _, attributes in page.elements if attributes.get("data-layer") == slider["data-moves"]]
        assert len(moved) == 1
        boxes = [control["data-moves"] for control in page.all("input") if control["type"] == "checkbox"]
        assert boxes == ["0", "1"]
        assert all(image["alt"] is not None for image in page.all("img"))
        assert re.search(r"label: (left|right) · predicted: (left|right)", case)


def test_failures_and_skipped_combinations_are_listed(html: str) -> None:
    rows = {(cells[0], cells[1]): cells for cells in Page(html).rows if len(cells) == 4}
    unreadable = rows["failed", f"{HOSTILE.format('path')}.png is damaged."]
    assert "net" in unreadable[2]
    assert "random" in unreadable[2]
    assert unreadable[3] == f"1{HOSTILE.format('id')}-{UNREADABLE:03}"
    assert rows["failed", f"ValueError: {HOSTILE.format('reason')}"][3].endswith(f"-{BROKEN:03}")
    assert rows["invalid", "256 of 256 values of the heatmap are not finite"][3].endswith(f"-{INFINITE:03}")
    assert rows["excluded", "nothing <em>to</em> see"][3].endswith(f"-{UNDEFINED:03}")
    assert any(cells[2] == "never" and HOSTILE.format("never") in cells[3] for cells in rows.values())


def test_provenance_methods_and_config(html: str, folder: Path) -> None:
    origin = json.loads((folder / "provenance.json").read_text())
    (environment,) = origin["environments"]
    (weights,) = origin["models"][0]["weights"]
    assert weights in html
    assert origin["datasets"][0]["identity"] in html
    assert f"Machine and versions of {environment['units']} units" in html
    assert f"torch {environment['versions']['torch']}" in html
    assert "200 bootstrap resamples" in html
    assert "at most 64 of them" in html
    assert (folder / "config.yaml").read_text().replace(str(folder), folder.name) in unescape(html)
    assert "heatproof-toys 1.2" in html
    assert set(re.findall(r"heatproof-[a-z]+ [\d.]+", html.split('id="provenance"')[1].split("<details>")[0])) == {
        "heatproof-toys 1.2"
    }


def test_every_environment_of_a_resumed_run_is_shown(folder: Path, catalog: Catalog, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "run")
    origin = json.loads((folder / "provenance.json").read_text())
    origin["environments"] += [
        {**origin["environments"][0], "versions": {"torch": "9.8.7", "other": "6.5"}, "units": 3},
        {"key": "feed", "units": 2, "lost": "its checksum does not match"},
    ]
    Run(tmp_path / "run").write_json("provenance.json", origin)
    html = page_of(tmp_path / "run", catalog).read_text()
    units = origin["environments"][0]["units"]
    assert re.findall(r"<dt>Machine and versions of (\d+) units", html) == [str(units), "3", "2"]
    assert "heatproof-toys 1.2, torch 9.8.7</dd>" in html
    assert "<code>feed</code>, which cannot be read any more: its checksum does not match" in html
    assert "Versions of all 2 distributions that were installed for 3 units" in html


def test_selected_settings_are_separated(folder: Path, catalog: Catalog, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "run")
    entry = {
        "metric": "inside", "dataset": "images", "grid": "16", "split": "tuning", "samples": 3, "unreadable": 1,
        "filled": {"weights": [1, 2], "threshold": 0.5},
    }  # fmt: skip
    Run(tmp_path / "run").write("selection.yaml", json.dumps({"key": entry}))
    html = page_of(tmp_path / "run", catalog).read_text()
    (text,) = re.findall(r"<dt>Settings selected for inside</dt><dd>(.*?)</dd>", html)
    assert text == (
        "weights: <code>[1, 2]</code>, threshold: <code>0.5</code> from 3 images of images · tuning "
        "(1 could not be read)"
    )


def test_synthetic_data_are_flagged(html: str) -> None:
    assert "<strong>Synthetic data.</strong> heatproof-toys/images" in html
    assert html.count('<span class="tag">synthetic</span>') == 2


def test_same_run_same_bytes(html: str, folder: Path, catalog: Catalog) -> None:
    first = (folder / "report.html").read_bytes()
    assert page_of(folder, catalog).read_bytes() == first == html.encode()


def test_plugins_add_sections(html: str, folder: Path) -> None:
    count = len(list((folder / "heatmaps").iterdir()))
    assert "<h2>From a plugin &lt;1&gt;</h2>" in html
    assert f"<p id='own'>units: {count}</p>" in html


@pytest.mark.parametrize("answer", ["<p>no list</p>", [("heading", "html", "more")], 7])
def test_sections_of_another_shape_are_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    def other_sections(run: Any) -> Any:
        return answer

    assert "it must be a list of (heading, HTML)" in page_of(folder, plugin(monkeypatch, other_sections)).read_text()


def test_a_case_is_not_loaded_again(
    folder: Path, catalog: Catalog, html: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    load = Images.load

    def counting(self: Images, id: str) -> Sample:
        loads.append(id)
        return load(self, id)

    monkeypatch.setattr(Images, "load", counting)
    assert page_of(folder, catalog).read_text() == html
    assert loads == []
    monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path / "empty"))
    assert page_of(folder, catalog).read_text() == html
    assert len(loads) == len(set(loads)) == 11


def test_prediction_units_are_read_once_per_gallery(
    folder: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = Results(folder, catalog)
    reads: list[str] = []
    read = Run.meta

    def counting(self: Run, kind: Any, key: str) -> dict[str, Any]:
        if kind == "predictions":
            reads.append(key)
        return read(self, kind, key)

    monkeypatch.setattr(Run, "meta", counting)
    write_page(results)
    # Once to choose them by dataset and model, and once to verify the table before its rows are read.
    assert set(reads) == results.run.keys("predictions")
    assert max(map(reads.count, reads)) == 2


def test_predictions_that_are_gone_cost_images_only(folder: Path, catalog: Catalog, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/predictions")
    html = page_of(tmp_path / "run", catalog).read_text().split('<div id="browser"')[0]
    assert html.count("This case cannot be shown: ") == html.count("has no predictions of heatproof-toys/net") == 6


def test_images_need_no_cache(catalog: Catalog, tmp_path: Path) -> None:
    pages = []
    for name, cache in (("with", str(tmp_path / "cache")), ("without", False)):
        config = {
            "output": str(tmp_path / name), "datasets": [{"use": "images"}], "models": ["net"],
            "explainers": ["slope"], "metrics": ["inside"], "device": "cpu", "rows": 4, "threads": 1,
            "statistics": {"resamples": 50, "permutations": 16}, "cache": cache, "report": {"figures": False},
        }  # fmt: skip
        path = page_of(run(from_plain(config, catalog), catalog).folder, catalog)
        pages.append(re.findall(r'<figure class="case">.*?</figure>', path.read_text(), re.DOTALL))
    assert len(pages[0]) == 6
    assert pages[0] == pages[1]
    assert len(list((tmp_path / "cache").iterdir())) == 11


def test_plugins_that_are_gone_cost_images_only(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path / "empty"))
    html = page_of(folder, Catalog([])).read_text()
    assert html.count("This case cannot be shown: no dataset is named") == 6
    assert "The metric cannot be asked how it ranks" in html
    assert Page(html).stack == []


def test_images_in_the_cache_need_no_plugin(folder: Path, html: str) -> None:
    without_plugins = page_of(folder, Catalog([])).read_text()
    assert "This case cannot be shown" not in without_plugins
    images = re.findall(r"<img [^>]*>", without_plugins)
    assert images
    assert len(images) == len(re.findall(r"<img [^>]*>", html))


def flagged(folder: Path, catalog: Catalog, *, everywhere: bool) -> str:
    """The page where the first row of the measure zone, or every row of the summary, has a flag."""
    before = (folder / "summary.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(before)))
    for row in rows if everywhere else [next(row for row in rows if row["measure"] == "zone")]:
        row["flag"] = "weights <i>filled</i> on the reported split"
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    try:
        Run(folder).write("summary.csv", text.getvalue())
        return page_of(folder, catalog).read_text()
    finally:
        Run(folder).write("summary.csv", before)


@pytest.mark.parametrize("everywhere", [False, True])
def test_a_flag_stands_once(folder: Path, catalog: Catalog, everywhere: bool) -> None:
    html = flagged(folder, catalog, everywhere=everywhere)
    assert html.count("weights &lt;i&gt;filled&lt;/i&gt; on the reported split") == 1
    assert '<li id="flag-1">⚑ 1: weights' in html
    marked = [cells[0] for cells in Page(html).rows if len(cells) == 12 and "⚑ 1" in cells[0]]
    assert len(marked) == int(not everywhere)
    assert html.count('href="#flag-1"') == 1


def test_no_chart_is_drawn_where_no_combination_has_a_value(folder: Path, catalog: Catalog, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "run")
    with (folder / "summary.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    with Run(tmp_path / "run").replacing("summary.csv") as summary, summary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "value": ""} for row in rows)
    page = page_of(tmp_path / "run", catalog).read_text()
    assert "No combination has a value." in page
    assert '<figure class="chart">' not in page


def test_parity_and_the_correction_are_stated(catalog: Catalog, tmp_path: Path) -> None:
    config = {
        "output": str(tmp_path), "datasets": [{"use": "images"}], "models": ["net"], "explainers": ["slope"],
        "metrics": ["inside"], "device": "cpu", "rows": 4, "threads": 1,
        "statistics": {"permutations": 16, "interval": "parity", "correction": "benjamini_hochberg"},
        "report": {"figures": False},
    }  # fmt: skip
    html = unescape(page_of(run(from_plain(config, catalog), catalog).folder, catalog).read_text())
    assert html.count("parity with Watanabe et al. 2022: median and percentiles of 30 resamples of 55 to 60 cases") == 1
    assert "corrected by Benjamini and Hochberg" in html
    assert "Holm" not in html


@pytest.fixture(scope="module")
def keeping(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = {
        "output": str(tmp_path_factory.mktemp("keeping")), "datasets": [{"use": "images"}], "models": ["net"],
        "explainers": ["keeping"], "metrics": ["inside"], "device": "cpu", "rows": 4, "threads": 1,
        "statistics": {"resamples": 50, "permutations": 16}, "report": {"examples": 5, "figures": False},
    }  # fmt: skip
    return run(from_plain(config, catalog), catalog).folder


def kept_parts(html: str) -> dict[int, str]:
    """The index of each case → the HTML of its kept arrays."""
    parts = {}
    for figure in re.findall(r'<figure class="case">.*?</figure>', html, re.DOTALL):
        (part,) = re.findall(r'<details class="kept">.*?</details>', figure, re.DOTALL)
        parts[index_of(unescape(re.findall(r"<strong>(.*?)</strong>", figure)[0]))] = part
    return parts


def test_kept_arrays_are_shown_step_by_step(keeping: Path, catalog: Catalog) -> None:
    html = page_of(keeping, catalog).read_text()
    assert Page(html).stack == []
    parts = kept_parts(html)
    assert len(parts) == 10
    assert 9 in parts
    for index, part in parts.items():
        count = step_count(index)
        page = Page(part)
        columns = min(count, STEPS)
        rows = {cells[0].partition(" ")[0]: cells[1:] for cells in page.rows}
        assert list(rows) == ["Step", "<b>images", "class", "masks", "scores"]
        assert [rows["Step"][0], rows["Step"][-1], len(rows["Step"])] == ["0", str(count - 1), columns]
        assert rows["scores"] == [f"{int(step) + 0.25:.3g}" for step in rows["Step"]]
        texts = [str(image["alt"]) for image in page.all("img")]
        assert texts.count("class, step 0") == 1
        assert sum(text.startswith("<b>images, step ") for text in texts) == columns
        assert sum(text.startswith("masks, step ") for text in texts) == columns - 1
        assert all(str(image["src"]).startswith("data:image/webp;base64,") for image in page.all("img"))
        (region,) = [attributes for _, attributes in page.elements if attributes.get("role") == "region"]
        assert region["tabindex"] == "0"
        assert "Kept by keeping beside the heatmap: &lt;b&gt;images, class, masks, scores, table (3, 5)" in part
        assert "Stored only in the run's folder: table (3, 5)." in part
        assert ("8 of 11 steps." in part) == (index == 9)
        assert [label in part for label in ("none", "left", "right")] == [True] * 3


def test_kept_arrays_give_the_same_bytes_again(keeping: Path, catalog: Catalog) -> None:
    first = page_of(keeping, catalog).read_bytes()
    assert page_of(keeping, catalog).read_bytes() == first


def test_a_kept_array_that_is_damaged_costs_one_case(keeping: Path, catalog: Catalog) -> None:
    (array,) = keeping.glob("heatmaps/*/kept_masks.zarr")
    chunks = sorted((array / "c").iterdir(), key=lambda path: int(path.name))
    moved = chunks[0].rename(keeping / "moved")
    try:
        html = page_of(keeping, catalog).read_text()
    finally:
        moved.rename(chunks[0])
    assert re.search(r"kept_masks.zarr/c/\d+/[/\d]+ is damaged \(No such file or directory\)", html)
