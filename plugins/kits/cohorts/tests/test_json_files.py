"""JSON of downloads is read, and refused where it is damaged or contradicts itself."""

from pathlib import Path

import pytest

from heatproof.errors import DataError
from heatproof_cohorts.json_files import read_json, read_object


def test_json_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"a": 1}, {"a": [2.5, null]}]')
    assert read_json(tmp_path / "a.json") == [{"a": 1}, {"a": [2.5, None]}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"a\.json does not exist; download it"),
        ('{"a": 1', r"a\.json is damaged \(Expecting"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', r"a\.json is damaged \(the name 'c' stands twice\)"),
        ("[" * 100_000, r"a\.json is damaged"),
        ("[1]", r"a\.json holds a list instead of names and values"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=message):
        read_object(tmp_path / "a.json")
