"""Several runs in one report: the same numbers as one run of all, and what is not comparable is refused."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from heatproof.cli.commands import cli
from heatproof.errors import StoreError
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import Announcement
from heatproof.results.answer import answer
from heatproof.results.finished import Results
from heatproof.results.joined import _require_same_cases, _require_same_files, join
from heatproof.results.ranking import rankings
from heatproof_report.page import write_page

Ran = Callable[..., Any]


def run_of(ran: Ran, folder: Path, *explainers: str, **settings: Any) -> Path:
    config = {"report": {"figures": False}, "output": str(folder), "explainers": list(explainers), **settings}
    return Path(ran(**config).folder)


def test_joined_runs_have_the_numbers_of_one_run(ran: Ran, parts: Catalog, tmp_path: Path) -> None:
    first = run_of(ran, tmp_path / "a", "slope")
    second = run_of(ran, tmp_path / "b", "noted")
    joined = join([Results(first, parts), Results(second, parts)], tmp_path / "joined")
    together = Results(run_of(ran, tmp_path / "all", "slope", "noted"), parts)
    columns = ("value", "low", "high", "p_random", "difference_to_random", "n_valid")
    values = {
        row["explainer"]: [row[name] for name in columns]
        for row in together.summary
        if row["measure"] == "value" and not row["baseline"]
    }
    assert values == {
        row["explainer"]: [row[name] for name in columns]
        for row in joined.summary
        if row["measure"] == "value" and not row["baseline"]
    }
    (pair,) = [row for row in together.comparisons if "random" not in (row["a"], row["b"])]
    (again,) = [row for row in joined.comparisons if "random" not in row["a"] + row["b"]]
    assert (again["a"], again["b"]) == ("a: regions × slope", "b: regions × noted")
    assert (abs(again["difference"]), again["p"]) == (abs(pair["difference"]), pair["p"])
    assert [row["best_share"] for row in joined.ranks] == [row["best_share"] for row in together.ranks]
    page = write_page(joined)
    assert page == tmp_path / "joined/report.html"
    html = page.read_text()
    assert answer(rankings(joined)[0]).split(" (")[0] in html
    assert r'"name":"images \u00b7 test \u00b7 a: regions"' in html
    assert "This case cannot be shown" not in html.split("<script>")[0]
    assert html.count('<figure class="case">') >= 8


def test_tables_of_subgroups_are_not_joined(ran: Ran, parts: Catalog, tmp_path: Path) -> None:
    first = run_of(ran, tmp_path / "a", "slope", by=["label", "eye"])
    second = run_of(ran, tmp_path / "b", "noted")
    joined = join([Results(first, parts), Results(second, parts)], tmp_path / "joined")
    assert (joined.subgroups, joined.config["by"]) == ([], [])
    assert not (tmp_path / "joined/subgroups.csv").exists()
    (row,) = joined.skipped
    assert (row["model"], row["reason"]) == ("a", f"tables by label, eye are not joined; see {first}/subgroups.csv")
    assert "By subgroup" not in write_page(joined).read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metrics": [{"use": "mass", "scale": 2.0}]}, "the settings of the metric of images · test"),
        ({"datasets": [{"use": "images", "split": "test", "count": 12}]}, "the settings of the dataset of images"),
        ({"datasets": [{"use": "images", "split": "tuning", "count": 16}]}, "have no ranking in common"),
        ({"statistics": {"resamples": 51, "permutations": 50}}, "the statistics differ: resamples is 50 in a and 51"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused(
    settings: dict[str, Any], message: str, ran: Ran, parts: Catalog, tmp_path: Path
) -> None:
    runs = [run_of(ran, tmp_path / "a", "slope"), run_of(ran, tmp_path / "b", "slope", **settings)]
    with pytest.raises(StoreError) as error:
        join([Results(folder, parts) for folder in runs], tmp_path / "joined")
    assert message in str(error.value)
    assert not (tmp_path / "joined").exists()


def test_the_folder_of_a_run_is_no_output(ran: Ran, parts: Catalog, tmp_path: Path) -> None:
    first = run_of(ran, tmp_path / "a", "slope")
    with pytest.raises(StoreError, match="two runs have the name"):
        join([Results(first, parts), Results(first, parts)], tmp_path / "joined")
    with pytest.raises(StoreError, match="a is the folder of a run; choose another --output"):
        join([Results(first, parts)], first)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ({"x", "y", "z"}, {"x"}, "b lacks 2 of the cases that a has of d · m, such as y"),
        ({"x"}, {"x", "y"}, "a lacks 1 of the cases that b has of d · m, such as y"),
    ],
)
def test_other_cases_are_refused(before: set[str], after: set[str], message: str) -> None:
    with pytest.raises(StoreError, match=f"these runs cannot be compared: {message}"):
        _require_same_cases("d · m", ("a", None), ("b", None), (before, after))
    _require_same_cases("d · m", ("a", None), ("b", None), (before, before))


def test_other_contents_of_files_are_refused() -> None:
    def stored(**files: str) -> Any:
        return SimpleNamespace(run=SimpleNamespace(keys=lambda kind: {"k"}, meta=lambda kind, key: {"files": files}))

    same = ("a", stored(x="1", y="2"))
    _require_same_files(same, ("b", stored(x="1", z="3")))
    with pytest.raises(StoreError, match="y has another content in b than in a"):
        _require_same_files(same, ("b", stored(x="1", y="3")))


def test_the_command_joins_runs(ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reporting = Catalog([
        Announcement("parts", "heatproof_parts", "heatproof-parts", "1.0"),
        Announcement("report", "heatproof_report", "heatproof-report", "0.1.0"),
    ])  # fmt: skip
    monkeypatch.setattr("heatproof.registry.catalog.default", lambda: reporting)
    folders = [run_of(ran, tmp_path / name, "slope") for name in ("a", "b")]
    result = CliRunner().invoke(cli, ["report", *map(str, folders)])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("a: regions × slope and b: regions × slope cannot be told apart")
    assert result.output.endswith(f"wrote {tmp_path / 'a+b/report.html'}\n")
