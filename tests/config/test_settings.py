"""The config: allowed settings, crossed lists, and all mistakes of a file at once with their lines."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from heatproof.component import Component, Location, Params
from heatproof.config.settings import DatasetEntry, RunConfig, from_plain, load, resolved
from heatproof.config.yamlfile import written
from heatproof.dataset import Dataset
from heatproof.errors import ConfigError, DataError, ModelError
from heatproof.executor import Serial
from heatproof.explainer import Explainer
from heatproof.hooks import hookimpl
from heatproof.metric import Metric
from heatproof.model import Model
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import Announcement
from heatproof_processes.processes import Processes


class ImagesParams(Params):
    root: Location = Path(".")
    side: int = 8


class Images(Dataset[ImagesParams]):
    splits = ("train", "test")

    def ids(self, split: str | None = None) -> list[str]:
        return ["a", "b"]

    def load(self, id: str) -> Any:
        raise DataError("no pixels here")


class NetParams(Params):
    weights: Location | None = None
    width: int = 4


class Net(Model[NetParams]):
    def __init__(self, **params: Any):
        super().__init__(**params)
        if self.params.width > 100:  # type: ignore[attr-defined]
            raise ModelError("a width above 100 does not fit; give at most 100")

    def build(self) -> Any:
        return nn.Identity()


class Plain(Explainer):
    def explain(self, batch: Any) -> Any:
        raise NotImplementedError


class SmoothParams(Params):
    base: Explainer = Plain()
    samples: int = 25
    others: tuple[Explainer, ...] = ()


class Smooth(Explainer[SmoothParams]):
    def explain(self, batch: Any) -> Any:
        raise NotImplementedError


class Share(Metric):
    def measure(self, case: Any) -> Any:
        raise NotImplementedError


@hookimpl
def heatproof_datasets() -> dict[str, str]:
    return {"images": "toys:Images"}


@hookimpl
def heatproof_models() -> dict[str, str]:
    return {"net": "toys:Net"}


@hookimpl
def heatproof_explainers() -> dict[str, str]:
    return {"plain": "toys:Plain", "smooth": "toys:Smooth"}


@hookimpl
def heatproof_metrics() -> dict[str, str]:
    return {"share": "toys:Share"}


@pytest.fixture
def catalog(monkeypatch: pytest.MonkeyPatch) -> Catalog:
    toys = types.ModuleType("toys")
    for member in (Images, Net, Plain, Smooth, Share):
        monkeypatch.setattr(member, "__module__", "toys")
        setattr(toys, member.__name__, member)
    for hook in (heatproof_datasets, heatproof_models, heatproof_explainers, heatproof_metrics):
        setattr(toys, hook.__name__, hook)
    monkeypatch.setitem(sys.modules, "toys", toys)
    processes = Announcement("processes", "heatproof_processes", "heatproof-processes", "0.1")
    return Catalog([Announcement("toys", "toys", "heatproof-toys", "1.2"), processes])


WHOLE = """\
output: runs/main
seed: 3
device: cpu
datasets:
  - {use: images, split: test, limit: 12, root: pixels, side: 16}
  - images
models: [net, {use: heatproof-toys/net, weights: net.pt}]
explainers:
  - plain
  - use: smooth
    samples: 4
    base: {use: smooth, base: plain}
    others: [plain, {use: smooth}]
metrics: [share]
targets: [predicted, 2, healthy]
reductions: [max, l2]
combinations:
  - {dataset: images, model: {use: net, width: 7}, explainer: smooth, target: label, reduction: sum}
