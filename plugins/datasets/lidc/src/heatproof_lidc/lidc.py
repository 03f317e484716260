"""LIDC-IDRI: CT scans of the chest, with lung nodules that four readers outlined and rated."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from heatproof.component import Seed
from heatproof.errors import DataError
from heatproof.records import Sample
from heatproof_cohorts.manifest import ListedDataset, ListedParams, ListedSample, Listing, require_new
from heatproof_cohorts.partition import SPLITS, Shares, split_of
from heatproof_dicom_files.series import list_series

from .cut import Cut, around, require_fitting, whole
from .markup import CHARACTERISTICS, Reading
from .scan import Scan, mean_ratings, read_scan, scores
from .writing import write_scan

UNDECIDED = 3.0


class LidcParams(ListedParams):
    """Whole scans or boxes of ``size`` around nodules, the selection of nodules, and the division of patients.

    ``window`` is in Hounsfield units; its ends become 0 and 65535.
    """

    crop: Literal["nodule", "scan"] = "nodule"
    space: Literal[2, 3] = 2
    size: float = Field(default=48.0, gt=0, le=1024)
    unit: Literal["mm", "voxels"] = "mm"
    window: tuple[float, float] = (-1000.0, 400.0)
    least_readers: int = Field(default=1, ge=1, le=4)
    shares: Shares = Shares()
    seed: Seed = 0

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.window[0] >= self.window[1]:
            raise ValueError(f"the window {self.window} does not rise; give the lower end first")
        return self


class Lidc(ListedDataset[LidcParams]):
    """1,018 CT scans of the chest of 1,010 patients, in which four readers outlined and rated every nodule from 3 mm.

    Armato et al. 2011, "The Lung Image Database Consortium (LIDC) and Image Database Resource Initiative (IDRI): a
    completed reference database of lung nodules on CT scans", Medical Physics 38:915–931, doi:10.1118/1.3528204.
    Outlines run along the pixels just outside of a nodule. Outlines of several readers that share a voxel are of one
    nodule. Every reader of a scan annotates ``nodule``, with zeros where the reader outlined none; the mean over four
    readers is therefore 0, 0.25 … 1. Readers are numbered within a scan: ``reader1`` of two scans may be two persons.

    The class of a nodule follows from its mean malignancy over all readers (1 to 5): below 3 is benign, above 3
    malignant; nodules of exactly 3 are not used. This is the usual rule in papers on these data; no biopsy confirms
    it. Whole scans have no label.
    """

    classes = ("benign", "malignant")
    findings = ("nodule",)
    extras = (*CHARACTERISTICS, "scores", "ratings", "small", "origin")
    splits = SPLITS
    tuning = "tuning"
    citation = "Armato et al. 2011, Medical Physics 38:915–931, doi:10.1118/1.3528204"
    licence = "CC BY 3.0"
    obtain = "obtain it from the collection LIDC-IDRI of The Cancer Imaging Archive"

    @property
    def published(self) -> Mapping[str, int]:
        """The counts of scans by the archive, or of nodules by Athanasoula et al. 2022."""
        if self.params.crop == "scan":
            return {"samples": 1_018, "patients": 1_010}
        return {"samples": 1_236, "samples of benign": 620, "samples of malignant": 616}

    @cached_property
    def scans(self) -> tuple[Mapping[str, Scan], Mapping[str, list[str]], list[str]]:
        """The scans by series, the faults of other series, and the folders of chest radiographs.

        Reads one header and one XML per series. Raises ``DataError`` where there is no series at all.
        """
        scans: dict[str, Scan] = {}
        faults: dict[str, list[str]] = {"series that cannot be used": [], "series in two folders": []}
        radiographs = []
        folders = sorted(folder for folder in self.params.root.glob("*/*/*") if folder.is_dir())
        if not folders:
            raise DataError(f"{self.params.root} holds no folders <patient>/<study>/<series>; {self.obtain}.")
        for folder in folders:
            try:
                scan = read_scan(folder)
            except DataError as error:
                faults["series that cannot be used"].append(str(error))
                continue
            if scan is None:
                radiographs.append(str(folder))
                continue
            first = scans.setdefault(scan.markup.series, scan)
            if first is not scan:
                faults["series in two folders"].append(f"{first.folder} and {folder}; delete one of them")
        return scans, faults, radiographs

    @cached_property
    def cases(self) -> Mapping[str, tuple[Scan, tuple[Reading, ...]]]:
        """All candidates for samples by id: the scan, and the readings of the nodule (empty for a whole scan)."""
        scans = self.scans[0].values()
        if self.params.crop == "scan":
            return {scan.id: (scan, ()) for scan in scans}
        cases = {}
        for scan in scans:
            for number, nodule in enumerate(scan.nodules, 1):
                cases[f"{scan.id}_{number}"] = (scan, nodule)
        return cases

    def listed(self) -> Listing:
        """List the scans with an XML, or their nodules with a class; raise ``DataError`` where there is no series."""
        scans, faults, radiographs = self.scans
        empty = [reading for scan in scans.values() for reading in scan.empty]
        unused = {"chest radiographs": radiographs, "outlines that enclose nothing": empty}
        entries = {}
        for id, (scan, nodule) in self.cases.items():
            reason = self._unused_because(nodule)
            if reason:
                unused.setdefault(reason, []).append(id)
            else:
                entries[id] = self._listed_sample(scan, nodule)
        return Listing(entries, faults, unused, [scan.markup.path for scan in scans.values()])

    def _unused_because(self, nodule: tuple[Reading, ...]) -> str:
        """The reason why a nodule is unused, empty where it is a sample."""
        if self.params.crop == "scan":
            return ""
        if len({reading.reader for reading in nodule}) < self.params.least_readers:
            return "nodules of fewer readers"
        malignancy = mean_ratings(nodule).get("malignancy")
        if malignancy is None:
            return "nodules without malignancy"
        if malignancy == UNDECIDED:
            return "nodules of mean malignancy 3"
        return ""

    def _listed_sample(self, scan: Scan, nodule: tuple[Reading, ...]) -> ListedSample:
        label = None
        if nodule:
            label = int(mean_ratings(nodule)["malignancy"] > UNDECIDED)
        split = split_of(scan.patient, self.params.shares, self.params.seed)
        return ListedSample(scan.first, split, label, scan.patient, str(scan.markup.path))

    def files(self) -> Iterable[Path]:
        """The XML and all slices of every scan."""
        for scan in self.scans[0].values():
            yield scan.markup.path
            yield from scan.slices

    def files_of(self, id: str) -> Iterable[Path]:
        """The XML and all slices of the scan."""
        self.entry(id)
        scan, _ = self.cases[id]
        return [scan.markup.path, *scan.slices]

    @cached_property
    def _series(self) -> Any:
        """``list_series`` with a cache of the last 16 scans."""
        return lru_cache(maxsize=16)(list_series)

    def load(self, id: str) -> Sample:
        """Load one nodule or scan (1, *space) uint16, scaled by the window, with the annotations of every reader.

        Extras: ``ratings``, the ratings of each nodule by each reader, with the number of the nodule and its box;
        ``small``, the points at nodules below 3 mm; ``origin``, the position of the first voxel in the scan; and, for
        nodules, the mean of each characteristic, and ``scores``, its ratings by the readers of this nodule.
        """
        entry = self.entry(id)
        scan, nodule = self.cases[id]
        cut = self._cut(scan, nodule)
        field = None
        if not cut.field.all():
            field = cut.field
        extras = {"ratings": cut.ratings(), "small": cut.small(), "origin": cut.start, **mean_ratings(nodule)}
        if nodule:
            extras["scores"] = scores(nodule)
        return Sample(
            id,
            cut.image(self.params.window),
            cut.annotations(),
            entry.label,
            entry.patient,
            cut.geometry,
            field,
            extras,
        )

    def _cut(self, scan: Scan, nodule: tuple[Reading, ...]) -> Cut:
        if not scan.slices:
            raise DataError(f"{scan.first} does not exist; {self.obtain}.")
        series = self._series(scan.slices)
        require_fitting(scan, series)
        if not nodule:
            return whole(scan, series)
        steps: Sequence[float] = (1.0, 1.0, 1.0)
        if self.params.unit == "mm":
            steps = series.spacing
        depth, height, width = (max(1, round(self.params.size / step)) for step in steps)
        return around(scan, series, nodule, (depth, height, width), self.params.space == 2)

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write volumes with annotations and ratings, as ``crop: scan`` loads them, under an empty folder.

        Returns their number. Splits are not written; patients are divided anew when the scans are read.
        """
        require_new(root)
        count = 0
        for sample in samples:
            write_scan(sample, root, self.params.window)
            count += 1
        return count
