"""The two sources of boxes behind one dataset: what each of them provides."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from heatproof.component import Seed
from heatproof.imaging.outlines import Overhang
from heatproof.records import Annotation, Sample
from heatproof_cohorts.boxes import box_annotation, corners_of
from heatproof_cohorts.manifest import ListedDataset, ListedParams, Listing
from heatproof_cohorts.partition import Shares
from heatproof_cohorts.tables import Row, number

EDGES = ("x", "y", "width", "height")
Side = Annotated[int, Field(ge=1, le=100_000)]


class NihBoxesParams(ListedParams):
    """The source, its images to use, the size of the images on which boxes were drawn, and the division of patients.

    ``images: all`` adds the images without a box. Images of another ``size`` (h, w) are refused, since boxes do not say
    that an image was resized. Boxes may leave the image by ``overhang`` pixels; what they lose is counted.
    ``division: published`` is that of the lists of NIH; RSNA has none.
    """

    source: Literal["nih", "rsna"] = "nih"
    images: Literal["boxed", "all"] = "boxed"
    size: tuple[Side, Side] = (1024, 1024)
    overhang: float = Field(default=0.5, ge=0, le=10_000)
    division: Literal["published", "shares"] = "shares"
    shares: Shares = Shares(train=0, tuning=0.2, test=0.8)
    seed: Seed = 0

    @model_validator(mode="after")
    def _rsna_divides_none(self) -> Self:
        if self.source == "rsna" and self.division == "published":
            raise ValueError("RSNA published the boxes of one set only; set division to shares")
        return self


@dataclass(frozen=True)
class Box:
    """The box of a finding: the texts of its left and upper edge, width and height in pixels, and the source."""

    finding: str
    edges: tuple[str, ...]
    source: str

    @classmethod
    def of(cls, finding: str, row: Row, names: Sequence[str]) -> "Box":
        """The box in a row; ``names`` are the columns of its edges."""
        return cls(finding, tuple(row[name] for name in names), row.source)

    def annotation(self, shape: tuple[int, ...], overhang: Overhang) -> Annotation:
        """The covered share of each pixel (h, w); raises ``DataError`` for a box that is empty or leaves the image."""
        left, top, width, height = (number(text, self.source, name) for text, name in zip(self.edges, EDGES))
        return box_annotation(self.finding, (left, top, left + width, top + height), shape, overhang, self.source)


class Source(ABC):
    """One of the publications: its tables below ``params.root``, and how to write them."""

    classes: ClassVar[tuple[str, ...]]
    findings: ClassVar[tuple[str, ...]]
    synonyms: ClassVar[Mapping[str, str]]
    """Findings of other datasets that are written as one of these."""
    published: ClassVar[Mapping[str, int]]
    """The number of boxes, and of images by the setting ``images``."""
    obtain: ClassVar[str]

    def __init__(self, params: NihBoxesParams):
        self.params = params
        self.overhang = Overhang(params.overhang)

    @cached_property
    @abstractmethod
    def boxes(self) -> Mapping[str, Sequence[Box]]:
        """Image → its boxes, without repeated ones."""
        raise NotImplementedError

    @abstractmethod
    def listing(self) -> Listing:
        """Read the tables; raises ``DataError`` where one is missing or lacks a column."""
        raise NotImplementedError

    @abstractmethod
    def annotations(self, id: str, shape: tuple[int, ...]) -> Iterator[Annotation]:
        """The annotations of an image (h, w)."""
        raise NotImplementedError

    @abstractmethod
    def write(self, dataset: ListedDataset[Any], samples: Iterable[Sample], root: Path) -> int:
        """Write samples in the layout of this source under an empty folder; return their number."""
        raise NotImplementedError

    @property
    def published_of_all(self) -> Mapping[str, int]:
        """Further counts that were published for all images together."""
        return {}

    def takes(self, id: str) -> bool:
        """Whether the settings select an image."""
        return self.params.images == "all" or id in self.boxes

    def boxes_to_write(self, sample: Sample) -> Iterator[tuple[str, float, float, float, float]]:
        """Finding, left and upper edge, width and height of the box round each annotation of a known finding."""
        for annotation in sample.annotations:
            finding = self.synonyms.get(annotation.finding, annotation.finding)
            corners = corners_of(annotation)
            if finding in self.findings and annotation.kind != "density" and corners:
                left, top, right, bottom = corners
                yield finding, left, top, right - left, bottom - top


def distinct(boxes: Iterable[tuple[str, Box]]) -> tuple[dict[str, list[Box]], list[str]]:
    """Collect boxes by image; return them without repeated ones, and a sentence for each that is repeated."""
    collected: dict[str, dict[tuple[str, ...], Box]] = {}
    repeated = []
    for id, box in boxes:
        known = collected.setdefault(id, {})
        first = known.setdefault((box.finding, *box.edges), box)
        if first is not box:
            repeated.append(f"{first.source} and {box.source}")
    return {id: list(known.values()) for id, known in collected.items()}, repeated
