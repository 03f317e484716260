"""Damaged units of a run are computed again and this is said; what is not damaged stays, with its provenance."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heatproof.errors import StoreError
from heatproof.registry.catalog import Catalog
from heatproof.results.finished import Results
from heatproof.results.store import Run
from heatproof.run import batch_size, provenance
from heatproof.run.execution import Observer
from heatproof.run.runner import run

pytestmark = pytest.mark.slow

Ran = Callable[..., Any]
TABLES = ("scores.parquet", "summary.csv", "comparisons.csv", "ranks.csv", "provenance.json")
TWICE = ["mass", {"use": "mass", "scale": 2.0}]


def tables(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in TABLES}


def flip(path: Path, seed: int = 0) -> None:
    """Flip a bit of a file, drawn with a seed."""
    content = bytearray(path.read_bytes())
    bit = random.Random(seed).randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def unit(folder: Path, kind: str, explainer: str = "") -> Path:
    """The folder of the first unit of a kind, of an explainer if it is named."""
    store = Run(folder)
    keys = sorted(store.keys(kind))  # type: ignore[arg-type]
    metas = {key: store.meta(kind, key) for key in keys}  # type: ignore[arg-type]
    return folder / kind / next(key for key in keys if explainer in metas[key].get("explainer", ""))


class Told(Observer):
    """Keeps the notices of a run, and calls ``act`` when its tables are to be written."""

    def __init__(self, act: Callable[[], object] = str) -> None:
        self.notices: list[str] = []
        self.act = act

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def stage(self, text: str) -> None:
        if text == "writing tables":
            self.act()


@pytest.fixture
def again(configured: Callable[..., Any], parts: Catalog) -> Ran:
    """Return a function that runs the config once more, and returns the notices and the folder."""

    def repeat(act: Callable[[], object] = str, **settings: Any) -> tuple[list[str], Path]:
        observer = Told(act)
        finished = run(configured(**settings), parts, observer)
        assert finished.complete
        for text in observer.notices:
            assert text in (finished.folder / "log.txt").read_text()
        return observer.notices, finished.folder

    return repeat


@pytest.mark.parametrize(
    ("kind", "file"),
    [("scores", "unit.json"), ("scores", "scores.parquet"), ("predictions", "unit.json"),
     ("predictions", "predictions.parquet"), ("heatmaps", "unit.json")],
)  # fmt: skip
@pytest.mark.parametrize("damage", [flip, Path.unlink])
def test_a_damaged_unit_is_computed_again_and_said(
    ran: Ran, again: Ran, kind: str, file: str, damage: Callable[[Path], object]
) -> None:
    folder = ran(metrics=["mass", "accuracy"]).folder
    whole = tables(folder)
    path = unit(folder, kind) / file
    content = path.read_bytes()
    damage(path)
    (notice,), _ = again(metrics=["mass", "accuracy"])
    assert notice.startswith(f"{path} was damaged (")
    assert tables(folder) == whole
    assert path.read_bytes() == content
    assert again(metrics=["mass", "accuracy"])[0] == []


def test_a_damaged_heatmap_is_explained_again_when_it_is_scored(
    ran: Ran, again: Ran, calls: Any, tmp_path: Path
) -> None:
    """Scores that were made of it before the damage stay."""
    expected = tables(ran(metrics=TWICE, output=str(tmp_path / "other")).folder)
    folder = ran().folder
    damaged = unit(folder, "heatmaps", "slope")
    flip(damaged / "maps.zarr/c/2/0/0")
    calls()
    (notice,), _ = again(metrics=TWICE)
    assert notice.startswith(f"{damaged}/maps.zarr/c/2/0/0 was damaged (its checksum does not match)")
    repeated = calls("explain", "measure")
    assert len({tuple(call[2]) for call in repeated if call[0] == "explain"}) == 2  # two batches of one chunk
    assert {call[2] for call in repeated if call[0] == "measure"} == {2.0}
    assert tables(folder) == expected


def test_a_heatmap_that_is_always_damaged_is_the_fault_of_the_disk(
    ran: Ran, again: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran()
    commit = Run.put_maps

    def damaging(store: Run, folder: Path, maps: Any, *name: str) -> None:
        commit(store, folder, maps, *name)
        monkeypatch.setattr("heatproof.results.checksums.file_digest", lambda path: f"{random.random()}")

    monkeypatch.setattr(Run, "put_maps", damaging)
    with pytest.raises(StoreError, match="the disk is at fault: choose another output folder"):
        again(seed=1)


@pytest.mark.parametrize("kind", ["scores", "predictions"])
def test_a_unit_that_is_damaged_during_the_run_is_computed_again(ran: Ran, again: Ran, kind: str) -> None:
    folder = ran().folder
    whole = tables(folder)
    damaged = unit(folder, kind)
    notices, _ = again(lambda: [flip(path) for path in (damaged / "unit.json", damaged / f"{kind}.parquet")])
    (notice,) = notices
    assert notice.startswith(f"{damaged}/unit.json was damaged")
    assert tables(folder) == whole


def test_many_units_that_are_damaged_during_the_run(ran: Ran, again: Ran) -> None:
    folder = ran().folder
    whole = tables(folder)
    files = [path for kind in ("scores", "heatmaps") for path in (folder / kind).glob("*/unit.json")]
    notices, _ = again(lambda: [path.write_text("{}") for path in files])
    assert len(notices) == len(files) == 8
    assert tables(folder) == whole


@pytest.mark.parametrize("name", ["threads", "rows-"])
def test_damaged_settings_of_the_execution_are_settled_again(
    ran: Ran, again: Ran, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(batch_size, "measure_rows", lambda task, device: 2)
    folder = ran(rows="auto", threads=None).folder
    whole = tables(folder)
    (path,) = folder.glob(f"execution/{name}*/unit.json")
    flip(path)
    (notice,), _ = again(rows="auto", threads=None)
    assert notice.startswith(f"{path} was damaged")
    assert tables(folder) == whole


def test_a_damaged_unit_of_an_earlier_config_costs_nothing(ran: Ran, again: Ran, parts: Catalog) -> None:
    """All predictions are read for a page, and all scores when failed cases are tried again."""
    folder = ran().folder
    ran(seed=1, models=["linear"])
    damaged = [unit(folder, kind) / "unit.json" for kind in ("predictions", "scores")]
    for path in damaged:
        path.write_text("{}")
    ran(retry=True, models=["residual"])
    assert not any(path.exists() and path.read_text() == "{}" for path in damaged), "or it was needed, and made anew"
    log = (folder / "log.txt").read_text()
    assert all(f"{path} was damaged" in log for path in damaged)


FILES = ("config.yaml", "selection.yaml", "splits.csv", "skipped.json", *TABLES)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_of_the_folder_is_refused_and_written_anew(ran: Ran, parts: Catalog, name: str) -> None:
    def read() -> Any:
        results = Results(folder, parts)
        return (
            results.summary, results.comparisons, results.ranks, results.skipped, results.provenance, results.config,
            results.text, results.selection, results.query("from scores"), results.run.read("splits.csv"),
        )  # fmt: skip

    folder = ran(metrics=["filled"]).folder
    before = repr(read())
    flip(folder / name)
    with pytest.raises(StoreError, match=rf"{name} was changed or damaged since the run wrote it; run the same config"):
        read()
    ran(metrics=["filled"])
    assert repr(read()) == before


def environments(folder: Path) -> list[dict[str, Any]]:
    return list(json.loads((folder / "provenance.json").read_text())["environments"])


def test_older_units_keep_their_provenance(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four units of heatmaps, four of scores and two of predictions; then the scores of a second metric."""
    with monkeypatch.context() as patched:
        patched.setattr(provenance, "versions", lambda: {"torch": "1.0"})
        folder = ran().folder
    (first,) = environments(folder)
    assert (first["versions"], first["units"]) == ({"torch": "1.0"}, 10)
    ran(metrics=TWICE)
    older, newer = environments(folder)
    assert older == first
    assert newer["versions"] == provenance.versions()
    assert newer["units"] == 4
    assert {path.parent.name for path in folder.glob("execution/environment-*/unit.json")} == {
        entry["key"] for entry in (older, newer)
    }
    keys = [json.loads(path.read_text())["environment"] for path in folder.glob("heatmaps/*/unit.json")]
    assert keys == [first["key"]] * 4


