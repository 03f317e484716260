"""Annotated mass that a preparation loses is said beside every table of a run, and only where it is lost."""

import csv
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from heatproof.records import Sample
from heatproof_parts import Regions

TABLES = ("summary", "comparisons", "ranks")


def flags(finished: Any, table: str, metric: str) -> set[str]:
    with open(finished.folder / f"{table}.csv", newline="", encoding="utf-8") as stream:
        return {row["flag"] for row in csv.DictReader(stream) if row["metric"] == metric}


def left_half(model: Regions, sample: Sample) -> Sample:
    """The usual preparation with a field that ends in the middle."""
    prepared = model.preparation(sample)
    field = np.broadcast_to(np.arange(prepared.space[1]) < prepared.space[1] // 2, prepared.space)
    return replace(prepared, field=field)


def test_lost_mass_stands_beside_every_table_of_metrics_that_use_annotations(
    ran: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"explainers": ["slope", "noted"], "metrics": ["mass", "accuracy"]}
    whole = ran(**settings)
    assert all(flags(whole, table, "mass") == {""} for table in TABLES)
    monkeypatch.setattr(Regions, "prepare", left_half)
    finished = ran(**settings, seed=7)
    for table in TABLES:
        (flag,) = flags(finished, table, "mass")
        assert flag.startswith("annotated mass outside the field of view of the prepared image: ")
        assert "right " in flag
    assert flags(finished, "summary", "accuracy") == {""}
    assert flags(ran(**settings, seed=7), "summary", "mass") == {flag}, "the same from the store"
