"""The report: its numbers against the stored scores, its pictures against plain ones, and that nothing leaves it."""

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
from PIL import Image

from heatproof.batch import Batch
from heatproof.config.settings import from_plain
from heatproof.errors import DataError, StoreError
from heatproof.explainer import Explainer
from heatproof.hooks import hookimpl
from heatproof.imaging.transforms import Resize
from heatproof.metric import Case, Metric, Undefined
from heatproof.model import Model
from heatproof.records import Annotation, Array, Explanation, Geometry, Sample, Verdict
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import Found
from heatproof.report import read_summary, write_report
from heatproof.report.kept import PALETTE, SIZE, STEPS, kept, sequence
from heatproof.report.page import standing
from heatproof.report.picture import heat, outlines, photograph, picture
from heatproof.report.ranking import Entry, Ranking, Standard
from heatproof.run.runner import run
from heatproof.testing.toys import Blobs, Regions, Slope, ToyParams

HOSTILE = "<script>alert('{}')</script>"
NOTE = '"><img src=x onerror=alert(1)> $\\frac{'
UNREADABLE, UNDEFINED, BROKEN, INFINITE = 1, 2, 4, 5


def place(id: str) -> int:
    return int(id.rsplit("-", 1)[1])


class Pictures(Blobs):
    """Blobs <b>with</b> hostile names; one of them cannot be read."""

    synthetic = True
    citation = HOSTILE.format("citation")

    def ids(self, split: str | None = None) -> list[str]:
        return [HOSTILE.format("id") + f"-{index:03}" for index in range(self.params.count)]

    def load(self, id: str) -> Sample:
        if place(id) == UNREADABLE:
            raise DataError(f"/data/{HOSTILE.format('path')}.png is damaged.")
        return super().load(id)


class NetParams(ToyParams):
    """A note that nothing reads."""

    note: str = ""


class Net(Regions):
    """A network whose name comes with a hostile setting."""

    Params = NetParams


class Faulty(Slope):
    """Raises on one sample, and is not finite on another."""

    def explain(self, batch: Batch) -> Any:
        values = super().explain(batch)
        for row, id in enumerate(batch.ids):
            if place(id) == BROKEN:
                raise ValueError(HOSTILE.format("reason"))
            if place(id) == INFINITE:
                values[row] = float("nan")
        return values


class Keeping(Slope):
    """Keeps pictures, masks, class maps and numbers, of another length for every sample, under a hostile name."""

    def explain(self, batch: Batch) -> Any:
        steps = [2 + place(id) % 2 + 8 * (place(id) == 9) for id in batch.ids]
        ramp = torch.linspace(0, 1, 16).expand(16, 16)
        kept = {
            "<b>images": [torch.stack(count * [image]) for image, count in zip(batch.images, steps)],
            "masks": [torch.stack([ramp > step / count for step in range(count - 1)]) for count in steps],
            "class": [(3 * ramp).long() - 1 for _ in steps],
            "scores": [torch.arange(count) + 0.25 for count in steps],
            "table": [torch.zeros(3, 5) for _ in steps],
        }  # fmt: skip
        return Explanation(super().explain(batch), kept=kept)


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
    """The share of heat ``inside`` the <marked> blobs."""

    primary = "zone"

    def measure(self, case: Case) -> dict[str, float]:
        if place(case.sample.id) == UNDEFINED:
            raise Undefined("nothing <em>to</em> see")
        assert case.heatmap is not None
        heat = np.abs(case.heatmap.values.astype(np.float64))
        marked = {mark.finding: float((heat * mark.values).sum() / heat.sum()) for mark in case.sample.annotations}
        return {"zone": sum(marked.values())} | marked

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
        "heatproof_datasets": {"pictures": Pictures},
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
    return Catalog([Found("toys", "toys", "heatproof-toys", "1.2")])


def function(name: str, value: Any) -> Any:
    def declare() -> Any:
        return value

    declare.__name__ = name
    return declare


