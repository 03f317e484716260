"""The plan of a config: combinations, baselines, tasks and their keys, and what is skipped and why."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import Field
from safetensors.torch import save_file

import heatproof_parts
from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.config.settings import from_plain
from heatproof.errors import ConfigError, DataError, ModelError
from heatproof.explainer import Explainer
from heatproof.plan.plan import Plan, make_plan
from heatproof.plan.task import label
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import Announcement

Planned = Callable[..., Plan]


@pytest.fixture
def planned(parts: Any, configured: Callable[..., Any]) -> Planned:
    return lambda **settings: make_plan(configured(**settings), parts)


def names(plan: Plan) -> list[tuple[str, str, str, str]]:
    """Model (its grid for model-free maps), explainer, target and reduction of every combination."""
    described = [item.describe() for item in plan.combinations]
    return [(row["model"], row["explainer"], row["target"], row["reduction"]) for row in described]


def keys(plan: Plan) -> Counter[str]:
    """The keys that a plan commits, with their counts."""
    return Counter(key for task in plan.tasks({}) for _, key in task.parts())


def test_lists_are_crossed_and_rows_are_added(planned: Planned) -> None:
    row = {"dataset": {"use": "images", "split": "test", "count": 16}, "model": "linear", "explainer": "noted",
           "target": "right", "reduction": "sum"}  # fmt: skip
    plan = planned(
        models=["regions", "swapped"], explainers=["slope", "noted"], targets=["predicted", "label"],
        reductions=["max", "l2"], combinations=[row],
    )  # fmt: skip
    crossed = {
        (model, explainer, target, reduction)
        for model in ("regions", "swapped") for explainer in ("slope", "noted")
        for target in ("predicted", "label") for reduction in ("max", "l2")
    }  # fmt: skip
    assert Counter(names(plan)) == Counter([*crossed, ("linear", "noted", "right", "sum"), ("", "random", "", "max")])


def test_the_same_row_twice_runs_once(planned: Planned) -> None:
    row = {
        "dataset": {"use": "images", "split": "test", "count": 16},
        "model": "regions",
        "explainer": {"use": "slope", "factor": 1.0},
    }
    plan = planned(explainers=["slope", {"use": "slope"}], metrics=["mass", {"use": "mass"}], combinations=[row])
    assert names(plan) == [("regions", "slope", "predicted", "max"), ("", "random", "", "max")]
    assert set(keys(plan).values()) == {1}


def test_two_models_of_one_grid_share_the_baseline(planned: Planned) -> None:
    shared = planned(models=["regions", "linear", "elsewhere"], explainers=["slope"])
    randoms = [item for item in shared.combinations if item.model_free]
    assert [(item.model.short, label(item.explainer)) for item in randoms] == [
        ("regions", "random"),
        ("elsewhere", "random"),
    ]
    assert len({item.key for item in randoms}) == 2


def test_maps_that_a_metric_judges_by_the_model_have_a_baseline_each(planned: Planned) -> None:
    """A random heatmap is the same for all models, but each model judges it differently."""
    plan = planned(models=["regions", "linear"], targets=["predicted", "left"], metrics=["mass", "drop"])
    randoms = [item for item in plan.combinations if item.explainer.short == "random"]
    described = [item.describe() for item in randoms]
    owners = [(row["model"], row["target"]) for row in described]
    assert owners == [(model, target) for model in ("regions", "linear") for target in ("predicted", "left")]
    assert len({item.key for item in plan.combinations}) == len(plan.combinations) == 8
    assert not any(item.model_free for item in plan.combinations)
    assert set(keys(plan).values()) == {1}


def test_each_dataset_split_has_its_baseline(planned: Planned) -> None:
    entries = [{"use": "images", "split": split, "count": count} for split in ("tuning", "test") for count in (8, 16)]
    plan = planned(datasets=entries)
    randoms = [item for item in plan.combinations if item.model_free]
    assert len(randoms) == 4
    assert set(keys(plan).values()) == {1}


def test_a_baseline_that_is_asked_for_is_not_added_again(planned: Planned) -> None:
    plan = planned(
        models=["regions", "linear"], explainers=["random", "slope"], targets=["predicted", "label"], reductions=["sum"]
    )
    assert Counter(name for _, name, *_ in names(plan)) == {"slope": 4, "random": 1}


def test_no_baseline_where_nothing_is_compared(planned: Planned) -> None:
    assert names(planned(metrics=["accuracy"])) == [("regions", "slope", "predicted", "max")]


def test_a_plugin_that_is_named_as_the_baseline_stops_nobody(
    configured: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "from heatproof.hooks import hookimpl\n@hookimpl\ndef heatproof_explainers():\n"
    (tmp_path / "foreign.py").write_text(f"{text}    return {{'random': 'heatproof_parts:Slope'}}\n")
    monkeypatch.syspath_prepend(tmp_path)
    foreign = Catalog([
        Announcement("foreign", "foreign", "foreign", "1.0"),
        Announcement("parts", "heatproof_parts", "heatproof-parts", "1.0"),
    ])  # fmt: skip
    baselines = [item for item in make_plan(configured(), foreign).combinations if item.model_free]
    assert [item.explainer.name for item in baselines] == ["heatproof/random"]


def test_a_metric_without_heatmap_hangs_on_dataset_and_model(planned: Planned) -> None:
    plan = planned(
        models=["regions", "linear"],
        explainers=["slope", "noted"],
        metrics=["accuracy", "mass"],
        targets=["predicted", "label"],
    )
    for task in plan.tasks({}):
        assert [metric.short for metric in task.metrics] == ["accuracy"]
        assert {metric.short for unit in task.units for metric in unit.metrics} == {"mass"}
    assert len({task.scores(task.metrics[0]) for task in plan.tasks({})}) == len(plan.tasks({})) == 4


def test_a_plan_without_explainers_runs_metrics_of_predictions(planned: Planned) -> None:
    plan = planned(explainers=[], metrics=["accuracy"])
    assert plan.combinations == ()
    assert [len(task.units) for task in plan.tasks({})] == [0, 0]


def test_all_layers_expand_and_one_is_resolved(planned: Planned) -> None:
    layers = ("0", "3")
    every = planned(explainers=[{"use": "layered", "layer": "all"}, "slope"])
    assert [name for _, name, *_ in names(every)] == [
        *(f"layered(layer={layer})" for layer in layers),
        "slope",
        "random",
    ]
    assert {task.layers for task in every.tasks({})} == {layers}
    last = planned(explainers=["layered"])
    assert names(last)[0][1] == "layered(layer=3)"
    assert {task.layers for task in last.tasks({})} == {("3",)}


def test_an_unknown_layer_is_skipped_with_near_names(planned: Planned) -> None:
    plan = planned(models=["residual", "regions"], explainers=[{"use": "layered", "layer": "stemm"}, "slope"])
    assert [(entry.model, entry.explainer) for entry in plan.skipped] == [
        ("residual", "layered(layer=stemm)"), ("regions", "layered(layer=stemm)")
    ]  # fmt: skip
    assert "no layer 'stemm'; did you mean 'stem'" in plan.skipped[0].reason
    assert {model for model, *_ in names(plan)} == {"residual", "regions", ""}


def test_an_undefined_verdict_is_skipped_once_with_its_reason(planned: Planned) -> None:
    plan = planned(explainers=["demanding", "slope"], targets=["predicted", "label"], reductions=["max", "sum"])
    (skipped,) = plan.skipped
    assert (skipped.dataset, skipped.model, skipped.explainer) == ("images", "regions", "demanding")
    assert skipped.reason == "undefined because demanding needs attention, which regions does not offer"


def test_a_plugin_that_raises_is_skipped(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heatproof_parts.Noted, "expand", lambda self, model: 1 / 0)
    plan = planned(explainers=["noted", "slope"])
    assert [(entry.explainer, entry.reason) for entry in plan.skipped] == [
        ("noted", "ZeroDivisionError: division by zero")
    ]


def test_a_method_for_2d_images_is_skipped_on_volumes(
    planned: Planned, calls: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sample is decoded for all methods that do not support every image, and none without such a method."""
    volumes = [{"use": "images", "split": "test", "count": 16, "dimensions": 3, "size": 32, "unreadable": ["blob-008"]}]
    models = [{"use": "regions", "dimensions": 3}]
    assert not planned(datasets=volumes, models=models, explainers=["slope"]).skipped
    assert calls("load") == []
    monkeypatch.setattr(heatproof_parts.Noted, "spaces", frozenset({2}))
    monkeypatch.setattr(heatproof_parts.Sharing, "spaces", frozenset({2}))
    plan = planned(datasets=volumes, models=models, explainers=["noted", "slope", "sharing"], targets=[0, 1])
    assert calls("load") == [["load", "blob-008"], ["load", "blob-009"]]
    reason = "explains 2-D images; those of images as regions prepares them have 3 dimensions"
    assert [(item.explainer, item.reason) for item in plan.skipped] == [("noted", reason), ("sharing", reason)]
    assert {item.explainer.short for item in plan.combinations} == {"slope", "random"}
    assert not planned(explainers=["noted"]).skipped
    unreadable = [volumes[0] | {"unreadable": [f"blob-{index:03}" for index in range(16)]}]
    assert not planned(datasets=unreadable, models=models, explainers=["noted"]).skipped
    with pytest.raises(ConfigError, match=f"no combination of this config can run: {reason}"):
        planned(datasets=volumes, models=models, explainers=["noted"])