def test_a_lost_environment_is_named_and_stays(ran: Ran, again: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can compute an earlier environment again; that of this process is written anew."""
    with monkeypatch.context() as patched:
        patched.setattr(provenance, "versions", lambda: {"torch": "1.0"})
        folder = ran().folder
    (path,) = folder.glob("execution/environment-*/unit.json")
    flip(path)
    damaged = path.read_bytes()
    assert again() == ([], folder)
    (lost,) = environments(folder)
    assert {**lost, "key": ""} == {"key": "", "units": 10, "lost": "its checksum does not match"}
    assert path.read_bytes() == damaged
    (other,) = [entry for entry in folder.glob("execution/environment-*/unit.json") if entry != path]
    flip(other)
    (notice,), _ = again()
    assert notice.startswith(f"{other} was damaged")


def test_the_weights_of_a_model_are_those_of_its_units(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions of four samples by other weights than the rest: both are named."""
    folder = ran().folder
    store = Run(folder)
    first, second = sorted(store.keys("predictions"))
    meta = {name: value for name, value in store.meta("predictions", first).items() if name != "checksum"}
    table = store.unit("predictions", first) / "predictions.parquet"
    content = table.read_bytes()
    store.remove("predictions", first)
    with store.commit("predictions", first, {**meta, "weights": "feed"}) as partial:
        (partial / "predictions.parquet").write_bytes(content)
    ran()
    (model,) = json.loads((folder / "provenance.json").read_text())["models"]
    assert model["weights"] == {"feed": 1, store.meta("predictions", second)["weights"]: 1}
