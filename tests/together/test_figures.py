"""Figures of a run: what they show, their files, and the sentences for names and options that do not exist."""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from heatproof.cli.commands import cli
from heatproof.errors import HeatproofError, PluginError
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import Announcement
from heatproof.results.answer import groups
from heatproof.results.figures import figure, figure_names
from heatproof.results.finished import Results, read_rows
from heatproof.results.ranking import rankings
from heatproof.results.tabular import as_latex
from heatproof_report.figures import selected
from heatproof_report.files import file_name
from heatproof_report.layers import heat, with_common_scale
from heatproof_report.page import write_page

Ran = Callable[..., Any]


@pytest.fixture(scope="module")
def reporting() -> Catalog:
    return Catalog([
        Announcement("parts", "heatproof_parts", "heatproof-parts", "1.0"),
        Announcement("report", "heatproof_report", "heatproof-report", "0.1.0"),
    ])  # fmt: skip


@pytest.fixture
def folder(ran: Ran) -> Path:
    return Path(ran(explainers=["slope", "noted"], models=["regions", "swapped"]).folder)


def texts(drawn: Any) -> list[str]:
    """The titles of the panels that show something."""
    return [axes.get_title() for axes in drawn.axes if axes.images]


def test_figures_by_name(folder: Path, reporting: Catalog) -> None:
    results = Results(folder, reporting)
    assert figure_names(results) == ["cases", "ranking"]
    (board,) = rankings(results)
    (plot, *_) = figure(results, "ranking").axes
    assert [label.get_text() for label in plot.get_yticklabels()] == [entry.name for entry in board.entries]
    (beside,) = plot.child_axes
    letters = groups(board)
    assert [label.get_text() for label in beside.get_yticklabels()] == [
        letters.get(entry.row["combination"], "") for entry in board.entries
    ]
    dots = [line.get_xdata()[0] for line in plot.lines if line.get_marker() in "oD"]
    assert dots == [entry.value for entry in board.entries]
    drawn = figure(
        results, "heatproof-report/cases", cases=["blob-009"], explainers=["noted", "slope"], model="regions"
    )
    assert texts(drawn) == ["blob-009", "noted", "slope"]
    assert texts(figure(results, "cases", cases=["blob-009"]))[:3] == ["blob-009\nregions", "noted", "slope"]


REFUSED: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("rank", {}, "no figure is named 'rank'; did you mean 'ranking'?; figures come with plugins"),
    ("ranking", {"measure": 1}, "the figure 'ranking' has no option 'measure'; allowed: dataset, metric"),
    ("ranking", {"metric": "auc"}, "this run has no ranking by auc on any dataset"),
    ("cases", {"cases": ["blob-999"]}, "no case of this run is named 'blob-999'; did you mean "),
    ("cases", {"explainers": ["slop"]}, "no explainer of this run is named 'slop'; did you mean 'slope'?"),
    ("cases", {"model": "net"}, "no model of this run is named 'net'; allowed: "),
    ("cases", {"scale": "all"}, "the colour scale is 'all'; allowed: common, own"),
)


def test_what_does_not_exist_is_refused(ran: Ran, reporting: Catalog) -> None:
    folder = ran().folder
    for name, options, message in REFUSED:
        with pytest.raises(HeatproofError) as error:
            figure(Results(folder, reporting), name, **options)
        assert message in str(error.value)
    with pytest.raises(PluginError, match="no figure is named 'cases'; allowed: none"):
        figure(Results(folder, Catalog([])), "cases")


def test_names_with_commas_and_brackets() -> None:
    allowed = ["lrp(preset=z, x=1)", "lrp(preset=b)", "gradcam", "a,b"]
    assert selected(["lrp(preset=z, x=1)"], allowed, "x") == [allowed[0]]
    assert selected(["lrp"], allowed, "x") == allowed[:2]
    assert selected(["gradcam, a,b"], [*allowed, "a", "b"], "x") == ["gradcam", "a", "b"]
    assert selected(["a,b", "gradcam"], allowed, "x") == ["a,b", "gradcam"]


