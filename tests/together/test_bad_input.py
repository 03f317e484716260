"""Bad input: each kind gets one sentence that says what to do and a non-zero exit, and nothing computed is lost."""

import ctypes
import json
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from heatproof.errors import HeatproofError
from heatproof.hooks import hookimpl
from heatproof.records import Annotation, Geometry, Sample
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import Announcement, Broken
from heatproof.results.parquet import read_table
from heatproof.results.store import Run
from heatproof.seeding import generator
from heatproof_idrid.idrid import Idrid

pytestmark = pytest.mark.slow

SIDE = 64
LESIONS = ("microaneurysms", "haemorrhages", "hard_exudates", "soft_exudates")
IMAGE = "A. Segmentation/1. Original Images/b. Testing Set/IDRiD_{:02d}.jpg"
MASK = "A. Segmentation/2. All Segmentation Groundtruths/b. Testing Set/3. Hard Exudates/IDRiD_{:02d}_EX.tif"
Configured = Callable[..., Path]


def sample(number: int) -> Sample:
    """An image of noise with the same square in all its masks; numbers below three belong to the tuning split."""
    image = generator("bad input", number).integers(0, 256, (3, SIDE, SIDE)).astype(np.uint8)
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[8:24, 4 * number : 4 * number + 16] = True
    split = {"split": "tuning" if number < 3 else "test"}
    annotations = tuple(Annotation(lesion, mask) for lesion in LESIONS)
    return Sample(str(number), image, annotations, None, str(number), Geometry.identity((SIDE, SIDE)), None, split)


@pytest.fixture
def idrid(tmp_path: Path) -> Path:
    """A download of IDRiD with eight small images: 01–03 for tuning, 04–08 for test."""
    Idrid(root=tmp_path / "idrid").write(map(sample, range(8)), tmp_path / "idrid")
    return tmp_path / "idrid"


@pytest.fixture
def config(tmp_path: Path, idrid: Path) -> Configured:
    """Writes the config of a run over the five test images; YAML holds JSON."""

    def write(**settings: Any) -> Path:
        usual = {
            "output": "run", "datasets": [{"use": "idrid", "root": str(idrid), "split": "test"}],
            "models": ["regions"], "explainers": ["slope"], "metrics": ["mass"], "chunk": 1, "rows": 1, "threads": 1,
            "device": "cpu", "statistics": {"resamples": 50, "permutations": 50}, "report": {"examples": 0},
        }  # fmt: skip
        path = tmp_path / "config.yaml"
        path.write_text(json.dumps({**usual, **settings}))
        return path

    return write


