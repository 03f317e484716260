"""Findings and classes that a config names: the dataset and the model know them, or the config is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heatproof.config.settings import from_plain
from heatproof.errors import ConfigError
from heatproof.plan.plan import Plan, make_plan
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import Announcement, discover

EYES = {"use": "phantom", "patients": 10, "height": 64, "split": "test"}
WEIGHTS = {"haemorrhages": 1.0, "microaneurysm": 40.0}
FINDINGS = [{"use": name, "findings": ["microaneurysms", "haemorrhage"]} for name in
            ("ecs", "froc", "iou", "pointing", "relevance_mass", "relevance_rank")]  # fmt: skip


@pytest.fixture(scope="module")
def everything() -> Catalog:
    """Return the catalog of all plugins and of the small parts."""
    return Catalog([*discover()[0], Announcement("parts", "heatproof_parts", "heatproof-parts", "1.0")])


@pytest.fixture
def planned(everything: Catalog, tmp_path: Path) -> Callable[..., Plan]:
    def make(**settings: Any) -> Plan:
        usual = {"output": str(tmp_path / "run"), "datasets": [EYES], "models": ["regions"], "explainers": ["slope"]}
        return make_plan(from_plain({**usual, **settings}, everything), everything)

    return make


@pytest.mark.parametrize("metric", FINDINGS, ids=lambda metric: metric["use"])
def test_an_unknown_finding_is_refused_with_near_names(planned: Callable[..., Plan], metric: dict[str, Any]) -> None:
    """Otherwise ecs would leave the haemorrhages out without a word: 0.562 in place of 0.750."""
    message = f"{metric['use']} names 'haemorrhage', which is none of the findings of phantom; did you mean 'haemorrha"
    with pytest.raises(ConfigError, match=message):
        planned(metrics=[metric])
    assert planned(metrics=[{**metric, "findings": ["microaneurysms", "haemorrhages"]}]).metrics


def test_the_weight_of_an_unknown_finding_is_refused(planned: Callable[..., Plan]) -> None:
    with pytest.raises(ConfigError, match=r"ecs names 'microaneurysm', .* did you mean 'microaneurysms'\?"):
        planned(metrics=[{"use": "ecs", "weights": WEIGHTS}])


def test_the_finding_of_gaze_is_refused_only_where_it_was_named(planned: Callable[..., Plan]) -> None:
    with pytest.raises(ConfigError, match="gaze names 'gazes', which is none of the findings of phantom; allowed: "):
        planned(metrics=[{"use": "gaze", "finding": "gazes"}])
    assert planned(metrics=["gaze", "ecs"]).metrics


@pytest.mark.parametrize("metric", ["iou", "pointing"])
def test_an_unknown_reader_of_the_human_benchmark_is_refused(planned: Callable[..., Plan], metric: str) -> None:
    """Otherwise the benchmark would have no value, and the misspelt reader's masks would count as annotations."""
    twice = {"datasets": [{"use": "read_twice", "split": "test", "count": 16}]}
    message = rf"{metric} names 'secnd', which is none of the readers of read_twice; did you mean 'second'\?"
    with pytest.raises(ConfigError, match=message):
        planned(metrics=[{"use": metric, "human": "secnd"}], **twice)
    assert planned(metrics=[{"use": metric, "human": "second"}], **twice).metrics
    assert planned(metrics=[{"use": metric, "human": "second"}]).metrics  # its readers are known from samples only


@pytest.mark.parametrize("name", ["auc", "grading"])
def test_a_positive_class_that_the_model_lacks_is_refused(planned: Callable[..., Plan], name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name} names 'lefft', .* classes of regions; did you mean 'left'\?"):
        planned(metrics=[{"use": name, "positive": ["right", "lefft"]}])
    assert planned(metrics=[{"use": name, "positive": ["left"]}]).metrics


def test_all_unknown_names_are_listed_at_once(planned: Callable[..., Plan]) -> None:
    with pytest.raises(ConfigError) as error:
        planned(metrics=[*FINDINGS, {"use": "auc", "positive": ["up"]}], models=["regions", "linear"])
    assert len(str(error.value).splitlines()) == len(FINDINGS) + 2


def test_a_finding_that_the_settings_of_the_dataset_hide_is_unknown(planned: Callable[..., Plan]) -> None:
    metrics = [{"use": "ecs", "findings": ["optic_disc"]}]
    with pytest.raises(ConfigError, match="none of the findings of phantom"):
        planned(metrics=metrics)
    assert planned(metrics=metrics, datasets=[{**EYES, "optic_disc": True}]).metrics


@pytest.mark.parametrize("name", ["ecs", "froc", "iou"])
def test_an_empty_list_of_findings_is_refused(planned: Callable[..., Plan], name: str) -> None:
    with pytest.raises(ConfigError, match="findings: has too few entries"):
        planned(metrics=[{"use": name, "findings": []}])


def test_a_misspelt_target_is_no_logit(planned: Callable[..., Plan]) -> None:
    """A single output explains its logit for every class, but not for a word that is none of the classes."""
    assert planned(models=["onelogit"], targets=["left"]).combinations[0].target == "logit"
    with pytest.raises(ConfigError, match="onelogit has no class 'lefft'"):
        planned(models=["onelogit"], targets=["lefft"])
    with pytest.raises(ConfigError, match="regions has no class 'lefft'"):
        planned(explainers=["random"], targets=["lefft"])
