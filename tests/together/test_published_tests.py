"""Two models and candidate lists in one run: tests in closed form beside permutation tests, lists by their ids."""

from pathlib import Path

import numpy as np
import pytest

from heatproof.config.settings import from_plain
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import Announcement, discover
from heatproof.results.finished import read_rows
from heatproof.results.parquet import read_table
from heatproof.run.runner import run
from heatproof_auc.delong import paired
from heatproof_parts import Images

pytestmark = pytest.mark.slow
PLUGINS = ("heatproof_auc", "heatproof_froc")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    ids = Images(count=24).ids("test")
    rows = [f"{id},{index % 16},{index % 7},{index / 10}" for index, id in enumerate(ids)]
    (folder / "list.csv").write_text("\n".join(["id,x,y,score", *rows]))
    plugins = [plugin for plugin in discover()[0] if plugin.target in PLUGINS]
    catalog = Catalog([*plugins, Announcement("parts", "heatproof_parts", "heatproof-parts", "1.0")])
    settings = {
        "output": str(folder / "run"), "datasets": [{"use": "images", "count": 24, "split": "test"}],
        "models": ["regions", "linear"], "explainers": ["slope"],
        "metrics": ["auc", {"use": "froc_candidates", "distance": 2},
                    {"use": "froc_candidates", "table": str(folder / "list.csv")}],
        "statistics": {"resamples": 50, "permutations": 50}, "cache": False,
    }  # fmt: skip
    return Path(run(from_plain(settings, catalog), catalog).folder)


def test_two_models_are_compared_in_closed_form(finished: Path) -> None:
    (row,) = [row for row in read_rows(finished / "comparisons.csv") if row["metric"] == "auc"]
    table = read_table(finished / "scores.parquet")
    scores = []
    for model in ("regions", "linear"):
        of_class = (table["metric"] == "auc") & (table["measure"] == "left")
        positions = np.flatnonzero((table["model"] == model) & of_class)
        scores.append(np.stack(table["array"][positions]))
    patients = table["patient"][positions].tolist()
    expected = paired(scores[0][:, 0], scores[1][:, 0], scores[0][:, 1] == 1, patients)
    assert (row["closed_form"], row["p_closed_form"]) == (expected.name, pytest.approx(expected.p))
    assert row["p_closed_form_holm"] == row["p_closed_form"]
    assert 0 < row["p_closed_form"] <= 1


def test_candidates_of_heatmaps_are_compared_and_those_of_a_table_stand_alone(finished: Path) -> None:
    rows = [row for row in read_rows(finished / "summary.csv") if row["measure"] == "point"]
    assert {(row["metric"].partition("(")[2][:5], row["explainer"]) for row in rows} == {
        ("table", ""), ("dista", "slope"), ("dista", "random")
    }  # fmt: skip
    assert all(0 <= row["value"] <= 1 and row["n_valid"] == row["n_patients"] * 2 for row in rows)
    compared = read_rows(finished / "comparisons.csv")
    assert {"regions × slope", "random"} in [{row["a"], row["b"]} for row in compared]