@pytest.fixture(scope="module")
def folder(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = {
        "output": str(tmp_path_factory.mktemp("run")),
        "datasets": [{"use": "pictures"}],
        "models": [{"use": "net", "note": NOTE}],
        "explainers": ["slope", "faulty", "never"],
        "metrics": ["inside"],
        "device": "cpu",
        "rows": 4,
        "threads": 1,
        "statistics": {"resamples": 200, "permutations": 64},
    }
    return run(from_plain(config, catalog), catalog).folder


@pytest.fixture(scope="module")
def html(folder: Path, catalog: Catalog) -> str:
    return write_report(folder, catalog).read_text()


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


def scores(folder: Path) -> list[dict[str, Any]]:
    cursor = duckdb.execute(f"select * from '{folder}/scores.parquet'")
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row)) for row in cursor.fetchall()]


def test_summary_has_numbers(folder: Path) -> None:
    rows = read_summary(folder)
    slope = next(row for row in rows if row["explainer"] == "slope" and row["measure"] == "zone")
    values = [row["value"] for row in scores(folder) if row["explainer"] == "slope" and row["measure"] == "zone"]
    defined = [value for value in values if value is not None]
    assert slope["value"] == pytest.approx(np.mean(defined))
    assert (slope["n_valid"], slope["n_excluded"], slope["n_failed"]) == (len(defined), 1, 1)
    assert all(np.isnan(row["p_random"]) for row in rows if row["explainer"] == "random")


def test_folder_that_is_no_run(tmp_path: Path, catalog: Catalog) -> None:
    with pytest.raises(StoreError, match="not a run's folder"):
        read_summary(tmp_path)
    (tmp_path / "config.yaml").write_text("output: here\n")
    with pytest.raises(StoreError, match="has not finished"):
        write_report(tmp_path, catalog)
    (tmp_path / "summary.csv").write_text("value,n_valid\n0.5,many\n")
    with pytest.raises(StoreError, match="cannot be read"):
        read_summary(tmp_path)


def test_page_is_well_formed_and_refers_to_nothing(html: str) -> None:
    page = Page(html)
    assert page.stack == []
    found = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action", "xlink:href", "data", "poster")
    ]
    assert found
    assert all(value and value.startswith(("#", "data:image/webp;base64,")) for value in found)
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
    assert len(page.all("script")) == 1
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    for word in ("id", "path", "reason", "never", "citation"):
        assert HOSTILE.format(word) not in html
        assert HOSTILE.format(word) in unescape(html)
    assert NOTE in unescape(html)
    assert "&lt;marked&gt;" in html
    assert "<code>inside</code>" in html


def test_chart_shows_every_combination(html: str) -> None:
    (svg,) = re.findall(r"<svg[^>]*viewBox[^>]*xmlns.*?</svg>", html, re.DOTALL)
    texts = [
        unescape("".join(re.findall(r">([^<]*)<", text))) for text in re.findall(r"<text.*?/text>", svg, re.DOTALL)
    ]
    assert {"random", "inside: zone"} <= set(texts)
    assert [text[-8:] for text in texts if "<img src=x" in text] == ["× faulty", " × slope"]
    assert svg.count("stroke-dasharray: 6,3.6") == 1


def test_ranking_has_value_interval_and_counts(html: str, folder: Path) -> None:
    rows = [row for row in read_summary(folder) if row["measure"] == "zone"]
    table = [cells for cells in Page(html).rows if len(cells) == 11][1:]
    ranked = sorted(rows, key=lambda row: -row["value"])
    assert [cells[1] for cells in table] == [f"{row['value']:.3f}" for row in ranked]
    for row, cells in zip(ranked, table):
        assert cells[2] == f"[{row['low']:.3f}, {row['high']:.3f}]"
        counts = [row[name] for name in ("n_valid", "n_excluded", "n_failed", "n_invalid", "n_patients")]
        assert list(map(int, cells[5:10])) == counts
    assert table[[row["explainer"] for row in ranked].index("random")][0].startswith(
        "random baseline on the grid of net"
    )
    assert "expected of a random heatmap: 0.123" in html


def test_every_measure_marks_its_best(html: str, folder: Path) -> None:
    rows = [row for row in read_summary(folder) if row["explainer"] != "random"]
    best = {name: max(row["value"] for row in rows if row["measure"] == name) for name in ("zone", "left", "right")}
    starred = re.findall(r"★ ([0-9.]+)</span>", html)
    assert set(starred) == {f"{value:.3f}" for value in best.values()}