rows: 4
chunk: 8
executor: {use: processes, workers: 3}
threads: 1
statistics: {resamples: 100, confidence: 0.9}
report: {examples: 0}
"""


def write_config(tmp_path: Path, text: str | bytes, name: str = "config.yaml") -> Path:
    path = tmp_path / name
    if isinstance(text, str):
        text = text.encode()
    path.write_bytes(text)
    return path


def error_lines(path: Path, catalog: Catalog, *overrides: str) -> list[str]:
    """Return the lines of the error that loading raises, without the folder."""
    with pytest.raises(ConfigError) as caught:
        load(path, catalog, overrides)
    return str(caught.value).replace(f"{path.parent}/", "").splitlines()


def minimal(text: str) -> str:
    """Return the config of a minimal run, followed by ``text``."""
    return f"datasets: [images]\nmodels: [net]\nexplainers: [plain]\nmetrics: [share]\n{text}"


def test_every_setting(tmp_path: Path, catalog: Catalog) -> None:
    text = WHOLE.replace("  - images\n", "  - {use: images, ids: [b]}\n").replace(
        "dataset: images", "dataset: {use: images}"
    )
    config = load(write_config(tmp_path, text), catalog)
    assert config.output == tmp_path / "runs/main"
    assert (config.seed, config.device, config.rows, config.chunk, config.threads) == (3, "cpu", 4, 8, 1)
    first, second = config.datasets
    assert (first.split, first.limit, first.ids, second.ids) == ("test", 12, None, ("b",))
    assert first.component.params.root == tmp_path / "pixels"  # type: ignore[attr-defined]
    assert config.models[1].params.weights == tmp_path / "net.pt"  # type: ignore[attr-defined]
    assert [model.registered for model in config.models] == ["heatproof-toys/net"] * 2
    assert config.targets == ("predicted", 2, "healthy")
    assert config.reductions == ("max", "l2")
    assert isinstance(config.executor, Processes)
    assert config.executor.params.workers == 3
    assert (config.statistics.resamples, config.statistics.permutations, config.report.examples) == (100, 10_000, 0)


def test_nested_components(tmp_path: Path, catalog: Catalog) -> None:
    config = load(write_config(tmp_path, WHOLE.replace("dataset: images", "dataset: {use: images}")), catalog)
    smooth = config.explainers[1]
    base = smooth.params.base  # type: ignore[attr-defined]
    others = smooth.params.others  # type: ignore[attr-defined]
    assert isinstance(base, Smooth)
    assert isinstance(base.params.base, Plain)  # type: ignore[attr-defined]
    assert [type(other) for other in others] == [Plain, Smooth]
    names = [base.name, base.params.base.name, others[1].params.base.name]  # type: ignore[attr-defined]
    assert names == ["heatproof-toys/smooth", "heatproof-toys/plain", "heatproof-toys/plain"]


def test_defaults(tmp_path: Path, catalog: Catalog) -> None:
    config = load(write_config(tmp_path, minimal(""), "first.yaml"), catalog)
    assert config.output == tmp_path / "runs/first"
    assert isinstance(config.executor, Serial)
    assert (config.targets, config.reductions, config.rows, config.threads) == (("predicted",), ("max",), "auto", None)


def test_subgroups(tmp_path: Path, catalog: Catalog) -> None:
    text = minimal("by: [label, {of: age, edges: [40, 60.5]}, {of: site}]\n")
    config = load(write_config(tmp_path, text), catalog)
    assert [(entry.of, entry.edges) for entry in config.by] == [("label", None), ("age", (40, 60.5)), ("site", None)]
    assert from_plain(resolved(config), catalog).by == config.by
    assert load(write_config(tmp_path, minimal("")), catalog).by == ()


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("[age, {of: age, edges: [3]}]", "by: has 'age' twice (seen: ['age', {'edges': [3], 'of': 'age'}]); give each "
                                         "name once"),
        ("[{of: label, edges: [3]}]", "by.0: label is no number, which edges could divide (seen: {'edges': [3], 'of': "
                                      "'label'}); leave edges out"),
        ("[{of: age, edges: [3, 3]}]", "by.0.edges: should be numbers, each above the one before (seen: [3, 3])"),
        ("[{of: age, edges: [.inf]}]", "by.0.edges.0: should be a finite number (seen: inf)"),
        ("[{of: age, edges: []}]", "by.0.edges: should have an entry (seen: []); leave it out for the default"),
        ("[{of: age, edges: [true]}]", "by.0.edges.0: should be a number (seen: True)"),
        ("[{off: age}]", "by.0.off: unknown name (seen: 'age'); did you mean 'of'?"),
        ("age", "by: should be a list (seen: 'age')"),
        ("[3]", "by.0: should be text (seen: 3)"),
    ],
)  # fmt: skip
def test_mistakes_in_subgroups(tmp_path: Path, catalog: Catalog, by: str, message: str) -> None:
    assert f"config.yaml:5: {message}" in error_lines(write_config(tmp_path, minimal(f"by: {by}\n")), catalog)


def test_rows_name_entries_of_lists(tmp_path: Path, catalog: Catalog) -> None:
    text = """\
