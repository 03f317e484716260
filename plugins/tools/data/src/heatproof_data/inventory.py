"""Shows the contents of a download beside the published counts, and the citation and licence of the dataset."""

from collections.abc import Iterable

from rich.console import Group

from heatproof.cli.tables import table
from heatproof.dataset import Dataset, Tally


def tally_table(name: str, tallies: Iterable[Tally]) -> Group:
    """Make the table of a dataset's tallies: counts, published counts and examples."""
    rows = [(tally.what, tally.count, tally.expected, tally.example) for tally in tallies]
    columns = ("what", "found", "published", "example")
    return table(name, columns, rows, numbers=("found", "published"), fold=("published", "example"))


def terms(dataset: Dataset) -> list[str]:
    """List the citation and the licence of a dataset and the source of missing files, without empty entries."""
    texts = {"cite": dataset.citation, "licence": dataset.licence, "missing files": dataset.obtain}
    return [f"{name}: {text}" for name, text in texts.items() if text]
