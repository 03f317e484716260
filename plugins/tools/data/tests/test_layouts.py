"""Samples are written in another dataset's layout, whole or not at all."""

from pathlib import Path
from typing import Any

import pytest

from heatproof.errors import DataError, HeatproofError
from heatproof.registry.catalog import default
from heatproof_data.layouts import write_layout
from heatproof_idrid.idrid import Idrid
from heatproof_kaggle_dr.kaggle_dr import KaggleDr
from heatproof_phantom.phantom import Phantom

SMALL = ("patients=10", "height=64")


@pytest.mark.slow
def test_idrid_uses_all_samples_but_the_test_split_for_tuning(tmp_path: Path) -> None:
    assert write_layout(default(), "idrid", "phantom", SMALL, None, tmp_path / "idrid") == 20
    dataset = Idrid(root=tmp_path / "idrid")
    assert (len(dataset.ids("tuning")), len(dataset.ids("test"))) == (16, 4)


@pytest.mark.slow
def test_kaggle_has_three_splits(tmp_path: Path) -> None:
    phantom = Phantom(patients=10, height=64)
    assert write_layout(default(), "kaggle_dr", "phantom", SMALL, None, tmp_path / "new/kaggle") == 20
    dataset = KaggleDr(root=tmp_path / "new/kaggle")
    for split in ("train", "tuning", "test"):
        assert dataset.ids(split) == phantom.ids(split)
    labels = [dataset.load(id).label for id in dataset.ids("tuning")]
    assert labels == [phantom.grade(id) for id in phantom.ids("tuning")]


def test_one_split_only(tmp_path: Path) -> None:
    assert write_layout(default(), "idrid", "phantom", SMALL, "test", tmp_path / "idrid") == 4
    with pytest.raises(DataError, match="phantom has no split 'tset'; did you mean 'test'"):
        write_layout(default(), "idrid", "phantom", SMALL, "tset", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_download_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "idrid").mkdir()
    (tmp_path / "idrid/precious.jpg").touch()
    with pytest.raises(
        HeatproofError, match="is not empty; choose another name or folder, so that nothing is overwritten"
    ):
        write_layout(default(), "idrid", "phantom", SMALL, None, tmp_path / "idrid")
    assert (tmp_path / "idrid/precious.jpg").is_file()


def test_no_half_of_a_layout_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: Any, id: str) -> Any:
        assert id in self.ids("train")
        if id == self.ids("train")[2]:
            assert len(list((tmp_path / "idrid").rglob("*.jpg"))) == 2
            raise DataError("the pen broke")
        return original(self, id)

    original = Phantom.load
    monkeypatch.setattr(Phantom, "load", load)
    with pytest.raises(DataError, match="the pen broke"):
        write_layout(default(), "idrid", "phantom", SMALL, None, tmp_path / "idrid")
    assert not (tmp_path / "idrid").exists()


def test_at_most_so_many_samples_of_each_split(tmp_path: Path) -> None:
    assert write_layout(default(), "idrid", "phantom", SMALL, None, tmp_path / "idrid", limit=2) == 6
    dataset = Idrid(root=tmp_path / "idrid")
    assert (len(dataset.ids("tuning")), len(dataset.ids("test"))) == (4, 2)
