"""The cache of prepared samples: bit for bit, keyed by content, and without effect on a run."""

import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from PIL import Image
from platformdirs.macos import MacOS
from platformdirs.unix import Unix

from heatproof.component import Params
from heatproof.dataset import Dataset
from heatproof.errors import ConfigError
from heatproof.imaging.images import read_image, read_mask
from heatproof.imaging.losses import with_losses
from heatproof.imaging.transforms import Resize
from heatproof.model import Model
from heatproof.plan import sample_cache as module
from heatproof.plan import sample_file
from heatproof.plan.sample_cache import (
    Cache,
    Prepared,
    configured,
    default_folder,
    prune,
)
from heatproof.plan.sample_file import DAMAGES, PreparedSample, packed, unpacked
from heatproof.records import Annotation, Geometry, Sample
from heatproof.registry.catalog import Catalog
from heatproof.results.case_samples import prepare
from heatproof.testing.toys import Blobs, Regions
from heatproof_cohorts.image_files import write_image, write_mask
from heatproof_eyetracking.gaze import Frames

RANDOM = np.random.default_rng(3)
ENDS = ("png", "tif")


class FilesParams(Params):
    """A folder, and a setting without effect."""

    root: Path
    shift: int = 0


F = TypeVar("F", bound=FilesParams, covariant=True)


LOADS: list[str] = []
"""The ids that were loaded; an attribute of the class would change its identity."""


class Files(Dataset[F]):
    """Images with a mask each, in a folder."""

    def ids(self, split: str | None = None) -> list[str]:
        return sorted(path.stem for path in self.params.root.glob("*.png"))

    def load(self, id: str) -> Sample:
        LOADS.append(id)
        image, geometry = read_image(self.params.root / f"{id}.png")
        mark = self.params.root / f"{id}.tif"
        annotation = Annotation("spot", read_mask(mark), reader="one", source=str(mark))
        return Sample(id, image, (annotation,), np.int64(2), "p1", geometry, extras={"text": "clear"})  # type: ignore[arg-type]


class Own(Regions):
    """A model with its own ``prepare``."""

    def prepare(self, sample: Sample) -> Sample:
        return replace(super().prepare(sample), extras={"own": 1})


class Resized(Regions):
    """A model on eight by eight cells."""

    preparation = Resize(size=8)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    for name in ("a", "b", "c"):
        write_image(RANDOM.integers(0, 255, (3, 20, 30)).astype(np.uint8), tmp_path / "data" / f"{name}.png")
        write_mask(RANDOM.random((20, 30)) > 0.7, tmp_path / "data" / f"{name}.tif")
    LOADS.clear()
    return Files(root=tmp_path / "data")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache" / "prepared")


def content_key(dataset: Dataset, model: Model, id: str) -> str | None:
    """The key of a sample with the files as they are."""
    return module.content_key(dataset, model, id, Prepared(Cache()).contents.of(dataset, id))


def kept(cache: Cache) -> list[Path]:
    assert cache.folder is not None
    return sorted(cache.folder.glob("*"))


def same(value: Any, other: Any) -> bool:
    """Whether two values have equal types, and equal arrays bit for bit."""
    if isinstance(value, np.ndarray):
        alike = isinstance(other, np.ndarray) and (value.dtype, value.shape) == (other.dtype, other.shape)
        return alike and value.tobytes() == other.tobytes()
    if type(value) is not type(other):
        return False
    if isinstance(value, (tuple, list)):
        return len(value) == len(other) and all(map(same, value, other))
    if isinstance(value, dict):
        return list(value) == list(other) and all(same(value[name], other[name]) for name in value)
    if isinstance(value, (Sample, Annotation, Geometry, Frames)):
        return same(vars(value), vars(other))
    return bool(value == other) or (value != value and other != other)