def test_pairs_are_listed(html: str, folder: Path) -> None:
    pairs = list(csv.DictReader((folder / "comparisons.csv").open()))
    cells = [cells for cells in Page(html).rows if len(cells) == 9][1:]
    assert [(row["a"], row["b"]) for row in pairs] == [(first, second) for first, second, *_ in cells]
    assert [f"{float(row['difference']):.3f}".replace("-", "−") for row in pairs] == [row[2] for row in cells]


def test_the_order_is_shown_with_its_firmness(html: str, folder: Path) -> None:
    ranks = list(csv.DictReader((folder / "ranks.csv").open()))
    rows = [cells for cells in Page(html).rows if len(cells) == 6][1:]
    assert [cells[0] for cells in rows] == [row["name"] for row in ranks]
    assert [cells[2] for cells in rows] == [f"{float(row['best_share']):.3f}" for row in ranks]
    assert f"Friedman's test of 2 combinations over {ranks[0]['n_patients']} patients" in unescape(html)


def test_best_and_worst_cases(html: str, folder: Path) -> None:
    summary = [row for row in read_summary(folder) if row["measure"] == "zone" and row["explainer"] != "random"]
    leader = max(summary, key=lambda row: row["value"])["explainer"]
    values = {
        row["case"]: row["value"]
        for row in scores(folder)
        if row["explainer"] == leader and row["measure"] == "zone" and row["value"] is not None
    }
    ranked = sorted(values, key=lambda case: (-values[case], case))
    wanted = [*ranked[:2], ranked[-1], ranked[-2]]
    shown = re.findall(r"<figcaption>\s*<strong>(.*?)</strong> · zone <strong>(.*?)</strong>", html)
    assert [(unescape(case), value) for case, value in shown] == [(case, f"{values[case]:.3f}") for case in wanted]


def test_every_case_has_a_labelled_slider(html: str) -> None:
    cases = re.findall(r'<figure class="case">.*?</figure>', html, re.DOTALL)
    assert len(cases) == 4
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


def test_failures_and_skipped_are_told(html: str) -> None:
    rows = {(cells[0], cells[1]): cells for cells in Page(html).rows if len(cells) == 4}
    unreadable = rows["failed", f"/data/{HOSTILE.format('path')}.png is damaged."]
    assert "net" in unreadable[2]
    assert "random" in unreadable[2]
    assert unreadable[3] == f"1{HOSTILE.format('id')}-{UNREADABLE:03}"
    assert rows["failed", f"ValueError: {HOSTILE.format('reason')}"][3].endswith(f"-{BROKEN:03}")
    assert rows["invalid", "256 of 256 values of the heatmap are not finite"][3].endswith(f"-{INFINITE:03}")
    assert rows["excluded", "nothing <em>to</em> see"][3].endswith(f"-{UNDEFINED:03}")
    assert any(cells[2] == "never" and HOSTILE.format("never") in cells[3] for cells in rows.values())


def test_provenance_methods_and_config(html: str, folder: Path) -> None:
    origin = json.loads((folder / "provenance.json").read_text())
    assert origin["models"][0]["weights"] in html
    assert origin["datasets"][0]["identity"] in html
    assert f"torch {origin['versions']['torch']}" in html
    assert "200 bootstrap resamples" in html
    assert "at most 64 of them" in html
    assert (folder / "config.yaml").read_text() in unescape(html)


def test_synthetic_data_are_flagged(html: str) -> None:
    assert "<strong>Synthetic data.</strong> heatproof-toys/pictures" in html
    assert html.count('<span class="tag">synthetic</span>') == 2


def test_same_run_same_bytes(html: str, folder: Path, catalog: Catalog) -> None:
    first = (folder / "report.html").read_bytes()
    assert write_report(folder, catalog).read_bytes() == first == html.encode()


def test_plugins_add_sections(html: str, folder: Path) -> None:
    count = len(list((folder / "heatmaps").iterdir()))
    assert "<h2>From a plugin &lt;1&gt;</h2>" in html
    assert f"<p id='own'>units: {count}</p>" in html