def test_a_model_whose_extras_the_dataset_lacks_is_skipped_with_the_reason(
    planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heatproof_parts.Swapped, "extras", ("age", "sex"))
    plan = planned(models=["swapped", "regions"], metrics=["accuracy", "mass"], explainers=["slope", "noted"])
    (skipped,) = plan.skipped
    assert (skipped.dataset, skipped.model, skipped.explainer) == ("images", "swapped", "all")
    assert skipped.reason.startswith("swapped reads age, sex of each sample, which images does not give")
    assert {model for model, *_ in names(plan)} == {"regions", ""}
    assert [model.short for _, model in plan.pairs] == ["regions"]
    for metrics in (["mass"], ["accuracy"]):
        with pytest.raises(ConfigError, match="no combination of this config can run: swapped reads age, sex"):
            planned(models=["swapped"], metrics=metrics)
    monkeypatch.setattr(heatproof_parts.Images, "extras", ("age", "sex", "text"))
    assert planned(models=["swapped"]).skipped == ()


def test_a_config_of_which_nothing_runs_is_an_error(planned: Planned) -> None:
    with pytest.raises(ConfigError, match="no combination of this config can run: undefined because demanding needs"):
        planned(explainers=["demanding"])


@pytest.mark.parametrize(
    "error", [ModelError("checkpoint x.safetensors does not exist; give a file."), KeyError("head")]
)
def test_a_model_that_cannot_be_built_is_an_error_and_no_skip(
    planned: Planned, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any) -> None:
        raise error

    monkeypatch.setattr(heatproof_parts.Unbuildable, "build", fail)
    with pytest.raises(
        ModelError, match=r"checkpoint x\.safetensors does not exist|unbuildable cannot build its network \(KeyError"
    ):
        planned(models=["regions", "unbuildable"])