datasets: [{use: images, split: test, limit: 1}]
models: [{use: net, width: 9}]
combinations: [{dataset: images, model: net, explainer: smooth}]
"""
    config = load(write_config(tmp_path, text), catalog)
    (row,) = config.combinations
    assert row.dataset == config.datasets[0]
    assert row.model is config.models[0]
    assert row.explainer.params.samples == 25  # type: ignore[attr-defined]
    assert (row.target, row.reduction, config.explainers) == (None, None, ())


def test_a_row_must_not_name_two_entries(tmp_path: Path, catalog: Catalog) -> None:
    (line,) = error_lines(write_config(tmp_path, WHOLE), catalog)
    assert line == (
        "config.yaml:18: combinations.0.dataset: datasets has 2 entries of this name (seen: 'images'); "
        "write the entry out here"
    )


def test_equal_descriptions_share_a_component(tmp_path: Path, catalog: Catalog) -> None:
    text = minimal("combinations: [{dataset: images, model: net, explainer: plain}]")
    config = load(write_config(tmp_path, text), catalog)
    assert config.combinations[0].model is config.models[0]


def test_round_trip(tmp_path: Path, catalog: Catalog) -> None:
    (tmp_path / "net.pt").write_bytes(b"")
    (tmp_path / "pixels").mkdir()
    config = load(write_config(tmp_path, WHOLE.replace("dataset: images", "dataset: {use: images}")), catalog)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    from_file = load(write_config(elsewhere, written(resolved(config))), catalog)
    from_data = from_plain(resolved(config), catalog)
    identities = [component.identity for component in (*config.explainers, *config.models)]
    for copy in (from_file, from_data):
        assert resolved(copy) == resolved(config)
        assert [component.identity for component in (*copy.explainers, *copy.models)] == identities
    assert resolved(config)["datasets"][0] == {
        "use": "heatproof-toys/images", "root": str(tmp_path / "pixels"), "side": 16, "split": "test", "limit": 12,
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["no", "1e-3", "${HOME}", "$${", "a: b", "#x", "", " x ", "ä\n\n b", "'", "*a", "null", "<<", "2024-01-01"]
)
def test_round_trip_of_awkward_texts(tmp_path: Path, catalog: Catalog, text: str) -> None:
    config = load(write_config(tmp_path, minimal("")), catalog)
    awkward = config.model_copy(update={"targets": (text, "x" * 500)})
    again = load(write_config(tmp_path, written(resolved(awkward)), "again.yaml"), catalog)
    assert again.targets == awkward.targets
    assert from_plain(resolved(awkward), catalog).targets == awkward.targets


MISTAKES = """\
sead: 3
seed: -1
device: gpu
datasets:
  - {use: images, split: tets, limt: 3}
  - {use: images, side: wide}
  - {split: test}
models: [nett, {use: net, widht: 3}, net]
explainers:
  - use: smooth
    base:
      use: smooth
      base: plian
      samples: many
  - share
  - os.path:join
