"""The parts of a training: no patient is in two of them."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from heatproof.dataset import Dataset
from heatproof.errors import DataError
from heatproof.seeding import key

from .cohort import Member
from .diagnostics import Flag
from .settings import SplitSettings


@dataclass(frozen=True)
class Parts:
    """The members that a network is trained on, those on which its best epoch is selected, and those to test it on."""

    train: Sequence[Member]
    validation: Sequence[Member]
    test: Sequence[Member]

    def named(self) -> Mapping[str, Sequence[Member]]:
        """Return the parts by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def partitions(split: SplitSettings, members: Sequence[Member], dataset: Dataset, seed: int) -> list[Parts]:
    """Divide the members into parts, once or for each fold.

    The patients of each class are put into an order that only the seed and their names determine, and dealt out in it:
    the shares hold within every class up to one patient. Raises ``DataError`` for more folds than patients.
    """
    if split.train is not None:
        return [_by_name(split, members, dataset)]
    if split.folds is None:
        shares = {"validation": float(split.validation), "test": float(split.test)}
        parts = _dealt(members, shares, seed, "split")
        return [Parts(parts["train"], parts["validation"], parts["test"])]
    patients = len({member.patient for member in members})
    if split.folds > patients:
        raise DataError(f"{split.folds} folds need as many patients, and there are {patients}; lower split.folds.")
    folds = _dealt(members, dict.fromkeys(map(str, range(split.folds)), 1 / split.folds), seed, "folds")
    return [_fold(split, members, folds[str(fold)], seed, fold) for fold in range(split.folds)]


def _fold(split: SplitSettings, members: Sequence[Member], test: Sequence[Member], seed: int, fold: int) -> Parts:
    tested = {member.id for member in test}
    others = [member for member in members if member.id not in tested]
    parts = _dealt(others, {"validation": float(split.validation)}, seed, f"fold {fold}")
    return Parts(parts["train"], parts["validation"], test)


def _dealt(members: Sequence[Member], shares: Mapping[str, float], seed: int, purpose: str) -> dict[str, list[Member]]:
    """Deal the patients of each class out to parts by their shares; ``train`` gets what is left.

    Counting runs on from class to class, so that the shares of the whole are right too. The first patient of each
    class is for training, if anything is.
    """
    patients: dict[str, list[Member]] = defaultdict(list)
    for member in members:
        patients[member.patient].append(member)
    names = sorted(patients, key=lambda name: (_class_of(patients[name]), key("deal", seed, purpose, name)))
    shares = {**shares, "train": max(0.0, 1 - sum(shares.values()))}
    parts: dict[str, list[Member]] = {part: [] for part in shares}
    dealt: Counter[str] = Counter()
    known: set[tuple[int, ...]] = set()
    for count, name in enumerate(names, start=1):
        part = max(shares, key=lambda part: shares[part] * count - dealt[part])
        if _class_of(patients[name]) not in known and shares["train"] > 1e-9:
            part = "train"
        known.add(_class_of(patients[name]))
        dealt[part] += 1
        parts[part] += patients[name]
    return parts


def _class_of(members: Sequence[Member]) -> tuple[int, ...]:
    """The class of a patient: the highest of the labels; patients without labels are a class of their own."""
    return max((member.labels or () for member in members), default=())


def _by_name(split: SplitSettings, members: Sequence[Member], dataset: Dataset) -> Parts:
    """The parts that are splits of the dataset."""
    by_id = {member.id: member for member in members}
    parts: dict[str, list[Member]] = {"train": [], "validation": [], "test": []}
    for part in parts:
        name = getattr(split, part)
        if name:
            parts[part] = [by_id[id] for id in dataset.ids(str(name)) if id in by_id]
    return Parts(parts["train"], parts["validation"], parts["test"])


def require_sound(parts: Parts, classes: Sequence[str], labelled: bool, needed: Collection[str] = ()) -> list[Flag]:
    """Return a flag for a class that occurs in no sample of a part, such as the test part.

    Raises ``DataError`` for a patient in two parts, where ``train`` or a part that is ``needed`` is empty, for missing
    labels, and for a class without a sample to train on.
    """
    for name in ("train", *needed):
        if not parts.named()[name]:
            raise DataError(
                f"no sample is left for the {name} part; use more samples, change the shares of the parts, or name "
                "another split."
            )
    _require_apart(parts)
    for name, members in parts.named().items():
        missing = [member.id for member in members if member.labels is None]
        if labelled and missing:
            raise DataError(
                f"{len(missing)} of {len(members)} samples of the {name} part have no label, such as {missing[0]}; "
                "leave them out by data.ids, or choose an objective that needs no labels."
            )
    return list(_absent(parts, classes)) if labelled else []


def _require_apart(parts: Parts) -> None:
    homes: dict[str, str] = {}
    for name, members in parts.named().items():
        for member in members:
            home = homes.setdefault(member.patient, name)
            if home != name:
                raise DataError(
                    f"patient {member.patient!r} is in the {home} and in the {name} part (sample {member.id}): the "
                    "network would be tested on patients that it knows. Divide by shares, or name other splits."
                )


def _absent(parts: Parts, classes: Sequence[str]) -> Iterator[Flag]:
    """A flag for each part without a class that others have; an error where it is the part of training."""
    present = {
        name: {label for member in members for label in member.labels or ()}
        for name, members in parts.named().items()
        if members
    }
    everywhere = set().union(*present.values())
    for name, labels in present.items():
        absent = [classes[label] for label in sorted(everywhere - labels)]
        if not absent:
            continue
        text = f"no sample of the {name} part has the class {' or '.join(map(repr, absent))}"
        if name == "train":
            raise DataError(f"{text}, so it cannot be learned; give that part a larger share, or leave the class out.")
        yield Flag("absent class", f"{text}: its numbers say nothing about that class.")
