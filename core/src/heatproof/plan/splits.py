"""The splits of a run's cases; no patient may be in two of them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..errors import DataError
from .task import Source, told_apart

COLUMNS = ("dataset", "split", "case", "patient", "use")


def tuning_of(sources: Iterable[Source]) -> Iterator[Source]:
    """The tuning split of each source's dataset, where it has one: the samples on which open settings are filled."""
    for dataset in (source.dataset for source in sources):
        if dataset.tuning:
            yield Source(dataset, dataset.tuning, tuple(dataset.ids(dataset.tuning)))


def require_apart(sources: Iterable[Source]) -> None:
    """Raise ``DataError`` for a patient in two splits of a dataset, the split ``all`` apart."""
    splits: dict[tuple[str, str], str] = {}
    for source in sources:
        if source.split == "all":
            continue
        dataset = source.dataset
        origin = str(dataset.root() or dataset.identity)
        for patient in dict.fromkeys(map(dataset.patient, source.ids)):
            first = splits.setdefault((origin, patient), source.split)
            if first != source.split:
                both = f"{first} and {source.split} of this config"
                advice = "give all entries of a dataset the same shares and seed, or patients are tuned and tested on."
                raise DataError(f"patient {patient!r} of {dataset.short} is in the splits {both}; {advice}")


def rows(reported: Sequence[Source], tuning: Sequence[Source]) -> list[dict[str, Any]]:
    """The rows of ``splits.csv``: the split, patient and use of every case; ``reported``, ``tuning`` or both."""
    splits: dict[tuple[str, str], str] = {}
    patients: dict[tuple[str, str], str] = {}
    uses: dict[tuple[str, str], set[str]] = {}
    names = told_apart(source.dataset for source in (*reported, *tuning))
    for use, sources in (("tuning", tuning), ("reported", reported)):
        for source in sources:
            dataset = source.dataset
            name = names[dataset.identity]
            splits |= {(name, case): split for split in dataset.splits for case in dataset.ids(split)}
            for case in source.ids:
                patients[name, case] = dataset.patient(case)
                uses.setdefault((name, case), set()).add(use)
    return [
        {"dataset": case[0], "split": splits.get(case, ""), "case": case[1], "patient": patients[case],
         "use": " and ".join(sorted(use))}
        for case, use in uses.items()
    ]  # fmt: skip
