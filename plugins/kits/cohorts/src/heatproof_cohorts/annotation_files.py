"""Reads and writes the annotations beside a folder of images: masks, densities, contours, and a table of boxes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field
from typing_extensions import TypeVar

from heatproof.dataset import Tally
from heatproof.digests import digest
from heatproof.errors import DataError
from heatproof.imaging.outlines import Overhang
from heatproof.imaging.turning import Turned, require_known, stored_space, turned
from heatproof.records import Annotation, Geometry, Sample
from heatproof_cohorts.boxes import CORNERS, box_of, corners_of, read_boxes
from heatproof_cohorts.contours import SUFFIXES, Contour, contour_masks, read_contours
from heatproof_cohorts.folders import DividedParams, file_paths, image_paths, name_below
from heatproof_cohorts.image_files import write_image, write_mask
from heatproof_cohorts.manifest import ListedDataset
from heatproof_cohorts.maps import read_map
from heatproof_cohorts.spelling import first_sources, require_single_spellings
from heatproof_cohorts.tables import Row, write_table

MASKS = "masks"
DENSITIES = "densities"
CONTOURS = "contours"
FOLDERS = (MASKS, DENSITIES, CONTOURS)
BOXES = "boxes.csv"


class MarkedParams(DividedParams):
    """How to read an image without an annotation of a finding that other images have: not examined, or absent.

    The setting ``unmarked`` concerns findings with outlines; a density is never absent. ``turned`` says on what the
    annotations of an image that EXIF turns were drawn, where their size does not tell: as ``shown``, or as ``stored``.
    Boxes and contours that leave the image by up to ``overhang`` pixels are clipped and counted; others are refused.
    """

    unmarked: Literal["unexamined", "absent"] = "unexamined"
    turned: Turned = "refuse"
    overhang: float = Field(default=0.5, ge=0, le=10_000)


P = TypeVar("P", bound=MarkedParams, default=MarkedParams, covariant=True)


class MarkedDataset(ListedDataset[P]):
    """A folder that holds images and their annotations. A subclass implements ``listed``."""

    @cached_property
    def findings(self) -> tuple[str, ...]:
        """All annotated findings, by name."""
        return self.annotation_files.findings

    @cached_property
    def annotation_files(self) -> "AnnotationFiles":
        """The annotation files below root."""
        params = self.params
        return AnnotationFiles(params.root, params.unmarked == "absent", params.turned, params.overhang)

    def check(self) -> list[Tally]:
        """Count as other listed datasets do, and the boxes and contours that were clipped at the image's border."""
        tallies = super().check()
        clipped = self.annotation_files.overhang.clipped
        if clipped:
            tallies.append(Tally("boxes and contours clipped", len(clipped), None, next(iter(clipped.values()))))
        return tallies

    def content(self) -> str:
        """The digest of the files, and of classes and findings, which empty folders name too."""
        return digest([super().content(), self.classes, self.findings])

    def marks(self, id: str) -> Iterable[Path]:
        """The masks, densities and contours of an image."""
        return self.annotation_files.files(id)

    def annotations(self, id: str, geometry: Geometry) -> tuple[Annotation, ...]:
        """Read the annotations of an image, each box by itself; raises ``DataError`` where one does not fit."""
        return self.annotation_files.of(id, self.entry(id).path.relative_to(self.params.root).as_posix(), geometry)


