"""The choice of a file's reader: by suffix, by first bytes, among several; and the errors without a reader."""

import struct
import sys
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from heatproof.component import P, Params
from heatproof.errors import DataError, HeatproofError, PluginError
from heatproof.hooks import hookimpl
from heatproof.imaging.images import read_image, read_mask
from heatproof.imaging.raster import Raster
from heatproof.imaging.reader import Reader, reader_of
from heatproof.records import Array, Geometry
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import Announcement
from heatproof_cohorts.image_files import write_image

Installed = Callable[..., Catalog]


class Constant(Reader[P]):
    """Reads four pixels of its level from any file."""

    level = 1

    def read_image(self, path: Path, max_pixels: int = 4) -> tuple[Array, Geometry]:
        return np.full((1, 2, 2), self.level, dtype=np.uint8), Geometry.identity((2, 2), str(path))


class Scans(Constant):
    """Claims a long suffix, a signature and folders."""

    suffixes = (".scan", ".scan.gz")
    signatures = ((3, b"SCAN"),)
    folders = True


class Zipped(Constant):
    """Claims a suffix that is the end of a longer one."""

    level = 2
    suffixes = (".gz",)


class Rival(Constant):
    """Claims the suffix of another reader."""

    level = 3
    suffixes = (".scan",)


class Grey(Constant):
    """Claims a suffix of the core."""

    level = 4
    suffixes = (".png",)


class NeedyParams(Params):
    """A required setting."""

    scale: float


class Needy(Constant[NeedyParams]):
    """Cannot be created without a setting."""

    suffixes = (".needy",)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Installed:
    """Install a catalog with these readers: distribution → its reader, a class of this module or another target."""

    def install(**readers: type[Reader] | str) -> Catalog:
        plugins = [_plugin(name, reader, monkeypatch) for name, reader in readers.items()]
        catalog = Catalog(plugins)
        monkeypatch.setattr("heatproof.registry.catalog.default", lambda: catalog)
        return catalog

    return install


def _plugin(name: str, reader: type[Reader] | str, monkeypatch: pytest.MonkeyPatch) -> Announcement:
    module: Any = ModuleType(f"heatproof_planted_{name}")
    module.Planted = reader
    target = reader if isinstance(reader, str) else f"{module.__name__}:Planted"

    @hookimpl
    def heatproof_readers() -> Mapping[str, str]:
        return {name: target}

    module.heatproof_readers = heatproof_readers
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return Announcement(name, module.__name__, f"heatproof-{name}", "1.0")


def level(path: Path) -> int:
    return int(read_image(path)[0].max())


def test_the_longest_suffix_decides_whatever_its_case(installed: Installed, tmp_path: Path) -> None:
    installed(scans=Scans, zipped=Zipped)
    for name, expected in {"a.gz": 2, "a.scan.gz": 1, "my a.SCAN": 1, "a.scan.1.GZ": 2}.items():
        (tmp_path / name).write_bytes(b"")
        assert level(tmp_path / name) == expected, name
    assert reader_of(tmp_path / "a.gz").name == "heatproof-zipped/zipped"


def test_first_bytes_decide_where_no_suffix_does(installed: Installed, tmp_path: Path) -> None:
    installed(scans=Scans)
    (tmp_path / "unnamed").write_bytes(b"123SCAN and more")
    assert level(tmp_path / "unnamed") == 1
    write_image(np.full((1, 4, 4), 9, dtype=np.uint8), tmp_path / "a.png")
    assert level((tmp_path / "a.png").rename(tmp_path / "b.1")) == 9
    for content in (b"", b"12SCAN", b"a table"):
        (tmp_path / "other.txt").write_bytes(content)
        with pytest.raises(
            DataError, match=r"other\.txt has a format that no installed reader reads; allowed: .*\.scan"
        ):
            read_image(tmp_path / "other.txt")


def test_a_suffix_goes_before_the_first_bytes(installed: Installed, tmp_path: Path) -> None:
    installed(scans=Scans, zipped=Zipped)
    (tmp_path / "a.gz").write_bytes(b"123SCAN")
    assert level(tmp_path / "a.gz") == 2