@pytest.mark.parametrize("answer", ["<p>no list</p>", [("heading", "html", "more")], 7])
def test_section_of_another_shape_is_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    def own(run: Any) -> Any:
        return answer

    assert "it must be a list of (heading, HTML)" in write_report(folder, plugin(monkeypatch, own)).read_text()


def test_plugins_that_are_gone_cost_pictures_only(folder: Path) -> None:
    html = write_report(folder, Catalog([])).read_text()
    assert html.count("This case cannot be shown: no dataset is named") == 4
    assert "The metric cannot be asked how it ranks" in html
    assert Page(html).stack == []


def test_flag_stands_beside_the_number(folder: Path, catalog: Catalog) -> None:
    before = (folder / "summary.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(before)))
    next(row for row in rows if row["measure"] == "zone")["flag"] = "weights <i>filled</i> on the reported split"
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    try:
        (folder / "summary.csv").write_text(text.getvalue())
        told = [cells for cells in Page(write_report(folder, catalog).read_text()).rows if len(cells) == 11]
    finally:
        (folder / "summary.csv").write_text(before)
    assert sum("weights <i>filled</i> on the reported split" in cells[0] for cells in told) == 1


def decoded(uri: str) -> Array:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_heat_with_sign_is_transparent_at_zero() -> None:
    values = np.zeros((32, 32), np.float32)
    values[:, :8], values[:, 24:] = -2.0, 1.0
    made = heat(values)
    pixels = decoded(made.uri).astype(int)
    assert (made.signed, made.low, made.high) == (True, -2.0, 2.0)
    assert pixels[16, 16, 3] < 10
    assert pixels[16, 3, 3] > 245
    assert pixels[16, 3, 2] > pixels[16, 3, 0]
    assert pixels[16, 28, 0] > pixels[16, 28, 2]
    assert abs(pixels[16, 28, 3] - 255 * 0.5**0.5) < 8


def test_heat_without_sign_grows_with_the_value() -> None:
    values = np.repeat(np.linspace(1, 3, 64, dtype=np.float32)[None], 64, axis=0)
    made = heat(values)
    alpha = decoded(made.uri)[32, :, 3].astype(int)
    assert not made.signed
    assert made.low == 1
    assert alpha[2] < alpha[20] < alpha[40] < alpha[60]


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_heat_of_one_value_has_colours(value: float) -> None:
    assert np.isfinite(decoded(heat(np.full((8, 8), value, np.float32)).uri)).all()


def test_photograph_lies_on_the_grid() -> None:
    rows, columns = np.mgrid[0:120, 0:160]
    image = np.stack([rows, columns, 0 * rows]).astype(np.uint8)
    native = Sample("a", image)
    prepared = Resize(size=40, fit="pad")(native)
    shown = np.asarray(photograph(native, prepared)).astype(float)
    assert shown.shape == (40, 40, 3)
    plain = image.reshape(3, 30, 4, 40, 4).mean((2, 4)).transpose(1, 2, 0)
    assert abs(shown[6:34, 1:39] - plain[1:29, 1:39]).max() <= 1
    assert (shown[:4] == 0).all()


def test_photograph_of_a_part_that_the_dataset_cut_out() -> None:
    image = np.random.default_rng(0).integers(0, 255, (1, 24, 24)).astype(np.uint8)
    shifted = Geometry(np.array([[1.0, 0, 100], [0, 1, 50], [0, 0, 1]]), (300, 300))
    native = Sample("a", image, geometry=shifted)
    shown = np.asarray(photograph(native, Resize(size=24)(native)))
    assert (shown[..., 0] == image[0]).all()


def test_outline_runs_round_the_mask() -> None:
    mask = np.zeros((40, 50), np.float32)
    mask[10:14, 20:30] = 0.2
    (layer,) = outlines(
        Sample("a", np.zeros((3, 40, 50)), (Annotation("spot", mask), Annotation("none", 0 * mask))), ()
    )
    (line,) = re.findall(r"M([^z]*)z", layer.path)
    points = np.cumsum(np.array(line.replace("l", " ").split(), float).reshape(-1, 2), axis=0)
    low, high = points.min(0), points.max(0)
    assert layer.finding == "spot"
    assert layer.share == pytest.approx(0.2 * 40 / 2000)
    assert np.abs(low - [20 - 2.5, 10 - 2.5]).max() < 1
    assert np.abs(high - [30 + 2.5, 14 + 2.5]).max() < 1


def test_findings_keep_their_style() -> None:
    mask = np.ones((8, 8), np.float32)
    alone = outlines(Sample("a", np.zeros((3, 8, 8)), (Annotation("second", mask),)), ("first", "second"))
    both = outlines(Sample("a", np.zeros((3, 8, 8)), (Annotation("first", mask), Annotation("second", mask))), ())
    assert (alone[0].colour, alone[0].dash) == (both[1].colour, both[1].dash)
    assert both[0].colour != both[1].colour
    assert both[0].dash != both[1].dash


def test_volume_shows_its_fullest_slice() -> None:
    image = np.zeros((1, 5, 16, 16), np.float32)
    image[0, 3, :8] = 1
    mask = np.zeros((5, 16, 16), np.float32)
    mask[3, 4:8, 4:8] = 1
    sample = Sample("a", image, (Annotation("spot", mask),), geometry=Geometry.identity((5, 16, 16)))
    values = np.zeros((5, 16, 16), np.float32)
    values[3] = np.arange(16)
    made = picture(sample, sample, values, ())
    assert made.remark.startswith("Slice 4 of 5")
    assert decoded(made.photograph)[:, :, 0].mean() == pytest.approx(127.5, abs=8)
    assert made.heat.high == pytest.approx(15)


def test_heatmap_of_another_size_is_refused() -> None:
    sample = Sample("a", np.zeros((1, 8, 8), np.float32))
    with pytest.raises(DataError, match="have changed"):
        picture(sample, sample, np.zeros((4, 4), np.float32), ())


@pytest.mark.parametrize(
    ("p", "difference", "higher", "words"),
    [
        (0.01, 0.2, True, "It is better than"),
        (0.01, 0.2, False, "It is worse than"),
        (0.01, -0.2, False, "It is better than"),
        (0.05, 0.2, True, "does not tell it apart"),
        (float("nan"), 0.2, True, "could not be tested"),
    ],
)
def test_leader_against_chance(p: float, difference: float, higher: bool, words: str) -> None:
    row = {"value": 0.5, "p_random_holm": p, "difference_to_random": difference}
    leader, chance = (Entry("a", "", baseline, "", {}, {}, row) for baseline in (False, True))
    ranking = Ranking("d", "all", "m", Standard("v", higher), ("v",), (leader, chance), ())
    assert words in standing(ranking, 0.05)


def test_the_leader_meets_the_baseline_of_its_own_model() -> None:
    def entry(model: str, value: float, baseline: bool = False) -> Entry:
        row = {"value": value, "model": model, "target": "predicted"}
        return Entry(model, "", baseline, "", {}, {}, row)

    own, other, shared = entry("net", 0.2, True), entry("other", 0.3, True), entry("", 0.1, True)
    ranking = Ranking("d", "all", "m", Standard("v"), ("v",), (entry("net", 0.5), entry("other", 0.4), other, own), ())
    assert ranking.opponents == [own]
    alone = Ranking("d", "all", "m", Standard("v"), ("v",), (entry("net", 0.5), shared), ())
    assert alone.opponents == [shared]


def test_nothing_is_drawn_where_nothing_has_a_value(folder: Path, catalog: Catalog, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "run")
    summary = tmp_path / "run/summary.csv"
    with summary.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    with summary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "value": ""} for row in rows)
    page = write_report(tmp_path / "run", catalog).read_text()
    assert "No combination has a value." in page
    assert '<figure class="chart">' not in page