def test_targets_by_word_name_and_index(planned: Planned) -> None:
    plan = planned(models=["regions", "swapped"], targets=["predicted", "label", "right", 0])
    assert [(model, target) for model, _, target, _ in names(plan)[:-1]] == [
        ("regions", "predicted"), ("regions", "label"), ("regions", "right"), ("regions", "left"),
        ("swapped", "predicted"), ("swapped", "label"), ("swapped", "right"),
    ]  # fmt: skip


def test_a_class_whose_name_is_a_number_is_meant_by_its_name(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heatproof_parts.Swapped, "classes", ("1", "0"))
    plan = planned(models=["swapped"], targets=["0", 0])
    assert [target for _, _, target, _ in names(plan)[:-1]] == ["0"]
    (skipped,) = plan.skipped
    assert (
        "the target 0 of swapped is an index and the name of another class; give the name as a text" in skipped.reason
    )


@pytest.mark.parametrize("target", ["leff", 2])
def test_an_unknown_target_is_skipped_with_what_is_allowed(planned: Planned, target: object) -> None:
    plan = planned(targets=[target, "predicted"])
    (skipped,) = plan.skipped
    assert f"no class {target!r}" in skipped.reason
    assert "left" in skipped.reason


def test_one_logit_is_one_combination_whatever_the_target(planned: Planned) -> None:
    plan = planned(models=["onelogit"], targets=["predicted", "label", "left", 1])
    assert names(plan) == [("onelogit", "slope", "logit", "max"), ("", "random", "", "max")]


