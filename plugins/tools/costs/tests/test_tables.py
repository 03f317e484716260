"""The table of a plan's costs in the terminal."""

import io
import re

from rich.console import Console

from heatproof.cli.tables import show
from heatproof_costs.estimate import Estimate, totals
from heatproof_costs.tables import cost_table


def rows(estimates: list[Estimate], width: int = 80) -> list[list[str]]:
    """The cells of all lines on a console of this width."""
    console = Console(file=io.StringIO(), width=width, highlight=False)
    show(console, cost_table(estimates))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return [re.split(r"  +", line.strip()) for line in text.splitlines() if line.strip()]


def test_costs() -> None:
    costs = [Estimate("phantom", "resnet50(size=64)", 16, 32, 16, 64, 2_500_000, 299_000_000)]
    assert rows(costs)[-1] == ["phantom", "resnet50(size=64)", "16", "32", "16", "64", "2.5 MB", "299 MB"]


def test_costs_of_metrics_that_run_the_model() -> None:
    """Each metric has a row below the heatmaps, and a column names what the row is for."""
    metrics = {"deletion": (1600, 0), "max_sensitivity": (160, 160)}
    costs = [Estimate("phantom", "resnet50", 16, 32, 16, 64, 2_500_000, 299_000_000, metrics)]
    assert rows(costs, width=120)[-3:] == [
        ["phantom", "resnet50", "heatmaps", "16", "32", "16", "64", "2.5 MB", "299 MB"],
        ["phantom", "resnet50", "deletion", "16", "1600", "0"],
        ["phantom", "resnet50", "max_sensitivity", "16", "160", "160"],
    ]


def test_totals_contain_the_passes_of_metrics() -> None:
    costs = [
        Estimate("phantom", "a", 16, 32, 16, 64, 2_500, 1, {"deletion": (1600, 0), "max_sensitivity": (160, 160)}),
        Estimate("phantom", "b", 16, 1, 2, 64, 500, 1),
    ]
    assert totals(costs) == {"forward": 32 + 1600 + 160 + 1, "backward": 16 + 160 + 2, "disk": 3_000}
