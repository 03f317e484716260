"""Shows the contents of a download beside the published counts, and the citation and licence of the dataset."""

from collections.abc import Callable, Iterable
from contextlib import suppress

from rich.console import Group

from heatproof.cli.tables import table
from heatproof.dataset import Dataset, Tally
from heatproof.errors import DataError
from heatproof.imaging.losses import losses, remark
from heatproof.records import Sample


def tally_table(name: str, tallies: Iterable[Tally]) -> Group:
    """Make the table of a dataset's tallies: counts, published counts and examples."""
    rows = [(tally.what, tally.count, tally.expected, tally.example) for tally in tallies]
    columns = ("what", "found", "published", "example")
    return table(name, columns, rows, numbers=("found", "published"), fold=("published", "example"))


def lost_mass(dataset: Dataset, model: str, prepare: Callable[[Sample], Sample]) -> str:
    """Say how much annotated mass a model's preparation loses, in all samples that can be read."""
    lost = []
    for id in dataset.ids():
        with suppress(DataError):  # the tallies have counted it
            native = dataset.load(id)
            lost.append((id, losses(native, prepare(native))))
    sentence = remark(lost) or "no finding has more than 1 % of its annotated mass outside the field of view"
    return f"{len(lost)} samples as {model} prepares them: {sentence}"


def terms(dataset: Dataset) -> list[str]:
    """List the citation and the licence of a dataset and the source of missing files, without empty entries."""
    texts = {"cite": dataset.citation, "licence": dataset.licence, "missing files": dataset.obtain}
    return [f"{name}: {text}" for name, text in texts.items() if text]