def refused(result: Any) -> str:
    """The last line of the error output."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    *progress, last = result.stderr.splitlines()
    assert last.startswith("Error: ")
    assert not [line for line in progress if line.startswith("Error")]
    return last.removeprefix("Error: ")


def has(text: str, *parts: str) -> None:
    """Assert that a text contains all these parts."""
    assert not [part for part in parts if part not in text], text


# configs


TEXTS = {
    "not YAML": (b"datasets: [phantom\nmodels: {", ["config.yaml:2: not YAML"]),
    "binary": (bytes(range(256)), ["config.yaml is not a text file in UTF-8"]),
    "empty": (b"", ["is empty", "a config is a mapping with datasets, models, explainers and metrics"]),
    "a list": (b"[phantom]", ["a config is a mapping"]),
    "code": (b"output: !!python/object/apply:os.system mkdir stolen", ["tags (!) are not allowed; write plain values"]),
    "nothing": (b"seed: 1", ["there is nothing to run", "; give datasets, models, explainers"]),
}


@pytest.mark.parametrize(("text", "message"), TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("verb", ["check", "run"])
def test_texts_that_are_no_config(
    verb: str, text: bytes, message: list[str], command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_bytes(text)
    has(refused(command(verb, "config.yaml")), *message)
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


SETTINGS = {
    "unknown key": ({"dataset": []}, ["dataset: unknown name", "did you mean 'datasets'"]),
    "unknown plugin": (
        {"explainers": ["slop"]},
        ["explainers.0", "no explainer is named 'slop' (seen: 'slop'); did you mean 'slope'"],
    ),
    "import path": (
        {"models": ["os:system"]},
        ["models.0", "import paths are not allowed, see `heatproof list`"],
    ),
    "unknown setting": ({"metrics": [{"use": "ecs", "gird": 3}]}, ["metrics.0.gird: unknown name", "mean 'grid'"]),
    "wrong value": ({"metrics": [{"use": "ecs", "grid": "x"}]}, ["metrics.0.grid", "be an integer", "seen: 'x'"]),
    "unknown device": ({"device": "gpu"}, ["device: is not a device", "seen: 'gpu'", "auto, cpu, cuda, cuda:N"]),
    "unknown split": (
        {"datasets": [{"use": "phantom", "split": "tset"}]},
        ["datasets.0.split", "phantom has no split 'tset' (seen: 'tset'); did you mean 'test'?"],
    ),
    "unset variable": (
        {"datasets": [{"use": "idrid", "root": "${HEATPROOF_UNSET}"}]},
        ["datasets.0.root", "variable HEATPROOF_UNSET is not set; set it, or write ${HEATPROOF_UNSET:-default}"],
    ),
    "no root": ({"datasets": ["idrid"]}, ["datasets.0.root", "is missing"]),
    "missing folder": (
        {"datasets": [{"use": "idrid", "root": "/nowhere/at/all"}]},
        ["/nowhere/at/all", "does not exist; download 'A. Segmentation'"],
    ),
    "unknown layer": (
        {"explainers": [{"use": "layered", "layer": "blok"}]},
        ["no combination of this config can run: regions has no layer 'blok'", "allowed: ", "last"],
    ),
    "unknown target": (
        {"explainers": ["slope"], "targets": ["lfet"]},
        ["regions has no class 'lfet'; give 'predicted', 'label', an index below 2 or a class (did you mean 'left'?)"],
    ),
    "undefined": ({"explainers": ["demanding"]}, ["undefined because demanding needs attention"]),
    "unbuildable": ({"models": ["regions", "unbuildable"]}, ["checkpoint x.safetensors does not exist; give the path"]),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "message"), SETTINGS.values(), ids=SETTINGS)
def test_settings_that_cannot_be(
    settings: dict[str, Any], message: list[str], command: Any, config: Configured, tmp_path: Path
) -> None:
    has(refused(command("run", config(**settings))), *message)
    assert not (tmp_path / "run").exists()


def test_a_device_that_is_not_there(command: Any, config: Configured) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has the device")
    has(refused(command("run", config(device="cuda"))), "device 'cuda' is not available", "use device: cpu or auto")


def test_all_mistakes_of_a_file_at_once(command: Any, config: Configured) -> None:
    result = command("check", config(device="gpu", chunk=0, models=["regoins"]))
    lines = result.stderr.splitlines()
    assert result.exit_code == 1
    assert [name for name in ("device", "chunk", "models.0") if any(f": {name}: " in line for line in lines)] == [
        "device", "chunk", "models.0",
    ]  # fmt: skip
    assert len(lines) == 3


ARGUMENTS = {
    "no file": (["run", "nowhere.yaml"], ["nowhere.yaml does not exist; give the path of a config file"]),
    "a folder": (["run", "."], [". is a folder; give the path of a config file"]),
    "a folder to check": (["check", "/usr"], ["/usr is a folder; give the path of a config file"]),
    "a name to check": (["check", "grdcam"], ["nothing is registered as 'grdcam'; did you mean 'gradcam'"]),
    "a name to show": (["show", "ecz"], ["nothing is registered as 'ecz'; did you mean 'ecs'"]),
    "shard of words": (["run", "x.yaml", "--shard", "one"], ["--shard must be I/N", "such as 2/8 (got one)"]),
    "shard too high": (["run", "x.yaml", "--shard", "3/2"], ["--shard must be I/N", "such as 2/8 (got 3/2)"]),
    "shard zero": (["run", "x.yaml", "--shard", "0/2"], ["--shard must be I/N", "such as 2/8 (got 0/2)"]),
    "no run": (["report", "/usr"], ["/usr is not a run's folder", "give the output of `heatproof run`"]),
    "no root": (["data", "check", "idrid"], ["idrid: root: is missing"]),
    "no download": (["data", "check", "idrid", "--root", "/usr/local/bin"], ["IDRiD_01.jpg'; download 'A. Segmentat"]),
    "no dataset": (["data", "check", "gradcam"], ["no dataset is named 'gradcam'; 'gradcam' is of kind explainer"]),
    "no layout": (["data", "write", "phantom", "--root", "x"], ["phantom: root: unknown name"]),
    "a name": (["new", "metric", "My-Metric"], ["'My-Metric' cannot be the name of a component; use lower-case words"]),
}  # fmt: skip


@pytest.mark.parametrize(("words", "message"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments_that_cannot_be(
    words: list[str], message: list[str], command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    has(refused(command(*words)), *message)
    assert list(tmp_path.iterdir()) == []


OVERRIDES = {
    "no value": ("foo", ["--set foo: is not an assignment; write path.to.value=value"]),
    "unknown": ("modles=[regions]", ["--set modles=[regions]: modles: unknown name", "did you mean 'models'"]),
    "index": ("models.7.x=1", ["models is a list of length 1; give an index below that"]),
    "not YAML": ("seed=[1", ["--set seed=[1", "not YAML"]),
    "wrong": ("chunk=-1", ["--set chunk=-1: chunk: ", "greater than 0", "seen: -1"]),
}


@pytest.mark.parametrize(("assignment", "message"), OVERRIDES.values(), ids=OVERRIDES)
def test_overrides_that_cannot_be(assignment: str, message: list[str], command: Any, config: Configured) -> None:
    has(refused(command("run", config(), "--set", assignment)), *message)


@pytest.mark.parametrize("words", [["--debug", "run"], ["run", "--debug"]])
def test_debug_shows_the_traceback(words: list[str], command: Any) -> None:
    result = command(*words, "nowhere.yaml")
    assert isinstance(result.exception, HeatproofError)
    assert result.exit_code == 1


# plugins


@pytest.fixture
def catalog(monkeypatch: pytest.MonkeyPatch, command: Any) -> Callable[[Catalog], None]:
    """Replaces the catalog of installed plugins."""
    return lambda other: monkeypatch.setattr("heatproof.registry.catalog.default", lambda: other)


def test_a_broken_plugin(command: Any, catalog: Any, config: Configured) -> None:
    parts = Announcement("parts", "heatproof_parts", "heatproof-parts", "1.0")
    missing = Announcement("gone", "heatproof_gone", "heatproof-gone", "0.3")
    catalog(Catalog([parts, missing], [Broken("ill", "2", "", "[red]ill")]))
    listed = command("list")
    assert listed.exit_code == 0
    has(listed.stdout, "slope", "heatproof-gone", "No module named 'heatproof_gone'", "[red]ill")
    has(refused(command("list", "--verify")), "broken plugins: 2")
    has(refused(command("check", "heatproof-gone")), "heatproof-gone is broken: heatproof_gone does not import")
    has(refused(command("plan", config())), "no dataset is named 'idrid'", "broken plugin (", "heatproof-gone 0.3: ")


def test_two_distributions_of_one_name(
    command: Any, catalog: Any, config: Configured, installed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heatproof_parts.twin", Twin, raising=False)
    announcements = [plugin.announcement for plugin in installed._plugins.working]
    others = [plugin for plugin in announcements if plugin.distribution != "heatproof"]
    catalog(Catalog([*others, Announcement("twin", "heatproof_parts:twin", "heatproof-twin", "1.0")]))
    choices = "'heatproof-parts/slope' or 'heatproof-twin/slope'"
    sentence = "is registered by several distributions"
    has(refused(command("plan", config())), "explainers.0", sentence, f"; write {choices}")
    assert command("plan", config(explainers=["heatproof-twin/slope"])).exit_code == 0
    has(
        command("show", "slope").stdout, "explainer slope (heatproof-parts 1.0)", "explainer slope (heatproof-twin 1.0)"
    )


class Twin:
    """A second plugin that registers ``slope``."""

    @staticmethod
    @hookimpl
    def heatproof_explainers() -> dict[str, str]:
        return {"slope": "heatproof_parts:Slope"}


def test_an_error_that_nobody_foresaw(command: Any, config: Configured, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: Any) -> None:
        raise KeyError("left\nfoot")

    monkeypatch.setattr(Idrid, "ids", stumble)
    has(refused(command("plan", config())), "unforeseen KeyError in ", "test_bad_input.py:", "add --debug")


# checkpoints


class Theft:
    """The code that a malicious pickle would run."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def code(path: Path) -> None:
    torch.save({"fc.6.weight": torch.zeros(1), "x": Theft(path.parent / "stolen")}, path)