class AnnotationFiles:
    """The annotation files below ``root``; ``absent``: a finding without annotation in an image is absent from it.

    ``turned`` as in ``MarkedParams``. Boxes and contours may leave the image by ``overhang`` pixels.
    """

    def __init__(self, root: Path, absent: bool, turned: Turned = "refuse", overhang: float = 0.5):
        self.root = root
        self.absent = absent
        self.turned = turned
        self.overhang = Overhang(overhang)

    @cached_property
    def folders(self) -> list[tuple[str, Path]]:
        """The kind, ``mask`` or ``density``, and the path of each folder of a finding."""
        masks = [("mask", path) for path in sorted((self.root / MASKS).glob("*/")) if path.is_dir()]
        densities = [("density", path) for path in sorted((self.root / DENSITIES).glob("*/")) if path.is_dir()]
        return masks + densities

    @cached_property
    def boxes(self) -> Mapping[str, list[Row]]:
        """The rows of the table of boxes, by file."""
        path = self.root / BOXES
        if not path.is_file():
            return {}
        return read_boxes(path)

    @cached_property
    def contours(self) -> Mapping[str, tuple[Contour, ...] | DataError]:
        """Sample → its contours, or the error of its file, which is raised when that sample is loaded."""
        return {id: _contours(paths) for id, paths in self._contour_files.items()}

    @cached_property
    def findings(self) -> tuple[str, ...]:
        """All annotated findings, by name; raises ``DataError`` where two are spellings of one."""
        names = first_sources([*((path.name, str(path)) for _, path in self.folders), *self._outlines()])
        require_single_spellings(names, "findings", "give both the same name.")
        return tuple(sorted(names))

    @cached_property
    def outlined(self) -> frozenset[str]:
        """The findings that masks, boxes or contours annotate."""
        masks = (path.name for kind, path in self.folders if kind == "mask")
        return frozenset([*masks, *(name for name, _ in self._outlines())])

    def _outlines(self) -> Iterator[tuple[str, str]]:
        """The finding and the source of each box and contour."""
        for rows in self.boxes.values():
            yield from ((row["finding"], row.source) for row in rows)
        for contours in self.contours.values():
            if not isinstance(contours, DataError):
                yield from ((contour.finding, contour.source) for contour in contours)

    @cached_property
    def map_files(self) -> Mapping[tuple[Path, str], Sequence[Path]]:
        """(Folder, sample) → the files of its masks or densities, of which there should be one."""
        files: dict[tuple[Path, str], list[Path]] = {}
        for _, folder in self.folders:
            for path in image_paths(folder):
                files.setdefault((folder, name_below(path, folder)), []).append(path)
        return files

    @cached_property
    def _contour_files(self) -> Mapping[str, Sequence[Path]]:
        files: dict[str, list[Path]] = {}
        for path in sorted((self.root / CONTOURS).rglob("*")):
            if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
                files.setdefault(name_below(path, self.root / CONTOURS), []).append(path)
        return files

    def passed_over(self) -> list[Path]:
        """List the files below the folders of annotations that nothing reads."""
        used = set(chain.from_iterable([*self.map_files.values(), *self._contour_files.values()]))
        paths = chain.from_iterable(file_paths(self.root / name) for name in FOLDERS)
        return [path for path in paths if path not in used]

    def files(self, id: str) -> list[Path]:
        """The masks, densities and contours of a sample."""
        files: list[Path] = []
        for _, folder in self.folders:
            files.extend(self.map_files.get((folder, id), ()))
        return [*files, *self._contour_files.get(id, ())]

    def stray(self, ids: Set[str], files: Set[str]) -> dict[str, list[str]]:
        """List the masks, densities, contours and boxes that belong to none of these samples and image files."""
        masks: list[str] = []
        for (_, id), paths in self.map_files.items():
            if id not in ids:
                masks.extend(map(str, paths))
        contours: list[str] = []
        for id, paths in self._contour_files.items():
            if id not in ids:
                contours.extend(map(str, paths))
        boxes: list[str] = []
        for file, rows in self.boxes.items():
            if file not in files:
                boxes.extend(row.source for row in rows)
        return {
            "masks without an image": masks,
            "contours without an image": contours,
            "boxes without an image": boxes,
        }

    def of(self, id: str, file: str, geometry: Geometry) -> tuple[Annotation, ...]:
        """Read the annotations of a sample; raises ``DataError`` where one does not fit its image."""
        shape = geometry.native
        if self.turned == "stored":
            shape = stored_space(geometry)
        for source in self._outline_sources(id, file):
            require_known(source, geometry, self.turned)
        annotations = [
            read_map(kind, folder.name, _single(self.map_files[folder, id]), geometry, self.turned)
            for kind, folder in self.folders
            if (folder, id) in self.map_files
        ]
        maps = len(annotations)
        annotations += self._contour_masks(id, shape)
        annotations += [box_of(row, shape, self.overhang) for row in self.boxes.get(file, ())]
        annotations[maps:] = [self._as_shown(outline, geometry) for outline in annotations[maps:]]
        if self.absent:
            shape = geometry.native
            present = {annotation.finding for annotation in annotations}
            annotations += [Annotation(name, np.zeros(shape, bool)) for name in sorted(self.outlined - present)]
        return tuple(annotations)

    def _as_shown(self, outline: Annotation, geometry: Geometry) -> Annotation:
        """A contour or box on the image as it is shown."""
        if self.turned != "stored":
            return outline
        return replace(outline, values=np.ascontiguousarray(turned(outline.values, geometry.exif)))

    def _outline_sources(self, id: str, file: str) -> list[str]:
        """The sources of the contours and boxes of a sample."""
        return [*map(str, self._contour_files.get(id, ())), *(row.source for row in self.boxes.get(file, ()))]

    def _contour_masks(self, id: str, shape: tuple[int, ...]) -> list[Annotation]:
        contours = self.contours.get(id)
        if not contours:
            return []
        if isinstance(contours, DataError):
            raise contours
        return contour_masks(contours, shape, str(self._contour_files[id][0]), self.overhang)


