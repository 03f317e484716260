"""A folder is written whole or not at all, and existing files are not touched."""

from pathlib import Path

import pytest

from heatproof.errors import HeatproofError
from heatproof_fresh_folders.folder import fresh_folder


def test_written_files_stay(tmp_path: Path) -> None:
    with fresh_folder(tmp_path / "new/folder"):
        (tmp_path / "new/folder/notes.txt").write_text("all")
    assert (tmp_path / "new/folder/notes.txt").read_text() == "all"


def test_a_folder_that_holds_something_is_refused_and_stays(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(HeatproofError, match="is not empty; choose another name or folder"), fresh_folder(tmp_path):
        raise AssertionError("the folder was handed out")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def broken(folder: Path, error: BaseException) -> None:
    """Write one file into a fresh folder, then fail."""
    with fresh_folder(folder):
        (folder / "half.txt").touch()
        raise error


@pytest.mark.parametrize("error", [ValueError("no ink"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_nothing_incomplete_is_left(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        broken(tmp_path / "new", error)
    assert not (tmp_path / "new").exists()


def test_a_full_disk_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(HeatproofError, match=r"cannot write to .*: No space left on device; make room"):
        broken(tmp_path / "new", OSError(28, "No space left on device"))
    assert not (tmp_path / "new").exists()


def test_a_folder_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(HeatproofError, match=r"cannot write to .*: Not a directory; make room, or choose another"),
        fresh_folder(tmp_path / "file/new"),
    ):
        raise AssertionError("the folder was handed out")