def bare_code(path: Path) -> None:
    path.write_bytes(pickle.dumps(Theft(path.parent / "stolen")))


CHECKPOINTS = {
    "none": ("gone.pt", lambda path: None, ["gone.pt does not exist"]),
    "text": ("notes.pt", lambda path: path.write_text("weights"), ["notes.pt is not a checkpoint that can be loaded"]),
    "text as safetensors": (
        "notes.safetensors",
        lambda path: path.write_text("weights"),
        ["is not a checkpoint that can be loaded safely", "give a safetensors file"],
    ),
    "lines": ("lines.pt", lambda path: path.write_text("root:x:0:0:root\n"), ["is not a checkpoint that can be"]),
    "empty": ("empty.pt", lambda path: path.touch(), ["empty.pt is not a checkpoint that can be loaded safely"]),
    "other keys": (
        "other.safetensors",
        lambda path: save_file({"a": torch.zeros(1)}, path),
        ["does not fit the network", "unknown: 1 (such as 'a')", "give a checkpoint of this architecture"],
    ),
    "other objects": ("list.pt", lambda path: torch.save([1, 2], path), ["holds no state dictionary of tensors"]),
    "code": ("code.pt", code, ["is not a checkpoint that can be loaded safely"]),
    "pickled code": ("pickle.pt", bare_code, ["is not a checkpoint that can be loaded safely"]),
}