def _contours(paths: Sequence[Path]) -> tuple[Contour, ...] | DataError:
    try:
        return read_contours(_single(paths))
    except DataError as error:
        return error


def _single(paths: Sequence[Path]) -> Path:
    if len(paths) > 1:
        raise DataError(f"{paths[0]} and {paths[1]} annotate the same finding of one image; keep one of them.")
    return paths[0]


class MarkedFolder:
    """Writes images as PNG, with their masks, densities and boxes, to a folder."""

    def __init__(self, root: Path):
        self.root = root
        self._boxes: list[tuple[str, ...]] = []

    def add(self, sample: Sample, name: str) -> str:
        """Write a sample's image, its masks (their union over readers) and its densities.

        Returns the path of the image below root.
        """
        file = f"images/{name}.png"
        write_image(sample.image, self.root / file)
        for finding in sample.findings():
            annotations = [annotation for annotation in sample.annotations if annotation.finding == finding]
            _write_maps(annotations, name, self.root)
        self._boxes += [_box_row(annotation, file) for annotation in sample.annotations if annotation.kind == "box"]
        return file

    def close(self) -> None:
        """Write the table of boxes, if there are any."""
        if self._boxes:
            write_table(self.root / BOXES, ("file", "finding", *CORNERS), self._boxes, neutralised=True)


def _write_maps(annotations: Sequence[Annotation], name: str, root: Path) -> None:
    """Write the masks and the densities of one finding; a density is scaled to 16 bits by its largest value."""
    masks = [np.asarray(annotation.values) for annotation in annotations if annotation.kind == "mask"]
    densities = [np.asarray(annotation.values) for annotation in annotations if annotation.kind == "density"]
    if masks:
        write_mask(np.maximum.reduce(masks), root / MASKS / annotations[0].finding / f"{name}.tif")
    if densities:
        mean = np.mean(densities, axis=0)
        scaled = np.rint(mean * (65535 / (mean.max() or 1.0)))
        write_image(scaled[None].astype(np.uint16), root / DENSITIES / annotations[0].finding / f"{name}.png")


def _box_row(annotation: Annotation, file: str) -> tuple[str, ...]:
    """Make a row of the table from a box."""
    corners = corners_of(annotation)
    if corners is None:
        return (file, annotation.finding, "", "", "", "")
    texts = (f"{value:.6f}".rstrip("0").rstrip(".") for value in corners)
    return (file, annotation.finding, *texts)