@pytest.mark.parametrize(("higher", "best"), [(True, {"v": 0.7, "cost": 1.0}), (False, {"v": 0.2, "cost": 3.0})])
def test_each_measure_leads_in_its_own_direction(higher: bool, best: dict[str, float]) -> None:
    values = [{"v": 0.2, "cost": 3.0}, {"v": 0.7, "cost": 1.0}]
    entries = tuple(
        Entry(
            str(number), "", False, "", {}, {name: {"value": value} for name, value in row.items()}, {"value": row["v"]}
        )
        for number, row in enumerate(values)
    )
    standard = Standard("v", higher, frozenset({"cost"}))
    assert Ranking("d", "all", "m", standard, ("v", "cost"), entries, ()).leaders == best


def test_parity_and_the_correction_are_told(catalog: Catalog, tmp_path: Path) -> None:
    config = {
        "output": str(tmp_path), "datasets": [{"use": "pictures"}], "models": ["net"], "explainers": ["slope"],
        "metrics": ["inside"], "device": "cpu", "rows": 4, "threads": 1,
        "statistics": {"permutations": 16, "interval": "parity", "correction": "benjamini_hochberg"},
    }  # fmt: skip
    html = unescape(write_report(run(from_plain(config, catalog), catalog).folder, catalog).read_text())
    assert html.count("⚑ parity with paper 004: median and percentiles of 30 resamples of 55 to 60 cases") == 4
    assert "after correction by Benjamini and Hochberg" in html
    assert "Holm" not in html