def everything() -> Sample:
    """A sample with every kind of value that a file can store."""
    return Sample(
        id="ä/1",
        image=RANDOM.random((3, 8, 9), dtype=np.float32),
        annotations=(
            Annotation("spot", RANDOM.random((8, 9)) > 0.5, "mask", "one", "a.tif"),
            Annotation("gaze", RANDOM.random((8, 9)), "density"),
            Annotation("fleck", np.zeros((8, 9), dtype=np.uint8)),
        ),
        label=(1, 4),
        patient="p1",
        geometry=Geometry(np.eye(3), (80, 90), "a.png", (0.5, 0.25), "LPS"),
        field=np.ones((8, 9), dtype=bool),
        extras={
            "none": None, "text": "größer", "number": 3, "yes": True, "share": 0.1, "nan": float("nan"),
            "large": 2**70, "numpy": np.float32(1.5), "integer": np.int64(3), "nested": {"a": [1, (2.5, {3: "x"})]},
            "texts": np.array(["a", "bcd"]), "empty": np.zeros((0, 4), dtype=np.float16), "point": np.array(1 + 2j),
            "reversed": np.arange(6, dtype=">i4").reshape(2, 3).T, "times": np.array(["2020-01-01"], dtype="M8[D]"),
            "frames": Frames((RANDOM.random((4, 8)), RANDOM.random((4, 9))), RANDOM.random((2, 4))),
        },
    )  # fmt: skip


def uncached(files: Files, model: Model, id: str) -> Sample:
    """The sample as it is prepared without a cache."""
    native = files.load(id)
    return with_losses(native, model.prepare(native))


def test_every_kind_of_value_comes_back_as_it_was() -> None:
    sample = everything()
    original = RANDOM.integers(0, 255, (8, 9, 3)).astype(np.uint8)
    result = unpacked(packed(PreparedSample(sample, original)))
    assert same(result.sample, sample)
    assert same(result.original, original)
    assert result.sample.image.flags.writeable


def test_a_cached_sample_equals_a_fresh_one_to_the_bit(files: Files, cache: Cache) -> None:
    model = Resized()
    fresh = uncached(files, model, "a")
    first, second = (Prepared(cache).sample(files, model, "a") for _ in range(2))
    assert len(LOADS) == 2, "the second time it is not decoded"
    assert same(first, fresh)
    assert same(second, fresh)
    assert second.annotations[0].values.dtype == np.float32
    assert type(second.label) is np.int64


@pytest.mark.parametrize("model", [Regions(), Own(), Resized()])
def test_models_have_samples_of_their_own(files: Files, cache: Cache, model: Model) -> None:
    others = [other for other in (Regions(), Own(), Resized()) if type(other) is not type(model)]
    key = content_key(files, model, "a")
    assert key is not None
    assert key not in [content_key(files, other, "a") for other in others]
    assert key != content_key(files, model, "b")
    assert key != content_key(files.with_(shift=1), model, "a")


def test_models_of_one_grid_share_samples(files: Files) -> None:
    class Renamed(Resized):
        """Another network on the same grid."""

        revision = 7

    assert Renamed().identity != Resized().identity
    assert content_key(files, Renamed(), "a") == content_key(files, Resized(), "a")


