"""VinDr-CXR: chest radiographs with the labels and boxes of several readers."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from heatproof.dataset import Tally
from heatproof.errors import DataError
from heatproof.imaging.outlines import Overhang
from heatproof.imaging.window import Window
from heatproof.records import Annotation, Array, Geometry, Label, Sample
from heatproof_cohorts.boxes import box_annotation
from heatproof_cohorts.labels import label_of
from heatproof_cohorts.manifest import ListedDataset, ListedParams, ListedSample, Listing, gathered
from heatproof_cohorts.tables import number
from heatproof_lesions.readings import together

from .findings import CLASSES, LOCAL
from .tables import EDGES, Part
from .writing import write


class VindrCxrParams(ListedParams):
    """How the readers of an image are combined, the window of the DICOM files, and how far boxes may leave the image.

    ``readers: each`` annotates by each reader, so that metrics can combine them or compute their agreement. ``union``
    and ``majority`` make one map of each finding: what a reader covers, or more than half of those who examined it.
    A label applies with ``union`` if a reader states it, otherwise if more than half of the readers do. The test split
    has one reading, a consensus of five.
    """

    readers: Literal["each", "union", "majority"] = "each"
    window: Window = "type"
    overhang: float = Field(default=0.5, ge=0, le=10_000)


class VindrCxr(ListedDataset[VindrCxrParams]):
    """18,000 frontal radiographs with 28 labels and boxes of 22 findings: three readers in train, a consensus in test.

    Nguyen et al. 2022, "VinDr-CXR: an open dataset of chest X-rays with radiologist's annotations", Scientific Data
    9:429, doi:10.1038/s41597-022-01498-w. A finding that a reader denies is absent; one that a reader states without a
    box was not examined by this reader. Patients were not published, so each image counts as a patient.

    The layout is that of PhysioNet (``train/``, ``test/`` and ``annotations/``) as public loaders read it; no published
    file was read. Not verified: the spelling of the columns ``rad_id`` and ``Other diseases``, of which both known
    forms are accepted.
    """

    classes = CLASSES
    findings = tuple(LOCAL)
    splits = ("train", "test")
    tuning = "train"
    citation = "Nguyen et al. 2022, Scientific Data 9:429, doi:10.1038/s41597-022-01498-w (PhysioNet, credentialed)"
    licence = "PhysioNet Credentialed Health Data License; only for credentialed users who signed its agreement"
    obtain = "obtain it from the page 'VinDr-CXR' of PhysioNet, and set root to the folder with annotations/"

    @cached_property
    def published(self) -> Mapping[str, int]:
        """The authors' counts."""
        return {"samples": 18_000, "samples in train": 15_000, "samples in test": 3_000}

    @property
    def readers(self) -> tuple[str, ...]:
        """The readers of the tables; none where they are combined, nor in the consensus of the test split."""
        if self.params.readers != "each":
            return ()
        votes = chain.from_iterable(part.votes.values() for part in self.parts.values())
        return tuple(sorted({*chain.from_iterable(votes)} - {""}))

    @property
    def window(self) -> Window:
        """The window of the settings."""
        return self.params.window

    @cached_property
    def overhang(self) -> Overhang:
        """How far boxes may leave their image, and those that did."""
        return Overhang(self.params.overhang)

    @cached_property
    def parts(self) -> Mapping[str, Part]:
        """Split → its tables; raises ``DataError`` where there are none."""
        parts = {split: Part(self.params.root, split) for split in self.splits}
        present = {split: part for split, part in parts.items() if part.present}
        if not present:
            raise DataError(f"{self.params.root} holds no {parts['test'].path('image_labels').name}; {self.obtain}.")
        return present

    def listed(self) -> Listing:
        """List the images of the tables; raises ``DataError`` where a table is missing or lacks a column."""
        entries, faults = gathered(self._entries())
        unused = {"missing tables": [split for split in self.splits if split not in self.parts]}
        for part in self.parts.values():
            for name, messages in part.faults().items():
                faults[name] = [*faults.get(name, []), *messages]
            for name, messages in part.remarks().items():
                unused[name] = [*unused.get(name, []), *messages]
        tables = [part.path(kind) for part in self.parts.values() for kind in ("image_labels", "annotations")]
        return Listing(entries, faults, unused, tables)

    def _entries(self) -> Iterator[tuple[str, ListedSample]]:
        for split, part in self.parts.items():
            source = str(part.path("image_labels"))
            for id, votes in part.votes.items():
                path = self.params.root / split / f"{id}.dicom"
                yield id, ListedSample(path, split, self._label(list(votes.values())), source=source)

    def _label(self, votes: list[frozenset[int]]) -> Label:
        """The classes that enough of the readers state."""
        least = len(votes) // 2 + 1
        if self.params.readers == "union":
            least = 1
        return label_of(index for index in range(len(CLASSES)) if sum(index in stated for stated in votes) >= least)

    def annotations(self, id: str, geometry: Geometry) -> tuple[Annotation, ...]:
        """The boxes of all readers, or one map of each finding; raises ``DataError`` for a box that does not fit."""
        part = self.parts[self.entry(id).split]
        annotations = chain.from_iterable(
            self._annotations(part, id, reader, geometry.native) for reader in part.votes[id]
        )
        if self.params.readers == "each":
            return tuple(annotations)
        return tuple(self._combined(list(annotations)))

    def _annotations(self, part: Part, id: str, reader: str, shape: tuple[int, ...]) -> Iterator[Annotation]:
        """The annotations of one reader."""
        stated = part.votes[id][reader]
        for finding, name in LOCAL.items():
            rows = part.boxes.get((id, reader, finding), ())
            for row in rows:
                corners = [number(row[edge], row.source, edge) for edge in EDGES]
                yield box_annotation(finding, corners, shape, self.overhang, row.source, reader)
            if not rows and CLASSES.index(name) not in stated:
                # A broadcast array takes no memory: an image has a score of such annotations per reader.
                yield Annotation(finding, np.broadcast_to(np.zeros((), bool), shape), "box", reader)

    def _combined(self, annotations: list[Annotation]) -> Iterator[Annotation]:
        """One map of each finding that a reader examined."""
        maps: dict[str, dict[str, Array]] = {}
        for annotation in annotations:
            by_reader = maps.setdefault(annotation.finding, {})
            values = by_reader.setdefault(annotation.reader, annotation.values)
            if values is not annotation.values:
                by_reader[annotation.reader] = np.maximum(values, annotation.values)
        for finding, by_reader in maps.items():
            shown = [values for values in by_reader.values() if values.dtype != bool]
            values = next(iter(by_reader.values()))
            # The readers who deny a finding have an annotation of bool.
            if shown:
                values = together(list(by_reader.values()), self.params.readers)
            yield Annotation(finding, values, "mask")

    def check(self) -> list[Tally]:
        """Count as other listed datasets do, and the boxes that were clipped."""
        tallies = super().check()
        clipped = self.overhang.clipped
        if clipped:
            tallies.append(Tally("boxes clipped", len(clipped), None, next(iter(clipped.values()))))
        return tallies

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write labelled samples in this layout under an empty folder; return their number.

        Images become DICOM; the box round each annotation of a known finding is written. In train, each reader of a
        known finding becomes a reader (``R1`` where there is none), all with the labels of the sample.
        """
        return write(self, samples, root)
