"""What the terminal shows of a download: what is there beside the published counts, and how it is cited."""

from collections.abc import Iterable

from rich.console import Group

from heatproof.cli.tables import table
from heatproof.dataset import Dataset, Tally


def findings_table(name: str, findings: Iterable[Tally]) -> Group:
    """What is there of a dataset, beside the published counts."""
    rows = [(finding.what, finding.count, finding.expected, finding.example) for finding in findings]
    columns = ("what", "found", "published", "example")
    return table(name, columns, rows, numbers=("found", "published"), fold=("published", "example"))


def terms(dataset: Dataset) -> list[str]:
    """How a dataset is cited and licensed, and where missing files are found, as far as it says so."""
    said = {"cite": dataset.citation, "licence": dataset.licence, "missing files": dataset.obtain}
    return [f"{what}: {text}" for what, text in said.items() if text]