metrics: share
reductions: [mx]
rows: all
executor: {use: processes, wrkers: 2}
statistics: {confidence: 2, resampls: 3}
seed: 4
"""
MISTAKE_LINES = [
    "config.yaml:1: sead: unknown name (seen: 3); did you mean 'seed'?",
    "config.yaml:2: seed: should be greater than or equal to 0 (seen: -1)",
    "config.yaml:3: device: is not a device (seen: 'gpu'); allowed: auto, cpu, cuda, cuda:N",
    "config.yaml:5: datasets.0.limt: unknown name (seen: 3); did you mean 'limit' or 'split'?",
    "config.yaml:6: datasets.1.side: should be an integer (seen: 'wide')",
    "config.yaml:7: datasets.2: should name a registered dataset, or be a mapping with `use: name` and settings "
    "(seen: {})",
    "config.yaml:8: models.0: no model is named 'nett' (seen: 'nett'); did you mean 'net'?",
    "config.yaml:8: models.1.widht: unknown name (seen: 3); did you mean 'width' or 'weights'?",
    "config.yaml:13: explainers.0.base.base: no explainer is named 'plian' (seen: 'plian'); did you mean 'plain'?",
    "config.yaml:14: explainers.0.base.samples: should be an integer (seen: 'many')",
    "config.yaml:15: explainers.1: no explainer is named 'share' (seen: 'share'); 'share' is of kind metric; "
    "allowed: plain, random, smooth",
    "config.yaml:16: explainers.2: 'os.path:join' is not a registered name (seen: 'os.path:join'); import paths "
    "are not allowed, see `heatproof list`",
    "config.yaml:17: metrics: should be a list (seen: 'share')",
    "config.yaml:18: reductions.0: is not a reduction (seen: 'mx'); did you mean 'max'?",
    "config.yaml:19: rows: should be 'auto' or should be an integer (seen: 'all')",
    "config.yaml:20: executor.wrkers: unknown name (seen: 2); did you mean 'workers'?",
    "config.yaml:21: statistics.confidence: should be less than 1 (seen: 2)",
    "config.yaml:21: statistics.resampls: unknown name (seen: 3); did you mean 'resamples'?",
    "config.yaml:22: seed: this key is given twice, first in line 2; keep one",
]


def test_all_mistakes_at_once(tmp_path: Path, catalog: Catalog) -> None:
    assert error_lines(write_config(tmp_path, MISTAKES), catalog) == MISTAKE_LINES


def test_an_unknown_split(tmp_path: Path, catalog: Catalog) -> None:
    text = "datasets:\n  - use: images\n    split: tets\nmodels: [net]\nexplainers: [plain]"
    assert error_lines(write_config(tmp_path, text), catalog) == [
        "config.yaml:3: datasets.0.split: images has no split 'tets' (seen: 'tets'); did you mean 'test'?"
    ]


def test_a_mistake_in_a_listed_entry_is_reported_once(tmp_path: Path, catalog: Catalog) -> None:
    rows = "combinations: [{dataset: images, model: net, explainer: plain}]"
    text = f"datasets: [images]\nmodels: [{{use: net, widht: 1}}]\n{rows}"
    assert len(error_lines(write_config(tmp_path, text), catalog)) == 1


def test_mistakes_in_rows(tmp_path: Path, catalog: Catalog) -> None:
    rows = """\
combinations:
  - {dataset: {use: images, sid: 3}, model: net, explainr: plain}
  - {dataset: images, model: {use: net, weights: [1]}, explainer: plain, target: 1.5, reduction: mean}
  - images
