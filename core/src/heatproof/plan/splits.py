"""Who is in which split of the datasets that a run uses, and that nobody is tuned on and tested on."""

from collections.abc import Iterable, Sequence
from typing import Any

from ..errors import DataError
from .task import Source

Case = tuple[str, str]
"""Dataset and id."""

COLUMNS = ("dataset", "split", "case", "patient", "use")


def tuning_of(source: Source) -> list[Source]:
    """The samples on which open settings are filled for a source, where its dataset has a split for that."""
    dataset = source.dataset
    return [Source(dataset, dataset.tuning, tuple(dataset.ids(dataset.tuning)))] if dataset.tuning else []


def require_apart(sources: Iterable[Source]) -> None:
    """Raise ``DataError`` for a patient in two splits of a dataset; ``all`` is every split, and says so in tables."""
    homes: dict[tuple[str, str], str] = {}
    for source in sources:
        dataset, split = source.dataset, source.split
        place = str(dataset.root() or dataset.identity)
        for patient in dict.fromkeys(map(dataset.patient, source.ids)) if split != "all" else ():
            first = homes.setdefault((place, patient), split)
            if first != split:
                raise DataError(
                    f"patient {patient!r} of {dataset.short} is in the splits {first} and {split} of this config, so "
                    "that what is tuned on one is tested on the other; give all entries of a dataset the same shares "
                    "and seed."
                )


def rows(reported: Sequence[Source], tuning: Sequence[Source]) -> list[dict[str, Any]]:
    """Of each case its split in the dataset, its patient, and its use: reported, tuning (open settings are filled)."""
    homes, patients, uses = dict[Case, str](), dict[Case, str](), dict[Case, set[str]]()
    for use, sources in (("tuning", tuning), ("reported", reported)):
        for source in sources:
            dataset = source.dataset
            homes |= {(dataset.short, case): split for split in dataset.splits for case in dataset.ids(split)}
            for case in source.ids:
                patients[dataset.short, case] = dataset.patient(case)
                uses.setdefault((dataset.short, case), set()).add(use)
    return [
        {"dataset": case[0], "split": homes.get(case, ""), "case": case[1], "patient": patients[case],
         "use": " and ".join(sorted(use))}
        for case, use in uses.items()
    ]  # fmt: skip
