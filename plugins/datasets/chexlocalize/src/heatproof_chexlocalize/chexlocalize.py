"""CheXlocalize: masks of ten findings on the validation and test images of CheXpert."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np

from heatproof.errors import DataError
from heatproof.imaging.turning import require_known
from heatproof.records import Annotation, Geometry, Sample
from heatproof_cohorts.manifest import ListedDataset, ListedParams, ListedSample, Listing, gathered

from .findings import CLASSES, INDICES, OUTLINED
from .outlines import POINTS, Outlines, image_folder, table_path
from .sheets import Radiograph, Sheet, read_sheet
from .writing import write

TRUTH = "ground_truth"
BENCHMARK = "benchmark"
READERS = {TRUTH: (TRUTH,), BENCHMARK: (BENCHMARK,), "both": (TRUTH, BENCHMARK), "points": (TRUTH,)}
"""Setting → the readers whose outlines are read."""


class ChexlocalizeParams(ListedParams):
    """The readers whose outlines annotate the images, and the views to use.

    ``ground_truth`` are two radiologists, ``benchmark`` three others, who read the test split only. ``points`` adds the
    most representative points of the benchmark to the ground truth, as masks of single pixels.
    """

    readers: Literal["ground_truth", "benchmark", "both", "points"] = "ground_truth"
    views: tuple[Literal["frontal", "lateral"], ...] = ("frontal", "lateral")


class Chexlocalize(ListedDataset[ChexlocalizeParams]):
    """902 radiographs of 700 patients with masks of ten findings and 14 labels, for tuning (CheXpert's val) and test.

    Saporta et al. 2022, "Benchmarking saliency methods for chest X-ray interpretation", Nature Machine Intelligence
    4:867–878, doi:10.1038/s42256-022-00536-x. The ground truth contains the images in which one of the ten findings is
    present; in the others a finding that the label denies is absent. What the benchmark did not outline in a test image
    it did not see, as the authors' evaluation counts it. Wherever the benchmark is read, ``extras`` hold its most
    representative points: ``points`` (n, 2), rows before columns, in continuous native indices, and ``point_findings``
    (n,).

    The layout is that of the authors' repository rajpurkarlab/cheXlocalize, whose sample of two validation images was
    read. Not verified on files: the columns of ``test_labels.csv``, and the files of the benchmark (``hb_*``).
    """

    classes = CLASSES
    findings = tuple(OUTLINED)
    splits = ("tuning", "test")
    tuning = "tuning"
    citation = "Saporta et al. 2022, Nature Machine Intelligence 4:867-878, doi:10.1038/s42256-022-00536-x"
    licence = "the research use agreement of Stanford AIMI; check it before use"
    obtain = "obtain it from the page 'CheXlocalize' of Stanford AIMI, and set root to the folder with CheXpert/"

    @property
    def readers(self) -> tuple[str, ...]:
        """The readers whose outlines or points are read."""
        if self.params.readers == TRUTH:
            return (TRUTH,)
        return tuple(dict.fromkeys((*READERS[self.params.readers], BENCHMARK)))

    @property
    def extras(self) -> tuple[str, ...]:
        """The points of the benchmark if it is read."""
        if self.params.readers == TRUTH:
            return ()
        return ("points", "point_findings")

    @property
    def published(self) -> Mapping[str, int]:
        """The authors' counts, which they state for both views together."""
        if set(self.params.views) != {"frontal", "lateral"}:
            return {}
        return {"samples": 902, "patients": 700, "samples in tuning": 234, "samples in test": 668}

    @cached_property
    def sheets(self) -> Mapping[str, Sheet]:
        """Split → its table of labels; raises ``DataError`` where both are missing, or one lacks a column."""
        paths = {split: table_path(self.params.root, split) for split in self.splits}
        sheets = {split: read_sheet(path) for split, path in paths.items() if path.is_file()}
        if not sheets:
            raise DataError(f"{self.params.root} holds no {' and no '.join(map(str, paths.values()))}; {self.obtain}.")
        return sheets

    @cached_property
    def outlines(self) -> Mapping[tuple[str, str], Outlines]:
        """(Split, reader) → the outlines; the benchmark read the test split only."""
        return {
            (split, reader): Outlines.of(self.params.root, split, reader)
            for split in self.sheets
            for reader in READERS[self.params.readers]
            if (split, reader) != ("tuning", BENCHMARK)
        }

    @cached_property
    def points(self) -> Mapping[str, Outlines]:
        """Split → the points of the benchmark, if it is read."""
        splits = [split for split in self.sheets if split != "tuning" and self.extras]
        return {split: Outlines.of(self.params.root, split, BENCHMARK, POINTS) for split in splits}

    def listed(self) -> Listing:
        """List the rows of the tables; raises ``DataError`` where there is none, or outlines cannot be read."""
        entries, faults = gathered(self._entries())
        files = [*self.outlines.values(), *self.points.values()]
        ids = {radiograph.id for sheet in self.sheets.values() for radiograph in sheet.radiographs}
        faults |= {
            "rows that cannot be used": list(chain.from_iterable(sheet.problems for sheet in self.sheets.values())),
            "annotations without an image": list(chain.from_iterable(file.beyond(ids) for file in files)),
            "annotations of unknown findings": list(chain.from_iterable(file.unknown() for file in files)),
            "findings that an image of a file lacks": list(
                chain.from_iterable(file.incomplete() for file in self.outlines.values())
            ),
        }
        tables = [sheet.path for sheet in self.sheets.values()]
        return Listing(entries, faults, self._unused(entries), [*tables, *(file.path for file in files)])

    def _entries(self) -> Iterator[tuple[str, ListedSample]]:
        for split, sheet in self.sheets.items():
            folder = image_folder(self.params.root, split)
            for radiograph in filter(self._takes, sheet.radiographs):
                path = folder / radiograph.path
                known = (radiograph.label, radiograph.patient, radiograph.source)
                yield radiograph.id, ListedSample(path, split, *known, attributes=radiograph.attributes)

    def _takes(self, radiograph: Radiograph) -> bool:
        return radiograph.view in self.params.views

    def _unused(self, entries: Mapping[str, ListedSample]) -> dict[str, list[str]]:
        """Missing tables, other views, and the images that a reader should have outlined but did not."""
        radiographs = chain.from_iterable(sheet.radiographs for sheet in self.sheets.values())
        unused = {
            "missing tables": [split for split in self.splits if split not in self.sheets],
            "rows of another view": [radiograph.source for radiograph in radiographs if not self._takes(radiograph)],
        }
        for (split, reader), file in self.outlines.items():
            name = f"images with a finding but without outlines of the {reader.replace('_', ' ')}"
            unused[name] = [*unused.get(name, []), *_lacking(file, split, entries)]
        for split, file in self.points.items():
            unused["images with a finding but without a point of the benchmark"] = _lacking(file, split, entries)
        return unused

    def annotations(self, id: str, geometry: Geometry) -> tuple[Annotation, ...]:
        """Decode the outlines of an image; raises ``DataError`` for one that is damaged or does not fit."""
        require_known(f"the mask of {id}", geometry)
        entry = self.entry(id)
        annotations: list[Annotation] = []
        for (split, _), file in self.outlines.items():
            if split == entry.split:
                annotations += _outlined(file, id, entry, geometry.native)
        if self.params.readers == "points" and entry.split in self.points:
            annotations += self.points[entry.split].pixels(id, geometry.native)
        return tuple(annotations)

    def load(self, id: str) -> Sample:
        """Load a radiograph (c, h, w) with its label, patient, outlines and, if they are read, points."""
        sample = super().load(id)
        if not self.extras:
            return sample
        return replace(sample, extras=self._points(id, sample.space))

    def _points(self, id: str, shape: tuple[int, ...]) -> Mapping[str, object]:
        file = self.points.get(self.entry(id).split)
        if file is None:
            return {"points": np.zeros((0, 2)), "point_findings": np.array([], dtype=str)}
        return file.points(id, shape)

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write labelled samples in this layout under an empty folder; return their number.

        Images become JPEG. Annotations of the reader ``benchmark`` become those of the benchmark, all others the ground
        truth, where a finding that nobody examined becomes absent. Ids are made of ``patient``, the patient's name and
        a number; ``origin.csv`` lists the original ones.
        """
        return write(self, samples, root)


def _outlined(file: Outlines, id: str, entry: ListedSample, shape: tuple[int, ...]) -> Iterator[Annotation]:
    """The masks of an image; in one that the file lacks, those of the findings that its reader did not see."""
    if id in file.entries:
        yield from file.annotations(id, shape)
        return
    # A broadcast array takes no memory.
    empty = np.broadcast_to(np.zeros((), bool), shape)
    findings = _denied(entry)
    if file.reader == BENCHMARK:
        findings = list(OUTLINED)
    for finding in findings:
        yield Annotation(finding, empty, "mask", file.reader)


def _lacking(file: Outlines, split: str, entries: Mapping[str, ListedSample]) -> list[str]:
    """The images of a split in which the label states one of the findings, and which a file lacks."""
    absent = [id for id, entry in entries.items() if entry.split == split and id not in file.entries]
    return [id for id in absent if len(_denied(entries[id])) < len(OUTLINED)]


def _denied(entry: ListedSample) -> list[str]:
    """The findings that the label of an image denies."""
    present = np.atleast_1d(np.array(entry.label, dtype=int))
    return [finding for finding, index in INDICES.items() if index not in present]
