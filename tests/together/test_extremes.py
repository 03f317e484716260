"""Extreme values of every setting: they are refused in a sentence, or give a component whose plan ends soon."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from heatproof.config.settings import RunConfig, StatisticsSettings, from_plain
from heatproof.errors import HeatproofError
from heatproof.plan.plan import make_plan
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import Announcement, discover

pytestmark = pytest.mark.slow

NAN = float("nan")
EXTREMES = [0, -1, 10**11, 10**400, 1e308, NAN, float("inf"), -float("inf"), "", [], {}, True, None, "x" * 100_000,
            [10**11], [0.5, NAN], {"a": NAN}, "\N{PILE OF POO}", "=1+1"]  # fmt: skip
LISTS = {"dataset": "datasets", "model": "models", "explainer": "explainers", "metric": "metrics"}
SECONDS = 10
LONGEST = 2000
"""The most characters of all sentences about one value."""
INSTALLED = Catalog([*discover()[0], Announcement("parts", "heatproof_parts", "heatproof-parts", "1.0")])
SETTINGS = sorted(
    (entry.kind, entry.name, param)
    for entry in INSTALLED.entries
    if entry.kind in LISTS and entry.distribution != "heatproof-parts"
    for param in INSTALLED.load(entry).Params.model_fields
)
COUNTS = [("metric", "ecs", "grid", 1000), ("metric", "gaze", "grid", 1000), ("metric", "froc", "points", 10_000),
          ("metric", "deletion", "steps", 100_000), ("explainer", "smoothgrad", "samples", 100_000),
          ("explainer", "lime", "samples", 1_000_000), ("explainer", "occlusion", "sigma", 1000),
          ("dataset", "phantom", "patients", 100_000), ("model", "vgg16", "size", 10_000)]  # fmt: skip


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise ``TimeoutError`` in the block after some seconds."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"still running after {seconds} s")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[..., str]:
    """Return a function that plans a small run with some settings: the message if it is refused, else empty."""

    def plan(**settings: Any) -> str:
        usual = {
            "output": str(tmp_path / "run"), "datasets": [{"use": "images", "split": "test", "count": 16}],
            "models": ["residual"], "explainers": ["slope"], "metrics": ["mass"], "rows": 2, "device": "cpu",
        }  # fmt: skip
        try:
            with limited(SECONDS):
                make_plan(from_plain({**usual, **settings}, INSTALLED), INSTALLED)
        except HeatproofError as error:
            return str(error)
        return ""

    return plan


def entry(kind: str, name: str, root: Path) -> dict[str, Any]:
    """The entry of a component with a folder for each Param that it requires."""
    fields = INSTALLED.load(INSTALLED.resolve(kind, name)).Params.model_fields
    return {"use": name} | {param: str(root) for param, info in fields.items() if info.is_required()}


@pytest.mark.parametrize(("kind", "name", "param"), [setting for setting in SETTINGS if setting[0] != "model"])
def test_an_extreme_value_of_a_param(
    refusal: Callable[..., str], tmp_path: Path, kind: str, name: str, param: str
) -> None:
    for value in EXTREMES:
        message = refusal(**{LISTS[kind]: [{**entry(kind, name, tmp_path), param: value}]})
        assert len(message) < LONGEST, f"{value!r:.40}: {message:.200}"
        assert "Error" not in message, f"{value!r:.40}: {message}"


@pytest.mark.parametrize(("kind", "name", "param"), [setting for setting in SETTINGS if setting[0] == "model"])
def test_an_extreme_value_of_a_models_param(tmp_path: Path, kind: str, name: str, param: str) -> None:
    """Building a network takes seconds, so it is not planned here."""
    usual = {"output": str(tmp_path), "datasets": ["images"], "metrics": ["auc"]}
    for value in EXTREMES:
        message = ""
        try:
            with limited(SECONDS):
                from_plain({**usual, LISTS[kind]: [{"use": name, param: value}]}, INSTALLED)
        except HeatproofError as error:
            message = str(error)
        assert len(message) < LONGEST, f"{value!r:.40}: {message:.200}"


@pytest.mark.parametrize("setting", sorted({*RunConfig.model_fields} - {"statistics"}))
def test_an_extreme_value_of_a_run(refusal: Callable[..., str], setting: str) -> None:
    for value in EXTREMES:
        message = refusal(**{setting: value})
        assert len(message) < LONGEST, f"{value!r:.40}: {message:.200}"


@pytest.mark.parametrize("setting", sorted(StatisticsSettings.model_fields))
def test_an_extreme_value_of_the_statistics(refusal: Callable[..., str], setting: str) -> None:
    for value in EXTREMES:
        message = refusal(statistics={setting: value})
        assert len(message) < LONGEST, f"{value!r:.40}: {message:.200}"


@pytest.mark.parametrize(("kind", "name", "param", "most"), COUNTS)
def test_an_absurd_count_is_refused_with_its_bound(
    refusal: Callable[..., str], kind: str, name: str, param: str, most: int
) -> None:
    message = refusal(**{LISTS[kind]: [{"use": name, param: 10**11}]})
    assert f"{param}: should be less than or equal to {most} (seen: 100000000000)" in message


def test_the_counts_of_the_statistics_are_bounded(refusal: Callable[..., str]) -> None:
    """As many resamples emptied every value, with exit status 0."""
    for name in ("resamples", "permutations"):
        message = refusal(statistics={name: 99_999_999_999})
        assert f"statistics.{name}: should be less than or equal to 1000000 (seen: 99999999999)" in message


def test_no_samples_at_all_are_refused(refusal: Callable[..., str]) -> None:
    message = refusal(datasets=[{"use": "images", "split": "test", "count": 16, "ids": []}])
    assert message == "config: datasets.0.ids: should have an entry (seen: []); leave it out for the default"