@pytest.fixture(scope="module")
def keeping(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = {
        "output": str(tmp_path_factory.mktemp("keeping")), "datasets": [{"use": "pictures"}], "models": ["net"],
        "explainers": ["keeping"], "metrics": ["inside"], "device": "cpu", "rows": 4, "threads": 1,
        "statistics": {"resamples": 50, "permutations": 16}, "report": {"examples": 5},
    }  # fmt: skip
    return run(from_plain(config, catalog), catalog).folder


def kept_parts(html: str) -> dict[int, str]:
    """The place of a case → what its figure shows of the kept arrays."""
    figures = re.findall(r'<figure class="case">.*?</figure>', html, re.DOTALL)
    found = {}
    for figure in figures:
        (part,) = re.findall(r'<details class="kept">.*?</details>', figure, re.DOTALL)
        found[place(unescape(re.findall(r"<strong>(.*?)</strong>", figure)[0]))] = part
    return found


def test_kept_arrays_are_shown_step_by_step(keeping: Path, catalog: Catalog) -> None:
    html = write_report(keeping, catalog).read_text()
    assert Page(html).stack == []
    parts = kept_parts(html)
    assert len(parts) == 10
    assert 9 in parts
    for case, part in parts.items():
        count = 2 + case % 2 + 8 * (case == 9)
        page = Page(part)
        shown = min(count, STEPS)
        rows = {cells[0].partition(" ")[0]: cells[1:] for cells in page.rows}
        assert list(rows) == ["Step", "<b>images", "class", "masks", "scores"]
        assert [rows["Step"][0], rows["Step"][-1], len(rows["Step"])] == ["0", str(count - 1), shown]
        assert rows["scores"] == [f"{int(step) + 0.25:.3g}" for step in rows["Step"]]
        told = [image["alt"] for image in page.all("img")]
        assert told.count("class, step 0") == 1
        assert sum(str(alt).startswith("<b>images, step ") for alt in told) == shown
        assert sum(str(alt).startswith("masks, step ") for alt in told) == shown - 1
        assert all(str(image["src"]).startswith("data:image/webp;base64,") for image in page.all("img"))
        (region,) = [attributes for _, attributes in page.elements if attributes.get("role") == "region"]
        assert region["tabindex"] == "0"
        assert "What keeping kept: &lt;b&gt;images, class, masks, scores, table (3, 5)" in part
        assert "In the run's folder only: table (3, 5)." in part
        assert ("8 of 11 steps." in part) == (case == 9)
        assert [label in part for label in ("none", "left", "right")] == [True] * 3


def test_kept_arrays_give_the_same_bytes_again(keeping: Path, catalog: Catalog) -> None:
    first = write_report(keeping, catalog).read_bytes()
    assert write_report(keeping, catalog).read_bytes() == first


def test_a_kept_array_that_is_damaged_costs_one_case(keeping: Path, catalog: Catalog) -> None:
    (array,) = keeping.glob("heatmaps/*/kept_masks.zarr")
    chunks = sorted((array / "c").iterdir(), key=lambda path: int(path.name))
    moved = chunks[0].rename(keeping / "moved")
    try:
        html = write_report(keeping, catalog).read_text()
    finally:
        moved.rename(chunks[0])
    assert "maps are missing" in html
    assert "kept_masks.zarr is damaged" in html


def sample(space: tuple[int, ...] = (16, 16)) -> Sample:
    return Sample("a", np.zeros((3, *space), np.float32))


def test_steps_that_only_fill_up_are_left_out() -> None:
    pictures = np.full((5, 3, 16, 16), np.nan, np.float32)
    pictures[:3] = 1
    pictures[1] = np.nan
    found = sequence(pictures, (16, 16))
    assert found is not None
    assert len(found) == 3
    numbers = sequence(np.array([1, 2, np.nan, np.nan]), (16, 16))
    assert numbers is not None
    assert numbers.tolist() == [1, 2]
    assert [sequence(np.zeros(shape), (16, 16)) for shape in ((3, 4), (2, 1, 3, 16, 16), (16, 3))] == [None] * 3


def test_nothing_kept_shows_nothing() -> None:
    values = np.zeros((16, 16), np.float32)
    assert kept({}, sample(), values, ()) is None
    assert kept({"masks": np.full((3, 16, 16), np.nan)}, sample(), values, ()) is None


def test_masks_keep_every_pixel() -> None:
    masks = np.random.default_rng(0).random((3, 300, 300)) > 0.5
    made = kept({"masks": masks.astype(np.float32)}, sample((300, 300)), np.zeros((300, 300)), ())
    assert made is not None
    for mask, cell in zip(masks, made.strips[0].cells, strict=True):
        assert np.array_equal(decoded(cell)[..., 0] > 127, mask)


def test_class_maps_have_a_colour_per_class() -> None:
    indices = np.arange(256, dtype=np.float32).reshape(16, 16) % 4 - 1
    made = kept({"class": indices}, sample(), np.zeros((16, 16)), ("first", "second"))
    assert made is not None
    (strip,) = made.strips
    assert [label for _, label in strip.legend] == ["none", "first", "second", "2"]
    assert [colour for colour, _ in strip.legend][1:] == list(PALETTE[:3])
    pixels = decoded(strip.cells[0])
    for index, (colour, _) in enumerate(strip.legend, start=-1):
        assert {"#" + bytes(pixel).hex() for pixel in pixels[indices == index].tolist()} == {colour}


def test_a_map_of_two_classes_is_no_mask() -> None:
    made = kept({"class": np.ones((16, 16), np.float32)}, sample(), np.zeros((16, 16)), ("first", "second"))
    assert made is not None
    assert made.strips[0].legend == ((PALETTE[1], "second"),)


def test_brightness_and_heat_mean_the_same_at_every_step() -> None:
    steps = np.array([0.0, 1.0, 2.0, 4.0])
    maps = np.ones((4, 16, 16)) * steps[:, None, None]
    made = kept({"maps": maps, "pictures": maps[:, None]}, sample(), maps[0], ())
    assert made is not None
    heats, pictures = ([decoded(cell).astype(int).sum() for cell in strip.cells] for strip in made.strips)
    assert heats == sorted(set(heats))
    assert heats[0] == 0
    grey = [decoded(cell)[..., 0].mean() for cell in made.strips[1].cells]
    assert grey == pytest.approx(255 * steps / 4, abs=3)
    assert len(set(pictures)) == 4


def test_long_sequences_stay_small() -> None:
    draw = np.random.default_rng(0)
    pictures = draw.random((40, 3, 300, 250), np.float32)
    made = kept({"images": pictures, "maps": pictures[:, 0]}, sample((300, 250)), pictures[0, 0], ())
    assert made is not None
    assert made.count == 40
    assert len(made.steps) == STEPS
    assert (made.steps[0], made.steps[-1]) == (0, 39)
    sizes = {decoded(cell).shape for strip in made.strips for cell in strip.cells}
    assert sizes == {(SIZE, round(SIZE * 250 / 300), 3)}


def test_volumes_show_their_fullest_slice() -> None:
    volume = np.zeros((2, 5, 16, 16), np.float32)
    volume[:, 3, 4:8] = 1
    heat = np.zeros((5, 16, 16), np.float32)
    heat[3] = 1
    made = kept({"masks": volume}, sample((5, 16, 16)), heat, ())
    assert made is not None
    assert np.array_equal(decoded(made.strips[0].cells[1])[..., 0] > 127, volume[1, 3] > 0)
