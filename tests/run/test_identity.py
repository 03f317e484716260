"""A stored number belongs to the weights and the code that made it: runs before and after an edit, in one folder."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.errors import ModelError
from heatproof.explainer import Explainer
from heatproof.metric import Case, Metric
from heatproof.model import Model
from heatproof.passes import gradients
from heatproof.plan.task import label
from heatproof.results.finished import read_rows
from heatproof.results.parquet import read_table
from heatproof.testing.toys import SIDES, Blobs, Blocks, Residual
from heatproof_processes.processes import Processes

pytestmark = pytest.mark.slow

Ran = Callable[..., Any]
NETWORKS: dict[str, nn.Module] = {}


@pytest.fixture(autouse=True)
def network() -> Iterator[nn.Module]:
    """The network at hand, which ``AtHand`` returns."""
    NETWORKS["at hand"] = Residual().build()
    yield NETWORKS["at hand"]
    NETWORKS.clear()


class AtHand(Model):
    """A model that returns a network of its module."""

    classes = (*SIDES, "neither")
    preparation = Blocks()

    def build(self) -> nn.Module:
        return NETWORKS["at hand"]


def values(finished: Any, explainer: str = "slope") -> list[float]:
    """The scores of a run in order."""
    table = read_table(finished.folder / "scores.parquet")
    return list(table["value"][table["explainer"] == explainer])


def trained(network: Any) -> None:
    """Change the weights as a training step does."""
    with torch.no_grad():
        network.stem.weight.mul_(-1)


def trained_silently(network: Any) -> None:
    """Change the weights so that torch counts no new version."""
    network.stem.weight.data.mul_(-1)


def replaced(network: Any) -> None:
    """Let ``build`` return another network."""
    NETWORKS["at hand"] = Residual(seed=1).build()


def weights_of(finished: Any) -> set[str]:
    """The digests of the weights in the provenance of a run of one model."""
    (model,) = json.loads((finished.folder / "provenance.json").read_text())["models"]
    return set(model["weights"])


@pytest.mark.parametrize("change", [trained, trained_silently, replaced])
@pytest.mark.parametrize("again", [True, False])
def test_a_network_that_is_trained_gets_its_own_numbers(
    ran: Ran, tmp_path: Path, network: nn.Module, change: Callable[[nn.Module], None], again: bool
) -> None:
    model = AtHand()
    before = ran(models=[model])
    first = weights_of(before)
    stored = values(before)
    change(network)
    after = ran(models=[model if again else AtHand()])
    fresh = ran(models=[AtHand()], output=str(tmp_path / "fresh"))
    assert values(after) == values(fresh) != stored
    assert weights_of(after).isdisjoint(first)
    units = [json.loads(path.read_text()) for path in after.folder.glob("predictions/*/unit.json")]
    assert {unit["weights"] for unit in units} == first | weights_of(after), "older units keep their own"


def test_what_is_not_trained_is_reused(ran: Ran, calls: Any) -> None:
    ran(models=[AtHand()])
    calls()
    ran(models=[AtHand()])
    assert calls("explain", "measure", "load") == []


def test_a_network_of_random_weights_is_refused(ran: Ran, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"unsteady.build\(\) returns another network than for the plan"):
        ran(models=["unsteady", AtHand()])
    units = [json.loads(path.read_text()) for path in tmp_path.glob("run/*/*/unit.json")]
    assert "unsteady" not in str([unit.get("model") for unit in units])


def test_a_worker_with_other_weights_ends_the_run(ran: Ran, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="returns another network than for the plan"):
        ran(models=["unsteady"], executor=Processes(workers=2))
    assert not [*(tmp_path / "run" / "scores").glob("*")]


def model_of(seed: int) -> Model:
    class Net(Model):
        classes = (*SIDES, "neither")
        preparation = Blocks()

        def build(self) -> nn.Module:
            return Residual(seed=seed).build()

    return Net()


def explainer_of(factor: float) -> Explainer:
    class Slope(Explainer):
        def explain(self, batch: Batch) -> Tensor:
            return batch.images * gradients(batch).images ** factor

    return Slope()


def metric_of(factor: float) -> Metric:
    class Mean(Metric):
        needs = frozenset({"heatmap"})
        measures = ("mean",)

        def measure(self, case: Case) -> dict[str, Any]:
            return {"mean": np.abs(case.heatmap.values).mean() * factor}

    return Mean()


def dataset_of(gain: float) -> Any:
    class Images(Blobs):
        def load(self, id: str) -> Any:
            sample = super().load(id)
            return type(sample)(**{**vars(sample), "image": (sample.image * gain).astype(np.uint8)})

    return {"component": Images(count=8), "split": "test"}


@pytest.mark.parametrize(
    ("key", "column", "make"),
    [
        ("models", "model", model_of), ("explainers", "explainer", explainer_of), ("metrics", "metric", metric_of),
        ("datasets", "dataset", dataset_of),
    ],
)  # fmt: skip
def test_equal_names_and_settings_of_other_code_are_two_rows(
    ran: Ran, key: str, column: str, make: Callable[[float], Any]
) -> None:
    finished = ran(**{key: [make(1), make(1), make(0)], "statistics": {"resamples": 50, "permutations": 50}})
    rows = [row for row in read_rows(finished.folder / "summary.csv") if not row["baseline"]]
    names = {row[column] for row in rows}
    assert len(names) == 2, names
    assert all(len(name.rpartition("#")[2]) == 6 for name in names)
    assert len({row["value"] for row in rows if row["measure"] == rows[0]["measure"]}) == 2
    for entry in ("comparisons.csv", "splits.csv"):
        assert (finished.folder / entry).read_text()


def test_labels_stay_as_they_are_where_names_differ(ran: Ran) -> None:
    rows = ran(models=[model_of(0), "regions"]).summary
    assert {row["model"] for row in rows} - {""} == {label(model_of(0)), "regions"}


def test_a_class_that_a_notebook_defines_again_gets_its_own_numbers(ran: Ran, tmp_path: Path) -> None:
    text = """
class Mine(Explainer):
    def explain(self, batch):
        return batch.images * gradients(batch).images {}
"""

    def mine(change: str) -> Explainer:
        names: dict[str, Any] = {"Explainer": Explainer, "gradients": gradients, "__name__": "__main__"}
        exec(compile(text.format(change), "<ipython-input>", "exec"), names)
        result: Explainer = names["Mine"]()
        return result

    before = values(ran(explainers=[mine("")]), "Mine")
    assert values(ran(explainers=[mine("")]), "Mine") == before
    after = values(ran(explainers=[mine("* -1")]), "Mine")
    assert after == values(ran(explainers=[mine("* -1")], output=str(tmp_path / "fresh")), "Mine") != before
    assert values(ran(explainers=[mine("")]), "Mine") == before, "the first numbers are still stored"