def test_labels_need_a_class_in_common(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heatproof_parts.Swapped, "classes", ("up", "down"))
    plan = planned(models=["swapped"], targets=["label", "predicted"])
    assert "share no class for target 'label'; choose another target" in plan.skipped[0].reason
    assert names(plan)[0][2] == "predicted"


def test_several_labels_at_once_are_a_target_each(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heatproof_parts.Images, "multilabel", True, raising=False)
    plan = planned(models=["swapped"], targets=["label"])
    assert [target for _, _, target, _ in names(plan)[:-1]] == ["label=left", "label=right"]


def test_a_patient_in_two_splits_that_are_used_is_an_error(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    """A patient must not be in the tuning and the test split; the split ``all`` and other downloads are no conflict."""
    entries = [{"use": "images", "split": split, "count": 16} for split in ("tuning", "test")]
    planned(datasets=entries)
    owner = heatproof_parts.Images.patient
    monkeypatch.setattr(heatproof_parts.Images, "patient", lambda self, id: owner(self, id.replace("-007", "-008")))
    with pytest.raises(DataError, match=r"patient '\S+' of images is in the splits tuning and test of this config"):
        planned(datasets=entries)
    planned(datasets=entries[1:])
    planned(datasets=[entries[0], {"use": "images", "count": 16}])
    planned(datasets=[entries[0], {**entries[1], "count": 18}])
    with pytest.raises(DataError, match="is in the splits tuning and test"):
        planned(datasets=entries[1:], metrics=["filled"])


def test_samples_by_split_limit_and_ids(planned: Planned) -> None:
    def ids(**picked: Any) -> tuple[str, ...]:
        return planned(datasets=[{"use": "images", "count": 16, **picked}]).pairs[0][0].ids

    assert ids(split="test") == tuple(f"blob-{index:03}" for index in range(8, 16))
    assert ids(limit=3) == ("blob-000", "blob-001", "blob-002")
    assert ids(ids=["blob-005", "blob-002", "blob-005"]) == ("blob-005", "blob-002")
    with pytest.raises(DataError, match=r"no sample 'blob-015x' in split test; did you mean 'blob-015'"):
        ids(split="test", ids=["blob-015x"])
    with pytest.raises(DataError, match="no samples in split test; check its folder"):
        ids(split="test", count=0)


def test_an_id_that_comes_twice_is_refused(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heatproof_parts.Images, "ids", lambda self, split=None: ["a", "b", "a"])
    with pytest.raises(DataError, match="the id 'a' more than once"):
        planned()


def test_chunks_are_fixed_pieces_in_order(planned: Planned) -> None:
    tasks = planned(chunk=3).tasks({})
    assert [len(task.ids) for task in tasks] == [3, 3, 2]
    assert [id for task in tasks for id in task.ids] == [f"blob-{index:03}" for index in range(8, 16)]


BASE: dict[str, Any] = {}
CHANGES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "seed": ({"seed": 1}, {"heatmaps", "scores"}),
    "explainer": ({"explainers": [{"use": "slope", "factor": 2.0}]}, {"heatmaps", "scores"}),
    "metric": ({"metrics": [{"use": "mass", "scale": 2.0}]}, {"scores"}),
    "target": ({"targets": ["label"]}, {"heatmaps", "scores"}),
    "reduction": ({"reductions": ["sum"]}, {"heatmaps", "scores"}),
    "dataset": (
        {"datasets": [{"use": "images", "split": "test", "count": 16, "seed": 1}]},
        {"predictions", "heatmaps", "scores"},
    ),
    "chunk": ({"chunk": 3}, {"predictions", "heatmaps", "scores"}),
    "rows": ({"rows": 4}, set()),
    "threads": ({"threads": 2}, set()),
    "statistics": ({"statistics": {"resamples": 7}}, set()),
}  # fmt: skip


