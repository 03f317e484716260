"""Columns of tables as attributes of samples."""

from pathlib import Path

import pytest

from heatproof_cohorts.attributes import agreed, attribute, attributes
from heatproof_cohorts.manifest import ListedDataset, ListedSample, Listing, gathered
from heatproof_cohorts.tables import read_rows


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7), ("-7", -7), ("7.0", 7), ("0.5", 0.5), (".5", 0.5), ("1e3", 1000), ("0", 0), ("007", "007"),
        ("7 years", "7 years"), ("left", "left"), ("nan", None), ("inf", "inf"), ("Unknown", None), ("n/a", None),
        ("1_000", "1_000"), ("1.2.3", "1.2.3"), ("٣", "٣"),
    ],
)  # fmt: skip
def test_values(text: str, value: object) -> None:
    assert attribute(text) == value
    assert type(attribute(text)) is type(value)


def test_columns_keep_the_names_of_the_header(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("Image ID,Age,Sex,Finding,twice,twice,\n7,30,,spot,1,2,3\n8,,F\n")
    first, second = read_rows(tmp_path / "t.csv", ["image_id"])
    assert attributes(first) == {"Image ID": 7, "Age": 30}
    assert attributes(second, ["image_id"]) == {"Sex": "F"}


def test_text_that_was_made_plain_is_as_before(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file,note\na.png,'=1+1\n")
    assert attributes(read_rows(tmp_path / "t.csv", ["file"], neutralised=True)[0], ["file"]) == {"note": "=1+1"}


def test_rows_of_one_sample_keep_what_they_agree_on() -> None:
    """In any order; and rows that differ in attributes only are the same sample, not one with two meanings."""
    rows = [
        ("a", ListedSample(Path("a.png"), "test", source=str(line), attributes=known))
        for line, known in enumerate([{"age": 7, "eye": "left"}, {"age": 8, "eye": "left"}, {"age": 7}])
    ]
    for order in (rows, rows[::-1]):
        entries, faults = gathered(order)
        assert entries["a"].attributes == {}
        assert len(faults["samples listed twice"]) == 2
        assert faults["ids with two meanings"] == []
    entries, _ = gathered(rows[:2])
    assert entries["a"].attributes == {"eye": "left"}
    assert agreed({"age": 7}, {"age": 7, "eye": "left"}) == {"age": 7}


class Wards(ListedDataset):
    """Two listed samples."""

    def listed(self) -> Listing:
        known = {"a": {"ward": 3}, "b": {"age": 7}}
        return Listing({id: ListedSample(Path(id), "all", attributes=entry) for id, entry in known.items()})


def test_a_list_declares_the_attributes_of_all_samples(tmp_path: Path) -> None:
    dataset = Wards(root=tmp_path)
    assert dataset.attributes == ("ward", "age")
    assert dataset.attributes_of("b") == {"age": 7}
