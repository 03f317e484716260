"""Listed datasets: rejected entries, counts, messages, and the checks before writing."""

from pathlib import Path

import numpy as np
import pytest

from heatproof.errors import DataError
from heatproof.records import Sample
from heatproof_cohorts.image_files import write_image
from heatproof_cohorts.manifest import ListedDataset, ListedSample, Listing, gathered, require_new


def entry(name: str, split: str = "train", label: int = 0, patient: str = "", source: str = "line 2") -> ListedSample:
    return ListedSample(Path(name), split, label, patient, source)


def test_repetitions_and_contradictions() -> None:
    entries, faults = gathered(
        [
            ("a", entry("a.png")),
            ("a", entry("a.png", source="line 3")),
            ("b", entry("b.png", label=1)),
            ("b", entry("b.png", label=0, source="line 5")),
            ("c", entry("c.png")),
        ]
    )
    assert list(entries) == ["a", "c"]
    assert faults["samples listed twice"] == ["a: line 2 and line 3"]
    assert faults["ids with two meanings"] == ["b: line 2 and line 5 differ; keep the right one"]


def test_a_patient_in_two_splits_is_left_out() -> None:
    entries, faults = gathered(
        [
            ("a", entry("a.png", "train", patient="7")),
            ("b", entry("b.png", "test", patient="7")),
            ("c", entry("c.png", "test", patient="8")),
            ("d", entry("d.png", "train")),
            ("e", entry("e.png", "test")),
        ]
    )
    assert list(entries) == ["c", "d", "e"]
    assert faults["patients in two splits"] == ["7: test, train"]


class Two(ListedDataset):
    """Images a and b of one patient, c of nobody."""

    classes = ("no", "yes")
    splits = ("train", "test")
    obtain = "draw it"
    published = {"samples": 4, "by choice": 1, "odd rows": 2}  # noqa: RUF012

    def listed(self) -> Listing:
        entries = {name: entry(self.params.root / f"{name}.png", label=1, patient="p") for name in "ab"}
        entries["c"] = ListedSample(self.params.root / "c.png", "test", (0, 1))
        return Listing(entries, {"odd rows": ["x", "y"]}, {"by choice": ["z"]})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_image(np.full((1, 4, 6), 9, dtype=np.uint8), tmp_path / "a.png")
    (tmp_path / "c.png").write_bytes(b"no image")
    return tmp_path


def test_check_counts_all_and_says_how_to_obtain_images(root: Path) -> None:
    counts = {tally.what: (tally.count, tally.expected) for tally in Two(root=root).check()}
    assert counts == {
        "samples": (3, 4),
        "patients": (2, None),
        "samples of no": (1, None),
        "samples of yes": (3, None),
        "samples in train": (2, None),
        "samples in test": (1, None),
        "by choice": (1, 1),
        "odd rows": (2, 2),
        "missing images": (1, 0),
        "unreadable samples": (1, 0),
    }
    examples = {tally.what: tally.example for tally in Two(root=root).check()}
    assert examples["missing images"].endswith("b.png; draw it")
    assert "c.png is damaged" in examples["unreadable samples"]
    assert (examples["by choice"], examples["odd rows"]) == ("z", "x")


def test_absent_images_fail_by_themselves_or_are_skipped(root: Path) -> None:
    dataset = Two(root=root)
    assert dataset.ids() == ["a", "b", "c"]
    assert dataset.ids("test") == ["c"]
    assert (dataset.load("a").label, dataset.load("a").patient, dataset.patient("c")) == (1, "p", "c")
    with pytest.raises(DataError, match=r"b\.png does not exist"):
        dataset.load("b")
    with pytest.raises(DataError, match=r"Two under .* has no 'd'"):
        dataset.load("d")
    skipping = Two(root=root, absent="skip")
    assert skipping.ids() == ["a", "c"]
    assert {tally.what: tally.count for tally in skipping.check()}["images that are absent"] == 1
    assert [path.name for path in skipping.files()] == ["a.png", "c.png"]


def test_extras_reach_the_sample_and_must_agree(root: Path) -> None:
    class Third(Two):
        def listed(self) -> Listing:
            return Listing({"a": ListedSample(self.params.root / "a.png", "train", extras={"risk": 2})})

    assert dict(Third(root=root).load("a").extras) == {"risk": 2}
    path = root / "a.png"
    entries, faults = gathered([("a", ListedSample(path, "train", extras={"risk": risk})) for risk in (1, 2)])
    assert (entries, len(faults["ids with two meanings"])) == ({}, 1)


def test_labels_splits_and_ids_that_cannot_be_written_are_refused(root: Path) -> None:
    dataset = Two(root=root)
    image = np.zeros((1, 2, 2), dtype=np.uint8)
    assert [dataset.class_to_write(Sample("s", image, label=label)) for label in (0, 1, 4)] == [0, 1, 1]
    for label in (None, (0, 1), -1):
        with pytest.raises(DataError, match="needs one class index"):
            dataset.class_to_write(Sample("s", image, label=label))
    assert dataset.split_to_write(Sample("s", image, extras={"split": "test"})) == "test"
    assert dataset.split_to_write(Sample("s", image)) == "train"
    with pytest.raises(DataError, match="no split 'val'"):
        dataset.split_to_write(Sample("s", image, extras={"split": "val"}))
    for id in ("a/b", "/b", "a\\b"):
        with pytest.raises(DataError, match="cannot be the name of a file"):
            dataset.name_to_write(Sample(id, image))
    with pytest.raises(DataError, match="is not empty"):
        require_new(root)
    require_new(root / "new")
