"""Tables in the forms of published downloads, and tables that cannot be read."""

from pathlib import Path

import pytest

from heatproof.errors import DataError
from heatproof_cohorts.tables import read_lines, read_rows, read_table, write_table


def table(folder: Path, content: str | bytes) -> Path:
    path = folder / "t.csv"
    if isinstance(content, str):
        content = content.encode()
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("header", ["Patient ID,url", "patientid, url", '"patient_id", URL ', "PATIENT-ID,url,"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_columns_are_found_under_other_spellings(tmp_path: Path, header: str, mark: str) -> None:
    rows = read_table(table(tmp_path, f'{mark}{header}\n 7 ,"a, b"\n'), ("patientid", "url")).rows
    assert [dict(row.values) for row in rows] == [{"patientid": "7", "url": "a, b"}]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters(tmp_path: Path, delimiter: str) -> None:
    path = table(tmp_path, f"id{delimiter}name\n1{delimiter}\n{delimiter}x\n")
    assert [(row["id"], row["name"]) for row in read_table(path, ("id", "name")).rows] == [("1", ""), ("", "x")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    actual = read_table(table(tmp_path, "id\nMünchen\n".encode(encoding)), ("id",))
    assert [row["id"] for row in actual.rows] == ["München"]
    assert actual.encoding == {"utf-8": "utf-8-sig"}.get(encoding, encoding)


def test_rows_that_do_not_fit_are_left_out_by_line(tmp_path: Path) -> None:
    path = table(tmp_path, '## a note\n\na,b,c\n1,2,3,,\n1,2,3,4\n,,\n1,2\n1\n"x\ny",2,3\n')
    actual = read_table(path, ("a", "b"), ("c", "d"), comment="##")
    assert [(row["a"], row["b"], row["c"], row["d"]) for row in actual.rows] == [
        ("1", "2", "3", ""),
        ("1", "2", "", ""),
        ("x\ny", "2", "3", ""),
    ]
    assert [row.source for row in actual.rows] == [f"{path}, line {line}" for line in (4, 7, 10)]
    assert [fault.split(";")[0] for fault in actual.faults] == [
        f"{path}, line 5: 4 values for 3 columns",
        f"{path}, line 8: 1 values for 3 columns",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no column 'image' .its columns: none"),
        ("imag,level\n1,2\n", "has no column 'image' .its columns: imag, level"),
        ("image,Image\n1,2\n", "has the column 'image' twice"),
        (b"\xff\xfei", "begins as UTF-16"),
        ("image\n" + "x" * 140_000 + "\n", r"line 2 cannot be read \(field larger"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_table(table(tmp_path, content), ("image",))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('a,b\n1,2\n3,"4\n5,6\n7,8\n', 3),
        ('a,b\n1,"2\n3,4\n5,6"\n7,8\n', 2),
        ('a,b\n1,2\n"3,4\n5,6\n"7,8\n', 3),
        ('a,b,c\n1,"2,3\n4,5",6\n7,8,9\n', 2),
        ('a\tb\n"1\t2\n3\t4\n', 2),
        ('a\n"1\n2\n', 2),
    ],
)
def test_a_quote_that_swallows_rows_is_an_error_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(DataError, match=f"line {line}: a quote that opens there swallows the"):
        read_table(table(tmp_path, text), ("a",))


@pytest.mark.parametrize(
    "text",
    [
        'a,b,c\n1,"fever,\ncough\n, pain",2\n',
        'a,b,c\n1,5" wide,"x ""y"""\n',
        'a\n"1\n2"\n',
        'a,b\n1,"x\u2028y"\n',
    ],
)
def test_text_of_several_lines_and_quotes_in_text_are_no_error(tmp_path: Path, text: str) -> None:
    assert len(read_table(table(tmp_path, text), ("a",)).rows) == 1


def test_a_missing_table_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_table(tmp_path / "none.csv", ("image",))
    with pytest.raises(DataError, match="cannot be read"):
        read_table(tmp_path, ("image",))


def test_lines_of_a_list(tmp_path: Path) -> None:
    path = table(tmp_path, "\ufeff1%0 a.png \r\n\r\nb.png")
    assert read_lines(path) == [("1%0 a.png", f"{path}, line 1"), ("b.png", f"{path}, line 3")]


def test_a_written_table_is_read_back(tmp_path: Path) -> None:
    write_table(tmp_path / "new/t.csv", ("id", "text"), [(1, "a, b"), ("ü", 'say "x"')])
    rows = read_table(tmp_path / "new/t.csv", ("id", "text")).rows
    assert [(row["id"], row["text"]) for row in rows] == [("1", "a, b"), ("ü", 'say "x"')]


def test_a_published_table_is_written_as_it_is_and_an_own_one_neutral(tmp_path: Path) -> None:
    """Other programs read a published layout; numbers do not change in either."""
    write_table(tmp_path / "published.csv", ("id", "value"), [("-1_left", -0.5)])
    assert (tmp_path / "published.csv").read_text() == "id,value\n-1_left,-0.5\n"
    write_table(tmp_path / "own.csv", ("id", "value"), [("-1_left", -0.5)], neutralised=True)
    assert (tmp_path / "own.csv").read_text() == "id,value\n'-1_left,-0.5\n"
    assert [row["id"] for row in read_rows(tmp_path / "own.csv", ("id",), neutralised=True)] == ["-1_left"]
    assert [row["id"] for row in read_rows(tmp_path / "own.csv", ("id",))] == ["'-1_left"]