@pytest.mark.parametrize(("change", "touched"), CHANGES.values(), ids=CHANGES)
def test_keys_change_with_what_the_content_depends_on(
    planned: Planned, change: dict[str, Any], touched: set[str]
) -> None:
    def by_kind(plan: Plan) -> dict[str, set[str]]:
        keys: dict[str, set[str]] = {}
        for task in plan.tasks({}):
            if all(unit.combination.model_free for unit in task.units):
                continue
            for kind, key in task.parts():
                keys.setdefault(kind, set()).add(key)
        return keys

    before = by_kind(planned(**BASE))
    after = by_kind(planned(**BASE, **change))
    free = {key for task in planned().tasks({}) for unit in task.units if unit.combination.model_free
            for key in (unit.key, *map(unit.scores, unit.metrics))}  # fmt: skip
    for kind in ("predictions", "heatmaps", "scores"):
        common = (before[kind] & after[kind]) - free
        if kind in touched:
            assert not common, kind
        else:
            assert common == before[kind] - free, kind


def test_a_revision_changes_the_key_and_a_version_does_not(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys(planned())
    monkeypatch.setattr(heatproof_parts.Slope, "revision", 2)
    assert keys(planned()) != before
    monkeypatch.undo()
    announcements = [
        Announcement(name, f"heatproof_{name}", f"heatproof-{name}", "9.9") for name in ("parts", "baseline")
    ]
    newer = Catalog(announcements)
    data = {"output": "x", "datasets": [{"use": "images", "split": "test", "count": 16}], "models": ["regions"],
            "explainers": ["slope"], "metrics": ["mass"], "chunk": 4}  # fmt: skip
    assert keys(make_plan(from_plain(data, newer), newer)) == before


def test_a_file_of_weights_counts_by_content(planned: Planned, tmp_path: Path) -> None:
    def with_bias(value: float, name: str) -> Counter[str]:
        save_file({"bias": torch.full((3,), value)}, tmp_path / name)
        return keys(planned(models=[{"use": "weighed", "weights": str(tmp_path / name)}]))

    first = with_bias(0.0, "one.safetensors")
    assert with_bias(0.0, "two.safetensors") == first
    assert not set(with_bias(1.0, "one.safetensors")) & set(first) - set(keys(planned()))


def test_a_dataset_counts_by_the_content_of_its_tables_and_the_size_of_its_files(
    planned: Planned, tmp_path: Path
) -> None:
    def found() -> Counter[str]:
        return keys(planned(datasets=[{"use": "images", "count": 8, "root": str(tmp_path / "data")}]))

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "labels.csv").write_text("a,1\n")
    (tmp_path / "data" / "a.jpg").write_bytes(b"1234")
    first = found()
    (tmp_path / "data" / "a.jpg").write_bytes(b"4321")
    assert found() == first
    (tmp_path / "data" / "labels.csv").write_text("a,2\n")
    second = found()
    assert not set(first) & set(second)
    (tmp_path / "data" / "a.jpg").write_bytes(b"12345")
    assert not set(second) & set(found())


def test_scores_depend_on_the_model_only_where_the_metric_asks_it(planned: Planned) -> None:
    def random_scores(model: str, metric: str) -> str:
        tasks = planned(models=[model], metrics=[metric]).tasks({})
        (unit,) = [unit for unit in tasks[0].units if unit.combination.explainer.short == "random"]
        return unit.scores(unit.metrics[0])

    assert random_scores("regions", "mass") == random_scores("linear", "mass")
    assert random_scores("regions", "drop") != random_scores("linear", "drop")


class ListedParams(Params):
    """Params with a default that is created anew each time."""

    levels: list[int] = Field(default_factory=lambda: [1, 2])


class Listed(Explainer[ListedParams]):
    """An explainer with such Params."""

    def explain(self, batch: Batch) -> torch.Tensor:
        return batch.images


def test_a_default_that_a_factory_creates_is_no_part_of_a_label() -> None:
    assert "levels" not in label(Listed())
    assert label(Listed(levels=[3])).endswith("(levels=[3])")