@pytest.mark.parametrize("named", [True, False], ids=["files_of", "files"])
def test_a_changed_file_makes_the_sample_anew(
    files: Files, cache: Cache, named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if named:
        monkeypatch.setattr(Files, "files_of", lambda self, id: [self.params.root / f"{id}.{end}" for end in ENDS])
    mark = files.params.root / "a.tif"
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(mark)
    before = Prepared(cache).sample(files, Resized(), "a")
    state = mark.stat()
    Image.fromarray(np.ones((20, 30), np.uint8)).save(mark)
    os.utime(mark, ns=(state.st_atime_ns, state.st_mtime_ns))
    # The size, the name and the time are as before: the dataset's identity does not change.
    assert mark.stat().st_size == state.st_size
    after = Prepared(cache).sample(files, Resized(), "a")
    assert not before.annotations[0].values.any()
    np.testing.assert_allclose(after.annotations[0].values, 1, rtol=1e-6)
    os.utime(mark, ns=(1, 1))
    Prepared(cache).sample(files, Resized(), "a")
    assert len(LOADS) == 2, "a file that was only touched is the same"


def test_a_copy_elsewhere_names_its_own_files(files: Files, cache: Cache, tmp_path: Path) -> None:
    Prepared(cache).sample(files, Resized(), "a")
    (tmp_path / "data").rename(tmp_path / "moved")
    moved = Prepared(cache).sample(Files(root=tmp_path / "moved"), Resized(), "a")
    assert moved.geometry is not None
    assert moved.geometry.source == str(tmp_path / "moved" / "a.png")


class ApartParams(FilesParams):
    """A second folder besides."""

    images: Path


class Apart(Files[ApartParams]):
    """A download in two folders."""


def test_a_download_in_two_folders_lies_where_both_do(files: Files, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    first, second = (Apart(root=files.params.root, images=tmp_path / name) for name in ("one", "two"))
    assert first.identity == second.identity
    assert content_key(first, Resized(), "a") != content_key(second, Resized(), "a")


def test_other_versions_of_what_packages_ask_for_count(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_source", module._source.__wrapped__)
    before = content_key(files, Resized(), "a")
    assert content_key(files, Resized(), "a") == before
    monkeypatch.setattr(module, "versions_digest", lambda name: f"other than {name}")
    assert content_key(files, Resized(), "a") != before


def test_readers_and_what_they_decode_by_count(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_source", module._source.__wrapped__)
    before = content_key(files, Resized(), "a")
    monkeypatch.setenv("HEATPROOF_READERS", "heatproof/raster")
    assert content_key(files, Resized(), "a") != before
    monkeypatch.delenv("HEATPROOF_READERS")
    versions = module.versions_digest
    monkeypatch.setattr(
        module, "versions_digest", lambda name: "pydicom 9" if name == "heatproof_dicom" else versions(name)
    )
    other = content_key(files, Resized(), "a")
    assert other not in (None, before)
    monkeypatch.setattr("heatproof.registry.catalog.default", lambda: Catalog([]))
    assert content_key(files, Resized(), "a") not in (None, before, other)


def test_the_source_of_kits_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_source", module._source.__wrapped__)
    before = module._source("heatproof_dicom.dicom")
    contents = module.file_digest
    monkeypatch.setattr(module, "file_digest", lambda path: "changed" if path.name == "series.py" else contents(path))
    assert module._source("heatproof_dicom.dicom") not in (None, before)


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flipped(content: bytes) -> bytes:
    return content[:-100] + bytes([content[-100] ^ 4]) + content[-99:]


def _zeroed(content: bytes) -> bytes:
    return bytes(len(content))


@pytest.mark.parametrize("damage", [_cut, _flipped, _zeroed, lambda content: b"", lambda content: b"\xff" * 64])
def test_a_damaged_file_is_made_anew_and_said(files: Files, cache: Cache, damage: Callable[[bytes], bytes]) -> None:
    Prepared(cache).sample(files, Resized(), "a")
    (path,) = kept(cache)
    path.write_bytes(damage(path.read_bytes()))
    again = Prepared(cache)
    assert same(again.sample(files, Resized(), "a"), uncached(files, Resized(), "a"))
    (message,) = again.take_messages()
    assert str(path) in message
    assert "is damaged" in message
    assert not again.take_messages()
    count = len(LOADS)
    Prepared(cache).sample(files, Resized(), "a")
    assert len(LOADS) == count, "the damaged file was replaced"


def test_no_class_is_made_that_is_not_a_record() -> None:
    for kind in ("Path", "Popen", "os.system", "Cache"):
        with pytest.raises(DAMAGES):
            sample_file._read([kind, ["x", "y"]], {})
    with pytest.raises(DAMAGES):
        sample_file._read(["array", 0, "O", [1]], {"0": np.zeros(8, dtype=np.uint8)})


def test_what_cannot_be_kept_is_said_once(cache: Cache) -> None:
    class Strange(Blobs):
        """Blobs with an extra that no file can store."""

        def load(self, id: str) -> Sample:
            return replace(super().load(id), extras={"what": object()})

    samples = Prepared(cache)
    dataset = Strange()
    for id in dataset.ids()[:3]:
        assert samples.sample(dataset, Regions(), id).id == id
    assert samples.take_messages() == ["some prepared samples are not cached: a object cannot be stored"]
    assert not kept(cache)


def test_what_is_stored_is_found_by_its_key(files: Files, cache: Cache) -> None:
    samples = Prepared(cache)
    model = Resized()
    keys = samples.keys(files, model, ["a", "b"])
    assert list(keys) == ["a", "b"]
    assert samples.stored(keys["a"]) is None
    samples.sample(files, model, "a")
    stored = samples.stored(keys["a"])
    fresh = prepare(files, model, "a")
    assert stored is not None
    assert same(stored.sample, fresh.sample)
    assert fresh.original is not None
    assert same(stored.original, fresh.original)
    assert Prepared(Cache()).keys(files, model, ["a"]) == {}
    assert Prepared(Cache()).stored(keys["a"]) is None


def test_a_photograph_that_cannot_be_drawn_costs_no_sample(files: Files, cache: Cache) -> None:
    class Flat(Blobs):
        """Blobs with a geometry that cannot be inverted."""

        def load(self, id: str) -> Sample:
            return replace(super().load(id), geometry=Geometry(np.zeros((3, 3)), (16, 16)))

    samples = Prepared(cache)
    dataset = Flat()
    assert samples.sample(dataset, Resized(), dataset.ids()[0]).id == dataset.ids()[0]
    (message,) = samples.take_messages()
    assert "the original image cannot be drawn (LinAlgError(" in message
    assert not kept(cache)


def test_a_folder_that_cannot_be_written_is_said_once(files: Files, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file is in the way")
    samples = Prepared(Cache(tmp_path / "cache" / "prepared"))
    for id in files.ids():
        assert samples.sample(files, Resized(), id).id == id
    (message,) = samples.take_messages()
    assert "cannot be written" in message


def test_a_full_disk_keeps_what_is_there(files: Files, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    Prepared(cache).sample(files, Resized(), "a")

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_replace", full)
    samples = Prepared(cache)
    count = len(LOADS)
    for id in (*files.ids(), "b"):
        samples.sample(files, Resized(), id)
    assert len(LOADS) == count + 3, "a is still read"
    (message,) = samples.take_messages()
    assert "No space left on device" in message


def test_only_the_owner_can_read_and_nothing_is_left_over(files: Files, cache: Cache) -> None:
    samples = Prepared(cache)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda id: samples.sample(files, Resized(), id), files.ids() * 8))
    assert all(same(sample, uncached(files, Resized(), sample.id)) for sample in results)
    assert len(kept(cache)) == 3
    assert all(path.suffix == ".sample" and not path.name.startswith(".") for path in kept(cache))
    if os.name == "posix":
        assert cache.folder is not None
        assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in kept(cache)} == {0o600}


def test_the_least_recently_used_go_first(files: Files, cache: Cache) -> None:
    samples = Prepared(cache)
    model = Resized()
    for age, id in enumerate(files.ids()):
        samples.sample(files, model, id)
        os.utime(module.Path(str(cache.folder), f"{content_key(files, model, id)}.sample"), (age, age))
    samples.sample(files, model, "a")
    size = kept(cache)[0].stat().st_size
    assert cache.folder is not None
    prune(cache.folder, 10 * size)
    assert len(kept(cache)) == 3
    prune(cache.folder, 2.5 * size)
    assert {path.stem for path in kept(cache)} == {content_key(files, model, id) for id in ("a", "c")}


def test_a_limit_holds_from_the_first_sample_on(files: Files, cache: Cache) -> None:
    Prepared(replace(cache, limit=1e-9)).sample(files, Resized(), "a")
    assert not kept(cache)


def test_datasets_that_cannot_tell_their_content_are_not_kept(cache: Cache) -> None:
    class Memory(Blobs):
        """Images that somebody holds in memory."""

        synthetic = False

    assert content_key(Memory(), Regions(), "x") is None
    assert content_key(Blobs(), Regions(), "x") is not None or not Blobs.synthetic
    Prepared(cache).sample(Memory(), Regions(), Memory().ids()[0])
    assert cache.folder is not None
    assert not cache.folder.exists()


def test_classes_without_a_file_are_not_kept(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Files, "__module__", "typed_by_hand")
    assert content_key(files, Resized(), "a") is None


def test_the_folder_is_where_the_system_keeps_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path))
    assert default_folder() == tmp_path / "prepared"
    monkeypatch.delenv("HEATPROOF_CACHE")
    monkeypatch.setattr(module, "user_cache_path", lambda *names, **options: Unix(*names, **options).user_cache_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_folder() == tmp_path / "xdg" / "heatproof" / "prepared"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_folder() == tmp_path / "home" / ".cache" / "heatproof" / "prepared"
    monkeypatch.setattr(module, "user_cache_path", lambda *names, **options: MacOS(*names, **options).user_cache_path)
    assert default_folder() == tmp_path / "home" / "Library" / "Caches" / "heatproof" / "prepared"


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a home is found in another way")
def test_a_user_without_a_home_has_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(number: int) -> None:
        raise KeyError(number)

    for name in ("HOME", "XDG_CACHE_HOME", "HEATPROOF_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert default_folder() is None
    assert configured(True) == Cache(None, 20)
    monkeypatch.setenv("HEATPROOF_CACHE", "~")
    assert default_folder() == Path("~", "prepared").absolute()


def test_what_a_config_says_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path))
    monkeypatch.delenv("HEATPROOF_CACHE_LIMIT", raising=False)
    assert configured(False) == Cache(None, 20)
    assert configured(True) == Cache(tmp_path / "prepared", 20)
    assert configured(tmp_path / "here", 3.5) == Cache(tmp_path / "here", 3.5)
    monkeypatch.setenv("HEATPROOF_CACHE_LIMIT", "7")
    assert configured(True).limit == 7
    for text in ("nan", "inf", "-1", "0"):
        monkeypatch.setenv("HEATPROOF_CACHE_LIMIT", text)
        with pytest.raises(ConfigError, match=f"is '{text}'; set it to a number of gigabytes"):
            configured(True)
    monkeypatch.setenv("HEATPROOF_CACHE_LIMIT", "much")
    with pytest.raises(ConfigError, match="number of gigabytes"):
        configured(True)


def test_a_run_again_decodes_nothing(ran: Any, calls: Any, tmp_path: Path) -> None:
    first = ran(output=str(tmp_path / "one"), cache=str(tmp_path / "cache"))
    assert len(calls("load")) >= 8
    second = ran(output=str(tmp_path / "two"), cache=str(tmp_path / "cache"))
    assert {id for _, id in calls("load")} <= {"blob-008"}, "only to measure the rows"
    assert repr(second.summary) == repr(first.summary)


def test_threads_change_nothing(ran: Any, tmp_path: Path) -> None:
    settings = {"datasets": [{"use": "images", "count": 16, "unreadable": ["blob-001", "blob-006"]}], "chunk": 16}
    runs = [ran(output=str(tmp_path / str(threads)), threads=threads, **settings) for threads in (1, 3)]
    assert [run.failures for run in runs] == [runs[0].failures] * 2
    assert repr(runs[0].summary) == repr(runs[1].summary)
    logs = [(tmp_path / threads / "log.txt").read_text().splitlines() for threads in ("1", "3")]
    messages = [[line.partition(" ")[2] for line in log if "truncated" in line] for log in logs]
    assert messages[0] == messages[1]
    assert len(messages[0]) == 2
