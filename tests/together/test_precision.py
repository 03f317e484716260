"""A map in float64 does not depend on the number of images per pass."""

import runpy
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "docs/robustness/precision.py"


@pytest.mark.slow
def test_maps_in_float64_do_not_depend_on_the_images_per_pass(capsys: pytest.CaptureFixture[str]) -> None:
    """A sample of the program, which measures all methods before a release."""
    methods = ["smoothgrad", "respond_cam"]
    assert runpy.run_path(str(PROGRAM))["main"](["--networks", "resnet18", "--methods", *methods]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert [line[1] for line in lines] == methods
    assert all(float(line[3]) <= 1e-8 for line in lines)
