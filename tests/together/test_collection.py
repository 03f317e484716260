"""Every network of the collection is explained as the table in ``docs/networks.md`` says."""

import runpy
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
sys.path.insert(0, str(DOCS / "robustness"))  # the program's modules lie beside it
PROGRAM = runpy.run_path(str(DOCS / "robustness/collection.py"))
sys.path.pop(0)
FAST = ("outputs in a dictionary", "in place, read again", "flattened by view", "an optional input", "control flow",
        "an assertion of the type", "DataParallel", "2.5-D", "squeeze and excitation at the end")  # fmt: skip


def written() -> dict[str, list[str]]:
    """The rows of the table in the documentation, by network."""
    page = (DOCS / "networks.md").read_text(encoding="utf-8")
    lines = page.split("\n## The table\n")[1].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return {name: [name, *cells] for name, *cells in rows[2:]}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in PROGRAM["COLLECTION"]]
)
def test_the_network_runs_as_documented(name: str) -> None:
    row = PROGRAM["row"](name)
    assert not [cell for cell in row if ("WRONG" in cell or "FAILED" in cell)]
    assert written()[name] == row


def test_every_network_is_in_the_table() -> None:
    assert list(written()) == list(PROGRAM["COLLECTION"])