executor: {use: procesess}
"""
    assert error_lines(write_config(tmp_path, rows), catalog) == [
        "config.yaml:2: combinations.0.dataset.sid: unknown name (seen: 3); did you mean 'side' or 'ids'?",
        "config.yaml:2: combinations.0.explainer: is missing",
        "config.yaml:2: combinations.0.explainr: unknown name (seen: 'plain'); did you mean 'explainer'?",
        "config.yaml:3: combinations.1.model.weights: should be a path (seen: [1])",
        "config.yaml:3: combinations.1.reduction: is not a reduction (seen: 'mean'); allowed: abs_max, l2, max, sum",
        "config.yaml:3: combinations.1.target: should be an integer or should be text (seen: 1.5)",
        "config.yaml:4: combinations.2: should be a mapping (seen: 'images')",
        "config.yaml:5: executor: no executor is named 'procesess' (seen: {'use': 'procesess'}); "
        "did you mean 'processes'?",
    ]


def test_an_error_of_a_plugin_is_reported_at_its_line(tmp_path: Path, catalog: Catalog) -> None:
    text = "datasets: [images]\nmodels:\n  - {use: net, width: 101}\nexplainers: [plain]"
    (line,) = error_lines(write_config(tmp_path, text), catalog)
    assert line.startswith("config.yaml:3: models.0: a width above 100 does not fit (seen: ")
    assert line.endswith("; give at most 100")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "config.yaml: is empty; a config is a mapping with datasets, models, explainers and metrics"),
        ("# nothing\n", "config.yaml: is empty; a config is a mapping with datasets, models, explainers and metrics"),
        ("hello", "config.yaml:1: holds 'hello' and no settings; a config is a mapping with"),
        ("- a\n- b", "config.yaml:1: holds ['a', 'b'] and no settings; a config is a mapping with"),
        (b"\x89PNG\r\n\x1a\n\x00", "config.yaml is not a text file in UTF-8 (byte 0)"),
        ("seed: 1\x00", "config.yaml is not YAML ("),
        ("seed: 1\nmodels: [net", "config.yaml:2: not YAML: expected"),
        ("seed: 1\n---\nseed: 2", "config.yaml:2: not YAML: but found another document"),
        ("seed: *nowhere", "config.yaml:1: not YAML: found undefined alias"),
        ("models:\n  - {use: net, weights: ${W}}", 'between brackets write "${NAME}" in quotes'),
        ("a: &a [*a]", "config.yaml:1: a.0: an alias refers to itself"),
        ("[" * 800, "nested too deeply"),
    ],
)
def test_invalid_files(tmp_path: Path, catalog: Catalog, text: str | bytes, message: str) -> None:
    assert message in "\n".join(error_lines(write_config(tmp_path, text), catalog))


def test_files_that_cannot_be_read(tmp_path: Path, catalog: Catalog) -> None:
    assert error_lines(tmp_path / "none.yaml", catalog) == ["none.yaml does not exist; give the path of a config file."]
    assert "is a folder; give the path of a config file" in error_lines(tmp_path, catalog)[0]


def test_an_alias_bomb_is_stopped(tmp_path: Path, catalog: Catalog) -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 10):
        bomb += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n"
    (line,) = error_lines(write_config(tmp_path, bomb), catalog)
    assert line == "config.yaml: more than 100000 values once aliases are followed."


def test_aliases_work(tmp_path: Path, catalog: Catalog) -> None:
    text = "datasets: [images]\nmodels: [net]\nexplainers: [plain, {use: smooth, base: &b {use: smooth}, others: [*b]}]"
    smooth = load(write_config(tmp_path, text), catalog).explainers[1]
    assert smooth.params.others == (smooth.params.base,)  # type: ignore[attr-defined]


def test_tags_are_refused_and_nothing_runs(tmp_path: Path, catalog: Catalog) -> None:
    text = minimal(f"seed: 1\nchunk: !!python/object/apply:os.mkdir ['{tmp_path}/made']\nrows: !!int '3'\n")
    lines = error_lines(write_config(tmp_path, text), catalog)
    assert [line for line in lines if "tags" in line] == [
        "config.yaml:6: tags (!) are not allowed; write plain values",
        "config.yaml:7: tags (!) are not allowed; write plain values",
    ]
    assert not (tmp_path / "made").exists()


def test_keys_must_be_text(tmp_path: Path, catalog: Catalog) -> None:
    lines = error_lines(write_config(tmp_path, minimal("1: a\n<<: {seed: 1}\n")), catalog)
    assert lines == [
        "config.yaml:5: 1: a key must be text (seen: '1'); write it in quotes",
        "config.yaml:6: <<: a key must be text (seen: '<<'); write it in quotes",
    ]


def test_numbers_are_not_yes_or_no(tmp_path: Path, catalog: Catalog) -> None:
    assert error_lines(write_config(tmp_path, minimal("seed: true\nthreads: false")), catalog) == [
        "config.yaml:5: seed: should be a number (seen: True)",
        "config.yaml:6: threads: should be a number (seen: False)",
    ]


def test_targets_and_reductions_are_not_empty(tmp_path: Path, catalog: Catalog) -> None:
    assert error_lines(write_config(tmp_path, minimal("targets: []\nreductions: []")), catalog) == [
        "config.yaml:5: targets: should have an entry (seen: []); leave it out for the default",
        "config.yaml:6: reductions: should have an entry (seen: []); leave it out for the default",
    ]


def test_nothing_to_run(tmp_path: Path, catalog: Catalog) -> None:
    assert error_lines(write_config(tmp_path, "models: [net]\nexplainers: [plain]"), catalog) == [
        "config.yaml:1: there is nothing to run (seen: {'explainers': ['plain'], 'models': ['net'], "
        "'output': 'runs/config'}); give datasets, or rows of combinations"
    ]


def test_environment(tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEATPROOF_TEST_SEED", "7")
    monkeypatch.setenv("HEATPROOF_TEST_ROOT", "/data")
    monkeypatch.delenv("HEATPROOF_TEST_UNSET", raising=False)
    text = """\