def test_one_scale_covers_all_heatmaps() -> None:
    maps = [heat("a", np.array([[0.0, 2.0]])), heat("b", np.array([[-1.0, 4.0]]))]
    assert [(entry.low, entry.high, entry.signed) for entry in with_common_scale(maps)] == [
        (-maps[1].high, maps[1].high, True)
    ] * 2
    grey = np.full((1, 2), 100, np.uint8)
    assert maps[0].over(grey)[0, 0].tolist() == [80] * 3


def test_the_command_writes_a_file(
    ran: Ran, reporting: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heatproof.registry.catalog.default", lambda: reporting)
    words = ["figure", str(ran().folder), "--cases", "blob-009,blob-010", "--explainers", "slope"]
    for suffix, head in (("pdf", b"%PDF"), ("svg", b"<?xml")):
        path = tmp_path / f"figure.{suffix}"
        result = CliRunner().invoke(cli, [*words, "--output", str(path)])
        assert result.output == f"wrote {path}\n"
        assert path.read_bytes().startswith(head)
    refused = CliRunner().invoke(cli, [*words, "--output", "figure.jpg"])
    assert refused.exit_code == 1
    assert "--output is figure.jpg; its name must end in .pdf, .svg, .png." in refused.output
    missing = CliRunner().invoke(cli, [*words, "--output", str(tmp_path / "no/figure.pdf")])
    assert "cannot be written: No such file or directory; choose another --output." in missing.output


@pytest.mark.slow
def test_files_beside_the_page(ran: Ran, reporting: Catalog) -> None:
    folder = ran(report={"examples": 1}).folder
    write_page(Results(folder, reporting))
    names = {path.name for path in (folder / "report/figures").iterdir()}
    stems = {name.rsplit(".", 1)[0] for name in names}
    assert names == {f"{stem}.{suffix}" for stem in stems for suffix in ("svg", "pdf", "png")}
    assert {stem for stem in stems if stem.startswith("ranking")} == {"ranking-images-test-mass"}
    shown = set(re.findall(r"<figcaption>\s*<strong>(.*?)</strong>", (folder / "report.html").read_text()))
    assert {stem for stem in stems if stem.startswith("case")} == {f"case-images-test-regions-{case}" for case in shown}
    picture = next((folder / "report/figures").glob("case-*.png"))
    first = picture.read_bytes()
    assert np.asarray(Image.open(picture)).std() > 10
    with (folder / "report/tables/ranking-images-test-mass.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    values = {row["explainer"]: row["value"] for row in read_rows(folder / "summary.csv") if row["measure"] == "value"}
    assert {float(row["Value"]) for row in rows} >= set(values.values())
    latex = (folder / "report/tables/ranking-images-test-mass.tex").read_text()
    assert latex.count(r" \\") == len(rows) + 1
    assert r"regions $\times$ slope" in latex
    write_page(Results(folder, reporting))
    assert picture.read_bytes() == first


def test_no_figures_where_the_config_says_so(ran: Ran, reporting: Catalog) -> None:
    folder = ran(report={"figures": False}).folder
    write_page(Results(folder, reporting))
    assert [path.name for path in (folder / "report").iterdir()] == ["tables"]


def test_latex_is_escaped() -> None:
    hostile = "\\input{/etc/passwd} $x_1^2$ 50% #&~<>\n\x00"
    table = as_latex([["Name", "Value"], [hostile, -0.5], ["plain", float("nan")]])
    assert r"\textbackslash{}input\{/etc/passwd\} \$x\_1\textasciicircum{}2\$ 50\% \#\&\textasciitilde{}" in table
    assert table.startswith("\\begin{tabular}{lr}\n\\toprule\nName & Value \\\\")
    assert "& $-$0.500 \\\\" in table
    assert "\x00" not in table
    assert not re.findall(r"\\(?!begin|end|toprule|midrule|bottomrule|text|[{}$&#%_])", table.replace(r"\\", ""))


def test_file_names_are_plain_and_distinct() -> None:
    names = [file_name(*parts) for parts in (("a", "b"), ("a/b",), ("a b",), ("../x",), ("é" * 200,), ("é" * 201,))]
    assert names[0] == "a-b"
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,90}", name) and not name.startswith(".") for name in names[:-2])
