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
class Line:
    """One line of a list: the split and class of a slice, the name of its file, and the source of the line."""

    split: str
    label: int
    name: str
    source: str

    @property
    def folder(self) -> str:
        """The folder of the class."""
        return f"CT_{PARTS[self.label]}"


class CovidCt(ListedDataset):
    """746 slices, 349 of them of patients with COVID-19, in the authors' own split.

    Yang, He, Zhao, Zhang, Zhang and Xie 2020, "COVID-CT-Dataset: A CT Scan Dataset about COVID-19", arXiv:2003.13865.
    ``val`` is the tuning split. The lists name no patients, so each slice is its own patient. The id is the name of the
    file without suffix, with suffix, or with folder: the first of these that is unique in the lists.
    """

    classes = ("non_covid", "covid")
    splits = tuple(LISTS)
    tuning = "tuning"
    citation = "Yang et al. 2020, COVID-CT-Dataset, arXiv:2003.13865"
    licence = "see the repository; the images come from publications"
    obtain = "obtain it from the repository UCSD-AI4H/COVID-CT on GitHub, and unpack the zip files of Images-processed"
    published = {"samples": 746, "samples of non_covid": 397, "samples of covid": 349}  # noqa: RUF012

    @cached_property
    def folders(self) -> Mapping[str, Path]:
        """The folder of each class, at any depth below root."""
        return class_folders(self.params.root, [f"CT_{part}" for part in PARTS])

    def listed(self) -> Listing:
        """List the lines of the six lists; raise ``DataError`` where none of the lists exists."""
        lists = _lists(self.params.root)
        present = {key: path for key, path in lists.items() if path.is_file()}
        if not present:
            raise DataError(f"{self.params.root} holds no list such as {lists['train', 1]}; {self.obtain}.")
        lines: list[Line] = []
        for (split, label), path in present.items():
            lines += [Line(split, label, name, source) for name, source in read_lines(path)]
        entries, faults = gathered(self._entries(lines))
        faults["missing lists"] = [str(path) for path in lists.values() if not path.is_file()]
        return Listing(entries, faults, tables=list(present.values()))

    def _entries(self, lines: list[Line]) -> Iterator[tuple[str, ListedSample]]:
        stems = Counter(Path(name).stem for name in {line.name for line in lines})
        names = Counter(name for name, _ in {(line.name, line.folder) for line in lines})
        for line in lines:
            id = Path(line.name).stem
            if names[line.name] > 1:
                id = f"{line.folder}/{line.name}"
            elif stems[id] > 1:
                id = line.name
            folder = self.folders.get(line.folder, self.params.root / "Images-processed" / line.folder)
            yield id, ListedSample(folder / line.name, line.split, line.label, source=line.source)

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write labelled samples as PNG in this layout under an empty folder; return their number.

        ``extras["split"]`` names the split (default: train); patients are not written.
        """
        require_new(root)
        lists = _lists(root)
        names: dict[tuple[str, int], list[str]] = {key: [] for key in lists}
        for sample in samples:
            label = self.class_to_write(sample)
            name = f"{self.name_to_write(sample)}.png"
            write_image(sample.image, root / "Images-processed" / f"CT_{PARTS[label]}" / name)
            names[self.split_to_write(sample), label].append(name)
        for key, path in lists.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{name}\n" for name in names[key]), encoding="utf-8")
        return sum(map(len, names.values()))


def _lists(root: Path) -> dict[tuple[str, int], Path]:
    """The list of each split and class."""
    lists = {}
    for split, name in LISTS.items():
        for label, part in enumerate(PARTS):
            lists[split, label] = root / "Data-split" / part / f"{name}CT_{part}.txt"
    return lists
