"""Names of entries: what tables show, which names are refused, and that none changes a number or a key."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heatproof.component import Component, Location, Params
from heatproof.config.settings import from_plain, resolved
from heatproof.errors import ConfigError
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.plan.task import label, labels
from heatproof.results.finished import Results
from heatproof.results.parquet import read_table
from heatproof.results.ranking import rankings
from heatproof.testing.toys import Residual

NAMED = {
    "datasets": [{"use": "images", "split": "test", "count": 16, "name": "Our <eyes>"}],
    "models": [{"use": "regions", "name": "Ours"}],
    "explainers": [{"use": "slope", "name": "Plain"}, {"use": "layered", "layer": "all", "name": "Map"}],
    "metrics": [{"use": "mass", "name": "Share"}],
}


class ArchitectureParams(Params):
    """An architecture by its name, as a library has it."""

    name: str = "small"
    classes: tuple[str, ...] = ("a",)
    weights: Location | None = None
    inner: Component | None = None
    files: tuple[Location, ...] = ()


class Architecture(Explainer[ArchitectureParams]):
    """A component that has a Param ``name``."""

    def explain(self, batch: Any) -> Any:
        """Nothing."""
        raise NotImplementedError


def table(finished: Any) -> dict[str, Any]:
    return read_table(finished.folder / "scores.parquet")


def test_tables_and_rankings_show_the_names(ran: Callable[..., Any], parts: Any) -> None:
    finished = ran(**{**NAMED, "models": [{"use": "residual", "name": "Ours"}]})
    columns = table(finished)
    shown = {name: {*columns[name]} - {""} for name in ("dataset", "model", "explainer", "metric")}
    assert shown.pop("explainer") > {"Plain", "random"}
    assert shown == {"dataset": {"Our <eyes>"}, "model": {"Ours"}, "metric": {"Share"}}
    assert {text.partition("=")[0] for text in columns["explainer"]} == {"Plain", "random", "Map(layer"}
    (ranking,) = rankings(Results(finished.folder, parts))
    assert (ranking.dataset, ranking.metric) == ("Our <eyes>", "Share")
    assert "Ours × Plain" in [entry.name for entry in ranking.entries]
    provenance = json.loads((finished.folder / "provenance.json").read_text())
    assert [entry["title"] for entry in (*provenance["datasets"], *provenance["models"])] == ["Our <eyes>", "Ours"]


def test_a_new_name_computes_nothing_and_changes_no_number(ran: Callable[..., Any], calls: Any) -> None:
    lists = {"models": ["regions"], "explainers": ["slope"], "metrics": ["mass"]}
    before = table(ran(**lists))
    assert calls("explain", "measure")
    after = table(ran(**{**lists, "models": NAMED["models"], "metrics": NAMED["metrics"]}))
    assert calls("explain", "measure") == []
    assert np.array_equal(before["value"], after["value"])
    assert {*before["model"]} == {"regions", ""}
    assert {*after["model"]} == {"Ours", ""}
    assert np.array_equal(before["settings"], after["settings"])


def test_a_name_is_in_the_resolved_config_and_in_no_identity(configured: Callable[..., Any], parts: Any) -> None:
    config = configured(**NAMED)
    again = from_plain(resolved(config), parts)
    for first, second in zip((*config.models, *config.explainers), (*again.models, *again.explainers)):
        plain = first.with_()
        plain._naming = None
        assert (first.short, label(first)) == (second.short, label(second))
        assert first.identity == second.identity == plain.identity
        assert first.describe() == plain.describe()
        assert label(pickle.loads(pickle.dumps(first))) == label(first)
    assert [entry.component.short for entry in again.datasets] == ["Our <eyes>"]
    assert resolved(again) == resolved(config)


def test_rows_name_entries_by_their_names(configured: Callable[..., Any]) -> None:
    explainers = [{"use": "slope", "name": "One"}, {"use": "slope", "factor": 2.0, "name": "Two"}]
    row = {"dataset": "images", "model": "regions", "explainer": "Two"}
    config = configured(explainers=explainers, combinations=[row])
    assert config.combinations[0].explainer is config.explainers[1]


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"explainers": [{"use": "slope", "name": "A"}, {"use": "noted", "name": "A"}]},
         "explainers: 'A' is the name of two of them; give them different names"),
        ({"explainers": [{"use": "slope", "name": "noted"}, "noted"]}, "'noted' is the name of two of them"),
        ({"explainers": [{"use": "slope", "name": "A"}, "slope"]},
         "'A' and 'slope' have equal settings; give them one name"),
        ({"models": [{"use": "regions", "name": "A"}, {"use": "regions", "name": "B"}]},
         "models: 'A' and 'B' have equal settings; give them one name"),
        ({"models": [{"use": "regions", "name": ""}]}, "name: should be a label of 1 to 60 printable characters"),
        ({"models": [{"use": "regions", "name": "a\nb"}]}, "name: should be a label of 1 to 60 printable characters"),
        ({"models": [{"use": "regions", "name": 5}]}, "(seen: 5)"),
        ({"metrics": [{"use": "mass", "name": "x" * 61}]}, "name: should be a label of 1 to 60 printable characters"),
        ({"executor": {"use": "serial", "name": "A"}}, ""),
    ],
)  # fmt: skip
def test_names_that_tell_nothing_apart_are_refused(
    lists: dict[str, Any], message: str, configured: Callable[..., Any]
) -> None:
    if not message:
        assert configured(**lists).executor.short == "A"
        return
    with pytest.raises(ConfigError) as refused:
        configured(**lists)
    assert message in str(refused.value)


def test_the_value_of_a_param_name_is_the_label_and_differing_settings_follow(tmp_path: Path) -> None:
    first = Architecture(name="resnet18", classes=("a", "b"), weights=tmp_path / "x/mine.pt")
    second = Architecture(name="resnet18", classes=("a", "b"))
    for path in (tmp_path / "x/mine.pt",):
        path.parent.mkdir()
        path.touch()
    assert label(first) == "resnet18"
    assert [*labels([first, second]).values()] == ["resnet18(weights=mine.pt)", "resnet18"]
    assert label(Architecture()) == "small"
    assert label(second.with_name("Ours")) == "Ours"
    assert label(second.with_name("Ours").with_(classes=("c",))) == "Ours(classes=['c'])"


def test_no_label_has_a_folder_or_a_default(tmp_path: Path) -> None:
    inner = Architecture(name="inner")
    component = Architecture(name="", inner=inner, files=[tmp_path / "a.png", tmp_path / "b/c.png"])
    assert label(component) == "Architecture(name=, inner=inner, files=['a.png', 'c.png'])"
    assert label(Model.of(Residual().build(), classes=("a", "b"))) == "_Residual"