@pytest.mark.parametrize(("name", "make", "message"), CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_checkpoints_that_are_none(
    name: str, make: Any, message: list[str], command: Any, config: Configured, tmp_path: Path
) -> None:
    make(tmp_path / name)
    result = command("run", config(models=[{"use": "resnet50", "size": 32, "weights": name}], metrics=["ecs"]))
    has(refused(result), *message)
    assert not (tmp_path / "stolen").exists()
    assert not (tmp_path / "run").exists()


def test_the_pickles_would_have_run_their_code(tmp_path: Path) -> None:
    bare_code(tmp_path / "pickle.pt")
    pickle.loads((tmp_path / "pickle.pt").read_bytes())
    assert (tmp_path / "stolen").is_dir()


# datasets


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def enlarged(path: Path) -> None:
    Image.open(path).resize((SIDE, SIDE // 2)).save(path)


FAULTS = {
    "truncated JPEG": (IMAGE, truncated, "IDRiD_05.jpg is damaged (", "; replace it by a fresh copy."),
    "empty JPEG": (IMAGE, lambda path: path.write_bytes(b""), "IDRiD_05.jpg is damaged (", "replace it"),
    "truncated TIFF": (MASK, truncated, "IDRiD_05_EX.tif is damaged (", "; replace it by a fresh copy."),
    "mask of another size": (MASK, enlarged, "IDRiD_05_EX.tif is 32 × 64 pixels, its image", "one of them was resized"),
}


@pytest.mark.parametrize(("name", "spoil", "message", "advice"), FAULTS.values(), ids=FAULTS)
def test_one_bad_file_fails_its_case_only(
    name: str, spoil: Any, message: str, advice: str, command: Any, config: Configured, idrid: Path, tmp_path: Path
) -> None:
    spoil(idrid / name.format(5))
    result = command("run", config())
    assert result.exit_code == 0, result.output
    assert "; scores.parquet says why" in result.stdout
    assert "Traceback" not in result.output
    rows = read_table(tmp_path / "run/scores.parquet")
    assert set(rows["status"][rows["case"] != "IDRiD_05"]) == {"valid"}
    assert set(rows["status"][rows["case"] == "IDRiD_05"]) == {"failed"}
    assert all(message in reason and advice in reason for reason in rows["reason"][rows["case"] == "IDRiD_05"])
    has(refused(command("run", config(), "--strict")), "invalid or failed cases: ")
    has(refused(command("data", "check", "idrid", "--root", idrid)), "idrid has faults (", "see the examples")


def test_a_file_that_was_replaced_is_computed_on_request(
    command: Any, config: Configured, idrid: Path, tmp_path: Path
) -> None:
    path = idrid / IMAGE.format(5)
    whole = (idrid / IMAGE.format(5)).read_bytes()
    path.write_bytes(whole[:200] + bytes(len(whole) - 200))
    assert command("run", config()).exit_code == 0
    path.write_bytes(whole)
    assert "failed" in read_table(tmp_path / "run/scores.parquet")["status"]
    assert command("run", config(), "--retry-failed", "--strict").exit_code == 0
    assert set(read_table(tmp_path / "run/scores.parquet")["status"]) == {"valid"}


def red(path: Path) -> Image.Image:
    mask = np.asarray(Image.open(path)) > 0
    return Image.fromarray(np.stack([255 * mask, 0 * mask, 0 * mask, 0 * mask + 255], -1).astype(np.uint8), "RGBA")


def opaque(path: Path) -> None:
    red(path).save(path)


def palette(path: Path) -> None:
    """Draw the lesion in white, the colour of index 0."""
    image = Image.fromarray((np.asarray(Image.open(path)) == 0).astype(np.uint8), "P")
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.save(path)


@pytest.mark.parametrize("convert", [opaque, palette])
def test_masks_of_other_modes_say_the_same(convert: Any, command: Any, config: Configured, idrid: Path) -> None:
    assert command("run", config(output="usual")).exit_code == 0
    for path in idrid.rglob("*.tif"):
        convert(path)
    assert command("run", config(output="other"), "--strict").exit_code == 0
    usual, other = (read_table(idrid.parent / name / "scores.parquet") for name in ("usual", "other"))
    assert usual["value"].tolist() == other["value"].tolist()
    assert np.isfinite(usual["value"]).all()


def test_an_empty_dataset(command: Any, config: Configured, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    empty = config(datasets=[{"use": "idrid", "root": "empty"}])
    has(refused(command("run", empty)), f"{tmp_path / 'empty'}, the root of", "holds no image such as", "; download")


def test_an_empty_split(command: Any, config: Configured, idrid: Path) -> None:
    for number in range(4, 9):
        (idrid / IMAGE.format(number)).unlink()
    has(refused(command("run", config())), "idrid has no samples in split test", "choose another split")


def test_no_image_can_be_read(command: Any, config: Configured, idrid: Path, tmp_path: Path) -> None:
    for path in idrid.rglob("*.jpg"):
        truncated(path)
    has(
        refused(command("run", config(metrics=["ecs"]))),
        "ecs cannot fill weights from idrid (no sample in split tuning of idrid can be read (tried: 3); check the ",
        "); set the values in the config",
    )


# the run's folder


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """A separate disk under ``run``, to be filled or made read-only."""
    libc = ctypes.CDLL(None, use_errno=True)
    target = tmp_path / "run"
    target.mkdir()
    remount = 32
    readonly = 1

    def mount(size: str, flags: int = 0) -> None:
        if libc.mount(b"tmpfs", str(target).encode(), b"tmpfs", flags, f"size={size}".encode()) != 0:
            pytest.skip(f"no disk can be mounted here: {os.strerror(ctypes.get_errno())}")

    def change(size: str, read: bool = False) -> None:
        mount(size, remount | (readonly if read else 0))

    mount("200k")
    yield change
    libc.umount2(str(target).encode(), 0)


def test_a_full_disk_loses_nothing(command: Any, config: Configured, disk: Any, calls: Any, tmp_path: Path) -> None:
    explained = config(datasets=[{"use": "images", "split": "test", "count": 160}])
    has(refused(command("run", explained)), f"cannot write to {tmp_path / 'run'}: No space left on device; make room")
    keys = Run(tmp_path / "run").keys("heatmaps")
    assert keys
    calls()
    disk("40m")
    result = command("run", explained, "--strict")
    assert result.exit_code == 0, result.output
    again = [id for call in calls("explain") for id in call[2]]
    assert keys < Run(tmp_path / "run").keys("heatmaps")
    assert 80 - len(keys) <= len(again) < 80


def test_a_read_only_disk(command: Any, config: Configured, disk: Any, tmp_path: Path) -> None:
    disk("200k", read=True)
    has(refused(command("run", config())), f"cannot write to {tmp_path / 'run'}: Read-only file system; make room, or")


def test_an_output_that_cannot_be(command: Any, config: Configured, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    has(refused(command("run", config(output="file/below"))), "file/below: Not a directory; make room, or choose")


def test_a_folder_without_permission(command: Any, config: Configured, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    if os.access(tmp_path / "locked", os.W_OK):
        pytest.skip("permissions do not bind this user")
    has(refused(command("run", config(output="locked/run"))), "locked/run: Permission denied; make room, or choose")