def test_a_plugin_goes_before_the_core(installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(np.full((1, 4, 4), 9, dtype=np.uint8), tmp_path / "a.png")
    installed()
    assert (level(tmp_path / "a.png"), type(reader_of(tmp_path / "a.png"))) == (9, Raster)
    installed(grey=Grey)
    assert level(tmp_path / "a.png") == 4
    monkeypatch.setenv("HEATPROOF_READERS", "heatproof/raster")
    assert level(tmp_path / "a.png") == 9


def test_of_two_plugins_none_is_taken_silently(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(scans=Scans, rival=Rival)
    (tmp_path / "a.scan").write_bytes(b"")
    with pytest.raises(
        PluginError,
        match=r"claimed by the readers heatproof-rival/rival and heatproof-scans/scans; set .*HEATPROOF_READERS",
    ):
        read_image(tmp_path / "a.scan")
    for names, expected in {"scans": 1, "other, heatproof-rival/rival": 3, "rival,scans": 3}.items():
        monkeypatch.setenv("HEATPROOF_READERS", names)
        assert level(tmp_path / "a.scan") == expected, names
    monkeypatch.setenv("HEATPROOF_READERS", "other")
    with pytest.raises(PluginError, match="claimed by the readers"):
        read_image(tmp_path / "a.scan")


@pytest.mark.parametrize(
    ("name", "distribution", "suffix"),
    [
        ("a.DCM", "dicom", ".dcm"),
        ("my a.dicom", "dicom", ".dicom"),
        ("a.nii", "nifti", ".nii"),
        ("a.nii.gz", "nifti", ".nii.gz"),
    ],
)
def test_a_reader_that_is_not_installed_is_named(
    installed: Installed, tmp_path: Path, name: str, distribution: str, suffix: str
) -> None:
    installed()
    (tmp_path / name).write_bytes(b"\0" * 128 + b"DICM")
    for read in (read_image, read_mask):
        with pytest.raises(
            DataError, match=rf"{name} has no reader; install heatproof-{distribution}, which reads {suffix},"
        ):
            read(tmp_path / name)


def test_a_broken_reader_stops_no_other(installed: Installed, tmp_path: Path) -> None:
    catalog = installed(broken="heatproof_planted_nowhere:Reader", scans=Scans)
    (tmp_path / "a.scan").write_bytes(b"")
    assert level(tmp_path / "a.scan") == 1
    assert [plugin.distribution for plugin in catalog.broken] == ["heatproof-broken"]


def test_a_reader_that_cannot_be_made_is_an_error_for_its_files_only(installed: Installed, tmp_path: Path) -> None:
    installed(needy=Needy, scans=Scans)
    for name in ("a.scan", "a.needy"):
        (tmp_path / name).write_bytes(b"")
    assert level(tmp_path / "a.scan") == 1
    with pytest.raises(HeatproofError, match=r"Needy: scale: is missing"):
        read_image(tmp_path / "a.needy")


def test_a_folder_is_read_by_a_reader_of_folders(installed: Installed, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    write_image(np.zeros((1, 4, 4), dtype=np.uint8), folder / "0.png")
    installed(scans=Scans, zipped=Zipped)
    with pytest.raises(
        DataError, match=r"folder is a folder that no installed reader can read as a volume; give a file"
    ):
        read_image(folder)
    (folder / "1.gz").write_bytes(b"")
    (folder / "2").write_bytes(b"123SCAN")
    image, geometry = read_image(folder)
    assert (image.max(), geometry.source) == (1, str(folder))


def test_a_reader_of_images_only_reads_no_masks(installed: Installed, tmp_path: Path) -> None:
    installed(scans=Scans)
    (tmp_path / "a.scan").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.scan cannot be a mask, since heatproof-scans/scans reads no masks"):
        read_mask(tmp_path / "a.scan")


@pytest.mark.parametrize(
    "error",
    [zlib.error("bad block"), RecursionError("too deep"), OverflowError(), struct.error("short"), MemoryError(),
     Exception("anything")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_whatever_a_library_raises_is_a_sentence(installed: Installed, tmp_path: Path, error: Exception) -> None:
    class Raising(Constant):
        """Fails as its library does."""

        suffixes = (".raw",)

        def read_image(self, path: Path, max_pixels: int = 4) -> tuple[Array, Geometry]:
            raise error

        def read_mask(self, path: Path, max_pixels: int = 4) -> Array:
            raise error

    installed(raising=Raising)
    (tmp_path / "a.raw").write_bytes(b"")
    for read in (read_image, read_mask, partial(read_image, window="percentiles")):
        with pytest.raises(DataError, match=rf"a\.raw cannot be read by raising \({type(error).__name__}.*\); replace"):
            read(tmp_path / "a.raw")


def test_a_window_of_a_reader_without_windows(installed: Installed, tmp_path: Path) -> None:
    class Ramp(Constant):
        """Reads four values."""

        suffixes = (".ramp",)

        def read_image(self, path: Path, max_pixels: int = 4) -> tuple[Array, Geometry]:
            return np.array([[[-2, 0], [2, 4]]], dtype=np.int16), Geometry.identity((2, 2), str(path))

    installed(ramp=Ramp)
    (tmp_path / "a.ramp").write_bytes(b"")
    image, _ = read_image(tmp_path / "a.ramp", window=(0, 4))
    np.testing.assert_array_equal(image, [[[0, 0], [32768, 65535]]])


def test_files_that_are_not_there(installed: Installed, tmp_path: Path) -> None:
    installed()
    for name in ("a.png", "a.dcm", "a", "a.xcf"):
        with pytest.raises(DataError, match=rf"{name} does not exist; download it"):
            read_image(tmp_path / name)
