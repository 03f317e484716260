"""Boxes of findings on the radiographs of NIH ChestX-ray14, drawn for NIH or for RSNA."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

from heatproof.dataset import Tally
from heatproof.errors import DataError
from heatproof.imaging.turning import require_known
from heatproof.records import Annotation, Geometry, Sample
from heatproof_cohorts.manifest import ListedDataset, Listing, require_new
from heatproof_cohorts.partition import SPLITS

from .nih import Nih
from .rsna import Rsna
from .source import NihBoxesParams, Source

SOURCES: Mapping[str, type[Source]] = {"nih": Nih, "rsna": Rsna}


class NihBoxes(ListedDataset[NihBoxesParams]):
    """Radiographs of NIH ChestX-ray14 with boxes: 984 of eight findings (``nih``), 9,555 of opacities (``rsna``).

    NIH: Wang et al. 2017, "ChestX-ray8: hospital-scale chest X-ray database and benchmarks on weakly-supervised
    classification and localization of common thorax diseases", CVPR, doi:10.1109/CVPR.2017.369. A radiologist drew
    boxes on 880 of 112,120 PNG images; labels are those of text mining. A finding without a box was examined by nobody.
    RSNA: Shih et al. 2019, "Augmenting the National Institutes of Health chest radiograph dataset with expert
    annotations of possible pneumonia", Radiology: Artificial Intelligence 1(1):e180041, doi:10.1148/ryai.2019180041.
    DICOM images of which 6,012 of 26,684 have boxes; on the others the readers saw no opacity, so ``pneumonia`` is
    absent. Each ``patientId`` of RSNA names an image; its patient is known where RSNA's mapping to NIH lies beside the
    table. Both sources show the same images, so do not tune on one and test on the other.

    The layout of both is that of public loaders, the header and rows of NIH's table of boxes that of its public copies;
    no published image was read.
    """

    splits = SPLITS
    citation = (
        "Wang et al. 2017, CVPR, doi:10.1109/CVPR.2017.369; Shih et al. 2019, Radiology: Artificial Intelligence "
        "1(1):e180041, doi:10.1148/ryai.2019180041"
    )
    licence = "NIH: no restriction, with credit to the NIH Clinical Center; RSNA: the rules of the competition"

    @cached_property
    def source(self) -> Source:
        """The tables of the source."""
        return SOURCES[self.params.source](self.params)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the source."""
        return self.source.classes

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings that have boxes."""
        return self.source.findings

    @property
    def tuning(self) -> str:
        """The training images of the published division, which has no tuning images."""
        if self.params.division == "published":
            return "train"
        return "tuning"

    @property
    def obtain(self) -> str:
        """Where the source publishes its images."""
        return self.source.obtain

    @property
    def published(self) -> Mapping[str, int]:
        """The counts of the source."""
        published = {"samples": self.source.published[self.params.images]}
        if self.params.images == "all":
            published |= self.source.published_of_all
        return published

    def listed(self) -> Listing:
        """Read the tables of the source; raises ``DataError`` where one is missing or lacks a column."""
        return self.source.listing()

    def annotations(self, id: str, geometry: Geometry) -> tuple[Annotation, ...]:
        """The boxes of an image; raises ``DataError`` for one that does not fit, and for an image of another size."""
        require_known("the table of boxes", geometry)
        if geometry.native != self.params.size:
            raise DataError(
                f"{geometry.source} has {geometry.native} pixels, but boxes were drawn on images of "
                f"{self.params.size}; replace it by the published image, or set size if the boxes were scaled, too."
            )
        return tuple(self.source.annotations(id, geometry.native))

    def check(self) -> list[Tally]:
        """Count as other listed datasets do, and the boxes, of which some may have been clipped."""
        tallies = super().check()
        listed = self.listing.entries
        count = sum(len(boxes) for id, boxes in self.source.boxes.items() if id in listed)
        tallies.append(Tally("boxes", count, self.source.published["boxes"]))
        clipped = self.source.overhang.clipped
        if clipped:
            tallies.append(Tally("boxes clipped", len(clipped), None, next(iter(clipped.values()))))
        return tallies

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write labelled samples in the layout of the source under an empty folder; return their number.

        The box round each annotation of a known finding is written. NIH's lists hold the split ``test``, and all others
        together. RSNA's label is whether the sample has a box.
        """
        require_new(root)
        return self.source.write(self, samples, root)