seed: ${HEATPROOF_TEST_SEED}
output: ${HEATPROOF_TEST_UNSET:-out}/run
datasets: [{use: images, root: "${HEATPROOF_TEST_ROOT}/images", side: "${HEATPROOF_TEST_SEED}"}]
models: [net]
explainers: [plain]
targets: ["$${literal}", "${HEATPROOF_TEST_SEED}", 3]
"""
    config = load(write_config(tmp_path, text), catalog)
    assert (config.seed, config.output) == (7, tmp_path / "out/run")
    assert config.datasets[0].component.params == ImagesParams(root=Path("/data/images"), side=7)
    assert config.targets == ("${literal}", "7", 3)


def test_an_unset_variable_is_reported_at_its_line(
    tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEATPROOF_TEST_UNSET", raising=False)
    assert error_lines(write_config(tmp_path, minimal("chunk: 0\nseed: ${HEATPROOF_TEST_UNSET}")), catalog) == [
        "config.yaml:5: chunk: should be greater than 0 (seen: 0)",
        "config.yaml:6: seed: environment variable HEATPROOF_TEST_UNSET is not set; set it, or write "
        "${HEATPROOF_TEST_UNSET:-default}",
    ]


def test_overrides(tmp_path: Path, catalog: Catalog) -> None:
    overrides = [
        "seed=9",
        "models.0.width=5",
        "datasets.0.limit=1",
        "explainers=[smooth]",
        "report.examples=4",
        "threads=",
    ]
    config = load(write_config(tmp_path, minimal("threads: 2")), catalog, overrides)
    assert (config.seed, config.report.examples, config.threads) == (9, 4, None)
    assert config.models[0].params.width == 5  # type: ignore[attr-defined]
    assert config.datasets[0].limit == 1
    assert [type(explainer) for explainer in config.explainers] == [Smooth]


def test_wrong_overrides_are_reported_with_the_others(tmp_path: Path, catalog: Catalog) -> None:
    overrides = [
        "sead=1",
        "models.3.width=1",
        "models.net.width=1",
        "chunk.size=2",
        "seed",
        "models.0.widht=2",
        "rows=[1",
    ]
    lines = error_lines(write_config(tmp_path, minimal("chunk: 4\nthreads: x")), catalog, *overrides)
    assert lines == [
        "--set chunk.size=2: chunk has no part 'size' (seen: 4); correct the path",
        "--set models.0.widht=2: models.0.widht: unknown name (seen: 2); did you mean 'width' or 'weights'?",
        "--set models.3.width=1: models is a list of length 1; give an index below that (seen: 3)",
        "--set models.net.width=1: models is a list of length 1; give an index below that (seen: 'net')",
        "--set rows=[1: not YAML: expected ',' or ']', but got '<stream end>'.",
        "--set sead=1: sead: unknown name (seen: 1); did you mean 'seed'?",
        "--set seed: is not an assignment; write path.to.value=value",
        "config.yaml:6: threads: should be an integer (seen: 'x')",
    ]


def test_made_in_python(catalog: Catalog, tmp_path: Path) -> None:
    entry = DatasetEntry(component=Images(), split="test")
    config = RunConfig(output=tmp_path, datasets=(entry,), models=(Net(),), explainers=(Plain(),), executor=Serial())
    assert isinstance(config.models[0], Component)
    assert config.datasets == (entry,)
