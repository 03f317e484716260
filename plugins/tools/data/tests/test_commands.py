"""The commands write a layout and check it; the terminal shows the terms and tallies of a dataset."""

import io
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from click.testing import CliRunner
from rich.console import Console

from heatproof.cli.commands import cli
from heatproof.cli.tables import show
from heatproof.dataset import Tally
from heatproof_data.inventory import tally_table, terms


def cells(text: str) -> list[list[str]]:
    """The lines of a table, cell by cell."""
    return [re.split(r"  +", line.strip()) for line in text.splitlines() if line.strip()]


def printed(*words: object) -> str:
    """The output of a command that succeeds."""
    result = CliRunner().invoke(cli, [str(word) for word in words], prog_name="heatproof")
    assert result.exit_code == 0, result.output
    return str(result.stdout)


def test_data_write_and_check(tmp_path: Path) -> None:
    root = tmp_path / "new/idrid"
    words = ["data", "write", "idrid", "--set", "patients=10", "--set", "height=64", "--root", root]
    assert printed(*words, "--split", "test") == (f"wrote 4 samples of phantom in the layout of idrid to {root}\n")
    text = printed("data", "check", "idrid", "--root", root, "--model", "lesionnet")
    assert "4 samples as lesionnet prepares them: " in text
    rows = cells(text)
    assert ["what", "found", "published"] in rows
    assert ["images in test", "4", "27"] in rows
    assert ["unreadable files", "0", "0"] in rows


def test_tallies() -> None:
    tallies = [Tally("images", 54, 81), Tally("unreadable files", 1, 0, "a.jpg is damaged")]
    console = Console(file=io.StringIO(), width=80, highlight=False)
    show(console, tally_table("idrid", tallies))
    rows = cells(console.file.getvalue())  # type: ignore[attr-defined]
    assert rows[1] == ["what", "found", "published", "example"]
    assert rows[-1] == ["unreadable files", "1", "0", "a.jpg is damaged"]


def test_terms_are_those_that_the_dataset_states() -> None:
    dataset: Any = SimpleNamespace(citation="Porwal et al. 2018", licence="", obtain="download it")
    assert terms(dataset) == ["cite: Porwal et al. 2018", "missing files: download it"]
