"""Files of a dataset that are replaced by others of the same size: no number of theirs stays, and no other one goes."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from heatproof import stamps
from heatproof.config.settings import from_plain
from heatproof.errors import ConfigError, DataError
from heatproof.imaging.images import read_image, read_mask
from heatproof.plan import contents
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import Announcement
from heatproof.results.case_samples import prediction_units, prepared_sample
from heatproof.results.finished import Results
from heatproof.results.parquet import read_table
from heatproof.results.ranking import rankings
from heatproof.results.store import Run
from heatproof.run.execution import Observer
from heatproof.run.runner import run
from heatproof_dicom_files.writing import write_dicom
from heatproof_parts import Scans

pytestmark = pytest.mark.slow

Ran = Callable[..., Any]
IDS = ("a", "b", "c", "d", "e", "f")
SUFFIXES = (".tif", ".dcm", ".nii")
TABLES = ("scores.parquet", "summary.csv", "comparisons.csv", "ranks.csv")
RANDOM = np.random.default_rng(5)
Edit = Callable[[Path, bytes], None]


def write(path: Path, values: np.ndarray) -> None:
    """Write an image or mask (h, w) uint8 without compression; as NIfTI a volume of 16 such slices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        Image.fromarray(values).save(path)
    elif path.suffix == ".dcm":
        write_dicom(values[None], path)
    else:
        nibabel.save(nibabel.Nifti1Image(np.stack([values] * 16), np.eye(4)), path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with six images and masks in each format."""
    for suffix in SUFFIXES:
        for id in IDS:
            write(tmp_path / suffix / "images" / f"{id}{suffix}", RANDOM.integers(1, 255, (16, 16), dtype=np.uint8))
            write(tmp_path / suffix / "masks" / f"{id}{suffix}", np.tri(16, dtype=np.uint8))
    return tmp_path


def overwritten(path: Path, content: bytes) -> None:
    """Write into the file, as ``cp`` does."""
    with open(path, "r+b") as stream:
        stream.write(content)


def renamed(path: Path, content: bytes) -> None:
    """Put another file there, as ``rsync`` and ``tar`` do."""
    path.with_name("other").write_bytes(content)
    os.replace(path.with_name("other"), path)


def with_time(edit: Edit) -> Edit:
    """The same with the time of the old file, as with ``cp -p``, ``rsync -t`` and ``tar``."""

    def edited(path: Path, content: bytes) -> None:
        state = path.stat()
        edit(path, content)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))

    edited.__name__ = f"{edit.__name__} with the old time"
    return edited


ARCHIVED = with_time(renamed)
EDITS = (overwritten, renamed, with_time(overwritten), ARCHIVED)
CASES = [
    *((".tif", kind, edit) for kind in ("images", "masks") for edit in EDITS),
    *((suffix, kind, ARCHIVED) for suffix in (".dcm", ".nii") for kind in ("images", "masks")),
]


def change(path: Path, edit: Edit = ARCHIVED) -> None:
    """Turn an image or mask around: its size, and usually its time, stay."""
    read = read_mask if path.parent.name == "masks" else lambda path: read_image(path)[0]
    before = read(path)
    size = path.stat().st_size
    content = path.read_bytes()
    count = before.size
    edit(path, content[:-count] + content[-count:][::-1])
    assert path.stat().st_size == size
    assert not np.array_equal(read(path), before)


@pytest.fixture
def settings(data: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Return a function for the settings of a run over the files with a suffix, two samples per chunk."""

    def make(suffix: str = ".tif", tells: bool = True, split: str | None = None) -> dict[str, Any]:
        dataset = {"use": "scans", "root": str(data / suffix), "suffix": suffix, "tells": tells, "split": split}
        model = {"use": "regions", "dimensions": 3 if suffix == ".nii" else 2}
        return {"datasets": [dataset], "models": [model], "chunk": 2, "cache": str(tmp_path / "cache")}

    return make


def tables(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in TABLES}


def log(folder: Path) -> str:
    return (folder / "log.txt").read_text()


@pytest.mark.parametrize(
    ("suffix", "kind", "edit"),
    CASES,
    ids=[f"{suffix} {kind} {edit.__name__}" for suffix, kind, edit in CASES],
)
def test_a_replaced_file_makes_its_chunk_new(
    ran: Ran, settings: Any, calls: Any, data: Path, tmp_path: Path, suffix: str, kind: str, edit: Edit
) -> None:
    output = str(tmp_path / "run")
    first = ran(output=output, **settings(suffix))
    before = tables(first.folder)
    keys = Run(first.folder).keys("predictions")
    calls()
    change(data / suffix / kind / f"d{suffix}", edit)
    second = ran(output=output, **settings(suffix))
    assert {id for _, id in calls("load")} == {"d"}, "the others are cached"
    new = Run(second.folder).keys("predictions") - keys
    assert len(keys) == 3
    assert [Run(second.folder).meta("predictions", key)["ids"] for key in new] == [["c", "d"]]
    example = f"{kind}/d{suffix}"
    assert second.changed == f"files have changed since the last run, such as {example}; units computed again: 2"
    assert second.changed in log(second.folder)
    fresh = ran(output=str(tmp_path / "fresh"), **{**settings(suffix), "cache": False})
    cached = ran(output=str(tmp_path / "cached"), **settings(suffix))
    assert tables(second.folder) == tables(cached.folder) == tables(fresh.folder)
    assert before["scores.parquet"] != tables(second.folder)["scores.parquet"]
    assert (first.changed, fresh.changed, cached.changed) == ("", "", "")


def test_where_any_file_may_belong_to_a_sample_all_is_new(ran: Ran, settings: Any, data: Path, tmp_path: Path) -> None:
    first = ran(**settings(tells=False))
    keys = Run(first.folder).keys("predictions")
    assert ran(**settings(tells=False)).changed == ""
    assert Run(first.folder).keys("predictions") == keys
    change(data / ".tif" / "masks" / "d.tif")
    second = ran(**settings(tells=False))
    assert len(Run(second.folder).keys("predictions") - keys) == 3
    fresh = ran(output=str(tmp_path / "fresh"), **{**settings(tells=False), "cache": False})
    assert tables(second.folder) == tables(fresh.folder)


def test_what_is_undone_is_there_again(ran: Ran, settings: Any, data: Path, calls: Any) -> None:
    first = ran(**settings())
    before = tables(first.folder)
    path = data / ".tif" / "masks" / "d.tif"
    content = path.read_bytes()
    change(path)
    ran(**settings())
    path.write_bytes(content)
    calls()
    again = ran(**settings())
    assert calls("load", "explain", "measure") == []
    assert again.changed == ""
    assert tables(again.folder) == before


def test_a_new_metric_never_mixes_two_versions(ran: Ran, settings: Any, data: Path, tmp_path: Path) -> None:
    ran(**settings())
    change(data / ".tif" / "masks" / "d.tif")
    metrics = ["mass", {"use": "mass", "scale": 2.0}, "accuracy"]
    second = ran(**settings(), metrics=metrics)
    fresh = ran(output=str(tmp_path / "fresh"), **{**settings(), "cache": False}, metrics=metrics)
    assert tables(second.folder) == tables(fresh.folder)


def test_two_versions_of_a_download_are_refused_in_one_config(ran: Ran, settings: Any, data: Path) -> None:
    """They would be one row of the tables, with the numbers of only one of them."""
    shutil.copytree(data / ".tif", data / "mended")
    change(data / "mended" / "masks" / "d.tif")
    entry = settings()["datasets"][0]
    both = [entry, {**entry, "root": str(data / "mended")}]
    message = (
        rf"scans is listed with two values of root, {data}/.tif and {data}/mended, where files have the same names"
    )
    with pytest.raises(ConfigError, match=message):
        ran(**{**settings(), "datasets": both})


def test_a_setting_is_filled_again_from_other_tuning_samples(
    ran: Ran, settings: Any, data: Path, tmp_path: Path, calls: Any
) -> None:
    ran(**settings(split="test"), metrics=["filled"])
    assert len(calls("fit")) == 1
    change(data / ".tif" / "images" / "d.tif")
    ran(**settings(split="test"), metrics=["filled"])
    assert calls("fit") == [], "a reported sample fills nothing"
    path = data / ".tif" / "images" / "a.tif"
    renamed(path, (data / ".tif" / "images" / "e.tif").read_bytes())
    second = ran(**settings(split="test"), metrics=["filled"])
    assert len(calls("fit")) == 1
    fresh = ran(output=str(tmp_path / "fresh"), **{**settings(split="test"), "cache": False}, metrics=["filled"])
    assert tables(second.folder) == tables(fresh.folder)


def test_workers_serve_nothing_old(settings: Any, data: Path, tmp_path: Path) -> None:
    usual = {"explainers": ["slope"], "metrics": ["mass"], "rows": 2, "threads": 1, "device": "cpu", **settings()}
    workers = {"use": "processes", "workers": 2}
    parts = Catalog([
        Announcement("parts", "heatproof_parts", "heatproof-parts", "1.0"),
        Announcement("processes", "heatproof_processes", "heatproof-processes", "1.0"),
    ])  # fmt: skip
    config = from_plain({**usual, "output": str(tmp_path / "run"), "executor": workers}, parts)
    run(config, parts)
    change(data / ".tif" / "masks" / "d.tif")
    second = run(config, parts)
    assert second.changed
    fresh = run(from_plain({**usual, "output": str(tmp_path / "fresh"), "cache": False}, parts), parts)
    assert tables(second.folder)["scores.parquet"] == tables(fresh.folder)["scores.parquet"]


def test_a_dataset_that_was_used_before_reads_again(
    parts: Any, configured: Any, settings: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a notebook, where the same config runs twice and the dataset remembers what it has read."""
    load = Scans.load

    def remembered(self: Scans, id: str) -> Any:
        samples = vars(self).setdefault("samples", {})
        samples[id] = samples.get(id) or load(self, id)
        return samples[id]

    monkeypatch.setattr(Scans, "load", remembered)
    config = configured(**{**settings(), "cache": False})
    run(config, parts)
    change(data / ".tif" / "masks" / "d.tif")
    second = run(config, parts)
    fresh = run(configured(**{**settings(), "cache": False, "output": str(tmp_path / "fresh")}), parts)
    assert tables(second.folder) == tables(fresh.folder)


def test_a_file_that_changes_during_a_run_commits_nothing(
    ran: Ran, settings: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Scans.load
    path = data / ".tif" / "masks" / "d.tif"

    def disturbed(self: Scans, id: str) -> Any:
        if id == "d":
            change(path)
        return load(self, id)

    monkeypatch.setattr(Scans, "load", disturbed)
    with pytest.raises(DataError, match="files of scans changed while the run was reading them, among those of c to d"):
        ran(**settings())
    folder = tmp_path / "run"
    assert [Run(folder).meta("predictions", key)["ids"] for key in Run(folder).keys("predictions")] == [["a", "b"]]
    monkeypatch.setattr(Scans, "load", load)
    again = ran(**settings())
    fresh = ran(output=str(tmp_path / "fresh"), **{**settings(), "cache": False})
    assert tables(again.folder) == tables(fresh.folder)


def blind_to_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave only the size in a stamp, as if a disk had decayed or someone had set the clock back."""
    monkeypatch.setattr(stamps, "_stamp", lambda name: f"{os.stat(name).st_size} 0 0 0" if Path(name).is_file() else "")


def test_data_are_verified_on_request(
    parts: Any, configured: Any, settings: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind_to_times(monkeypatch)
    config = configured(**settings())
    first = run(config, parts)
    before = tables(first.folder)
    change(data / ".tif" / "masks" / "d.tif")
    assert tables(run(config, parts).folder) == before, "nothing but reading it shows the change"
    verified = run(config, parts, verify=True)
    assert verified.changed == "files have changed since the last run, such as masks/d.tif; units computed again: 2"
    blind = tables(verified.folder)
    monkeypatch.undo()
    fresh = run(configured(**{**settings(), "cache": False, "output": str(tmp_path / "fresh")}), parts)
    assert blind == tables(fresh.folder) != before


def test_the_command_verifies_data_and_says_what_changed(
    command: Any, settings: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind_to_times(monkeypatch)
    usual = {"explainers": ["slope"], "metrics": ["mass"], "rows": 2, "threads": 1, "device": "cpu"}
    with open(tmp_path / "config.yaml", "w") as stream:
        YAML().dump({**usual, **settings(), "output": str(tmp_path / "run")}, stream)
    assert "files have changed" not in command("run", tmp_path / "config.yaml").output
    change(data / ".tif" / "masks" / "d.tif")
    assert "files have changed" not in command("run", tmp_path / "config.yaml").output
    result = command("run", tmp_path / "config.yaml", "--verify-data")
    assert result.exit_code == 0
    assert "files have changed since the last run, such as masks/d.tif; units computed again: 2\n" in result.output


def test_an_unchanged_download_is_read_once(
    ran: Ran, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stamps, "SETTLED", -1e9)
    reads: list[Path] = []
    digest = stamps.file_digest
    monkeypatch.setattr(stamps, "file_digest", lambda path: (reads.append(path), digest(path))[1])
    ran(**settings())
    assert len(reads) == len(set(reads)) == 12
    ran(output=str(tmp_path / "other"), **settings())
    ran(output=str(tmp_path / "third"), **{**settings(), "cache": str(tmp_path / "another cache")})
    assert len(reads) == 12


def test_nothing_is_written_without_a_cache(
    ran: Ran, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stamps, "SETTLED", -1e9)
    monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path / "home"))
    ran(**{**settings(), "cache": False})
    assert not (tmp_path / "home").exists()


def test_reading_reports_its_progress(
    parts: Any, configured: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stages(Observer):
        """Notes the stages."""

        def __init__(self) -> None:
            self.texts: list[str] = []

        def stage(self, text: str) -> None:
            self.texts.append(text)

    digest = stamps.file_digest
    monkeypatch.setattr(contents, "EVERY", 0.02)
    monkeypatch.setattr(contents, "BATCH", 2)
    monkeypatch.setattr(stamps, "file_digest", lambda path: (time.sleep(0.03), digest(path))[1])
    stages = Stages()
    run(configured(**settings()), parts, stages)
    counts = [text for text in stages.texts if text.startswith("reading files: ")]
    assert counts[0] == "reading files: 0 of 12"
    assert len(counts) >= 2
    assert stages.texts.index("planning") < stages.texts.index(counts[0])


def test_the_page_shows_the_samples_that_were_scored(ran: Ran, settings: Any, parts: Any, data: Path) -> None:
    """Also where a version of the files comes back, so that its units are the older ones."""
    path = data / ".tif" / "masks" / "d.tif"
    for _ in range(3):
        results = Results(ran(**settings()).folder, parts)
        entry = next(entry for entry in rankings(results)[0].entries if not entry.baseline)
        table = read_table(results.run.folder / "scores.parquet")
        rows = table["explainer"] == entry.row["explainer"]
        heatmaps = {path.split("/")[1] for path in table["heatmap"][rows]}
        units = prediction_units(results, entry.settings, heatmaps)
        assert sorted(case for unit in units for case in unit["ids"]) == list(IDS)
        shown = prepared_sample(results, units, "d").sample
        fresh = results.component("model", entry.settings["model"]).prepare(
            results.component("dataset", entry.settings["dataset"]).load("d")
        )
        np.testing.assert_array_equal(shown.annotations[0].values, fresh.annotations[0].values)
        change(path)


def test_the_page_shows_no_file_that_was_not_scored(ran: Ran, settings: Any, parts: Any, data: Path) -> None:
    results = Results(ran(**{**settings(), "cache": False}).folder, parts)
    entry = next(entry for entry in rankings(results)[0].entries if not entry.baseline)
    units = prediction_units(results, entry.settings, results.run.keys("heatmaps"))
    assert prepared_sample(results, units, "d").sample.id == "d"
    change(data / ".tif" / "masks" / "d.tif")
    with pytest.raises(DataError, match=r"masks/d\.tif has changed since this run; run the same config again"):
        prepared_sample(results, units, "d")
    assert prepared_sample(results, units, "c").sample.id == "c"
