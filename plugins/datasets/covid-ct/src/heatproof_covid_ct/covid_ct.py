"""COVID-CT: slices of computed tomography from publications, with and without COVID-19."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from heatproof.errors import DataError
from heatproof.records import Sample
from heatproof_cohorts.folders import class_folders
from heatproof_cohorts.image_files import write_image
from heatproof_cohorts.manifest import ListedDataset, ListedSample, Listing, gathered, require_new
from heatproof_cohorts.tables import read_lines

PARTS = ("NonCOVID", "COVID")
LISTS = {"train": "train", "tuning": "val", "test": "test"}


@dataclass(frozen=True)
class Named:
    """One line of a list: the split and class of a slice, the name of its file, and where it says so."""

    split: str
    label: int
    name: str
    source: str

    @property
    def folder(self) -> str:
        """The folder of its class."""
        return f"CT_{PARTS[self.label]}"


class CovidCt(ListedDataset):
    """746 slices, 349 of them of patients with COVID-19, in the authors' own split.

    Yang, He, Zhao, Zhang, Zhang and Xie 2020, "COVID-CT-Dataset: A CT Scan Dataset about COVID-19", arXiv:2003.13865.
    ``val`` is the tuning split. The lists name no patients, so each slice is its own patient. The id is the name of the
    file without suffix, with it, or with its folder, whichever first is unique in the lists.
    """

    classes = ("non_covid", "covid")
    splits = tuple(LISTS)
    tuning = "tuning"
    citation = "Yang et al. 2020, COVID-CT-Dataset, arXiv:2003.13865"
    licence = "as the repository says; the images come from publications"
    obtain = "obtain it from the repository UCSD-AI4H/COVID-CT on GitHub, and unpack the zip files of Images-processed"
    published = {"samples": 746, "samples of non_covid": 397, "samples of covid": 349}  # noqa: RUF012

    @cached_property
    def folders(self) -> Mapping[str, Path]:
        """The folder of each class, at any depth below root."""
        return class_folders(self.params.root, [f"CT_{part}" for part in PARTS])

    def listed(self) -> Listing:
        """The lines of the six lists; raises ``DataError`` where none of them is there."""
        lists = {(split, label): _list(self.params.root, split, label) for split in LISTS for label in range(2)}
        present = {kind: path for kind, path in lists.items() if path.is_file()}
        if not present:
            raise DataError(f"{self.params.root} holds no list such as {lists['train', 1]}; {self.obtain}.")
        named = [
            Named(split, label, name, place)
            for (split, label), path in present.items()
            for name, place in read_lines(path)
        ]
        entries, faults = gathered(self._entries(named))
        faults["missing lists"] = [str(path) for path in lists.values() if not path.is_file()]
        return Listing(entries, faults, tables=list(present.values()))

    def _entries(self, named: list[Named]) -> Iterator[tuple[str, ListedSample]]:
        stems = Counter(Path(name).stem for name in {one.name for one in named})
        folders = {(one.name, one.folder) for one in named}
        names = Counter(name for name, _ in folders)
        for one in named:
            stem, unique = Path(one.name).stem, names[one.name] == 1
            id = (stem if stems[stem] == 1 else one.name) if unique else f"{one.folder}/{one.name}"
            folder = self.folders.get(one.folder, self.params.root / "Images-processed" / one.folder)
            yield id, ListedSample(folder / one.name, one.split, one.label, source=one.source)

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write labelled samples in this layout under an empty folder, as PNG; how many.

        ``extras["split"]`` names the split, train where it is not set; patients are not written.
        """
        require_new(root)
        lists: dict[Path, list[str]] = {_list(root, split, label): [] for split in LISTS for label in range(2)}
        for sample in samples:
            label, name = self.class_to_write(sample), f"{self.name_to_write(sample)}.png"
            write_image(sample.image, root / "Images-processed" / f"CT_{PARTS[label]}" / name)
            lists[_list(root, self.split_to_write(sample), label)].append(name)
        for path, names in lists.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        return sum(map(len, lists.values()))


def _list(root: Path, split: str, label: int) -> Path:
    return root / "Data-split" / PARTS[label] / f"{LISTS[split]}CT_{PARTS[label]}.txt"
