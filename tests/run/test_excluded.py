"""Samples that an explainer has no heatmap for by definition are excluded with its reason; the others lose nothing."""

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from heatproof.batch import Batch
from heatproof.config.settings import from_plain
from heatproof.errors import Undefined
from heatproof.hooks import hookimpl
from heatproof.metric import Case, Metric
from heatproof.model import Model
from heatproof.records import Explanation, Sample
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import Announcement
from heatproof.results.parquet import read_table
from heatproof.results.store import Run
from heatproof.run.runner import run
from heatproof.testing.toys import Blobs, Regions, Slope

IDS = [f"blob-{index:03}" for index in range(8, 16)]
DARK = ("blob-009", "blob-010", "blob-014")


class Fields(Blobs):
    """Images of which the left eighth is outside the field; one has no field at all."""

    def load(self, id: str) -> Sample:
        sample = super().load(id)
        field = np.ones(sample.space, bool)
        field[:, :8] = False
        return Sample(**{**vars(sample), "field": None if id == "blob-011" else field})


class Picky(Slope):
    """Has no heatmap of some images; the others show the field."""

    def explain(self, batch: Batch) -> Any:
        for id in batch.ids:
            if id in DARK:
                raise Undefined(f"nothing enters {id}")
        return Explanation(super().explain(batch), kept={"field": batch.field})


class Again(Metric):
    """The mean of the picky explainer's heatmap, computed again."""

    needs = frozenset({"heatmap", "model"})

    def measure(self, case: Case) -> dict[str, float]:
        assert case.batch is not None
        return {"value": float(Picky()(case.batch).values.mean())}


class Blind(Regions):
    """A model that refuses an image."""

    def collate(self, samples: Any) -> Any:
        if any(sample.id == "blob-008" for sample in samples):
            raise Undefined("no second view")
        return Model.collate(self, samples)


@pytest.fixture
def catalog(monkeypatch: pytest.MonkeyPatch) -> Catalog:
    parts = types.ModuleType("picky_parts")
    declared: dict[str, dict[str, type]] = {
        "heatproof_datasets": {"fields": Fields},
        "heatproof_models": {"regions": Regions, "blind": Blind},
        "heatproof_explainers": {"slope": Slope, "picky": Picky},
        "heatproof_metrics": {"again": Again},
    }
    for hook, members in declared.items():
        for member in members.values():
            setattr(parts, member.__name__, member)
        setattr(parts, hook, hookimpl(specname=hook)(declaring(members)))
    monkeypatch.setitem(sys.modules, "picky_parts", parts)
    return Catalog([
        Announcement("parts", "picky_parts", "heatproof-picky", "1.0"),
    ])  # fmt: skip


def declaring(members: dict[str, type]) -> Callable[[], dict[str, str]]:
    return lambda: {name: f"picky_parts:{member.__name__}" for name, member in members.items()}


def ran(catalog: Catalog, folder: Path, **settings: Any) -> Any:
    usual = {
        "output": str(folder), "datasets": [{"use": "fields", "split": "test", "count": 16}], "models": ["regions"],
        "explainers": ["picky", "slope"], "metrics": ["again"], "chunk": 8, "rows": 4, "threads": 1, "device": "cpu",
        "statistics": {"resamples": 20, "permutations": 20},
    }  # fmt: skip
    return run(from_plain({**usual, **settings}, catalog), catalog)


def unit(folder: Path, explainer: str) -> tuple[dict[str, Any], str]:
    store = Run(folder)
    (key,) = [key for key in store.keys("heatmaps") if store.meta("heatmaps", key)["explainer"].startswith(explainer)]
    return store.meta("heatmaps", key), key


def test_what_is_undefined_is_excluded_and_the_rest_is_as_ever(catalog: Catalog, tmp_path: Path) -> None:
    finished = ran(catalog, tmp_path / "run")
    picky, key = unit(finished.folder, "picky")
    slope, other = unit(finished.folder, "slope")
    statuses = {case["id"]: (case["status"], case["reason"]) for case in picky["cases"]}
    expected = {id: ("excluded", f"nothing enters {id}") if id in DARK else ("valid", "") for id in IDS}
    assert statuses == expected
    actual = Run(finished.folder).maps(key)
    whole = Run(finished.folder).maps(other)
    for row, id in enumerate(IDS):
        assert (
            np.isnan(actual[row]).all() if id in DARK else actual[row] == pytest.approx(whole[row], rel=1e-5, abs=1e-7)
        )
    assert all(case["status"] == "valid" for case in slope["cases"])
    assert (finished.failures, finished.complete) == (0, True)
    table = read_table(finished.folder / "scores.parquet")
    for explainer in ("picky", "slope"):
        rows = zip(*(table[name] for name in ("case", "explainer", "status", "reason")))
        scored = {case: (status, reason) for case, name, status, reason in rows if name == explainer}
        assert scored == expected


def test_the_field_reaches_the_explainer(catalog: Catalog, tmp_path: Path) -> None:
    folder = ran(catalog, tmp_path / "run", explainers=["picky"]).folder
    fields = Run(folder).maps(unit(folder, "picky")[1], name="kept_field.zarr")
    expected = np.ones((16, 16))
    expected[:, :2] = 0
    for row, id in enumerate(IDS):
        if id not in DARK:
            assert np.array_equal(fields[row], np.ones((16, 16)) if id == "blob-011" else expected)


def test_a_image_that_a_model_has_no_answer_to_is_excluded(catalog: Catalog, tmp_path: Path) -> None:
    finished = ran(catalog, tmp_path / "run", models=["blind"], explainers=["slope"])
    cases = {case["id"]: case for case in unit(finished.folder, "slope")[0]["cases"]}
    assert (cases["blob-008"]["status"], cases["blob-008"]["reason"]) == ("excluded", "no second view")
    assert {case["status"] for id, case in cases.items() if id != "blob-008"} == {"valid"}


def test_a_batch_carries_its_field() -> None:
    model = Regions()
    images = torch.zeros(3, 3, 16, 16)
    field = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)) > 0.5
    batch = Batch(model, ["a", "b", "c"], images, [0, 1, 0], field=field)
    assert torch.equal(batch.at(images + 1, [1, 1, 1]).field, field)
    assert torch.equal(batch.select([2, 0]).field, field[[2, 0]])
    assert [torch.equal(single.field, field[[row]]) for row, single in enumerate(batch.singles())] == [True] * 3
    everywhere = Batch(model, ["a"], images[:1], [0]).field
    assert (everywhere.dtype, tuple(everywhere.shape), bool(everywhere.all())) == (torch.bool, (1, 16, 16), True)
