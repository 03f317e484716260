"""Single flipped bits over a run's folder change no table silently."""

import runpy
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "docs/robustness/flips.py"


@pytest.mark.slow
def test_no_flipped_bit_changes_a_number_silently(capsys: pytest.CaptureFixture[str]) -> None:
    """A sample of the flips of the program, which is run with 1,000 flips before a release."""
    assert runpy.run_path(str(PROGRAM))["main"](["--flips", "25"]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    name, flips, refused, repaired, harmless, silent = last.split()
    assert (name, flips, silent) == ("all", "25", "0")
    assert int(refused) + int(harmless) == 25
    assert int(repaired) > 0
