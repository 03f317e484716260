"""Plain data passed between datasets, models, explainers, metrics and the store; arrays are numpy's."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Literal, Self, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from .errors import DataError

Array: TypeAlias = NDArray[Any]
Label: TypeAlias = int | tuple[int, ...] | None
Attribute: TypeAlias = str | int | float
"""What a column of a dataset's table says of a sample, such as its patient's age."""
AnnotationKind = Literal["mask", "box", "density"]
Status = Literal["valid", "excluded", "invalid", "failed"]
UnitKind = Literal["predictions", "heatmaps", "scores", "execution"]
Value = TypeVar("Value")
Level = Literal["exact", "approximate", "undefined"]
Head = Literal["softmax", "sigmoid", "ordinal", "regression"]
"""How the logits of a model become probabilities and a decision."""


@dataclass(frozen=True)
class Geometry:
    """Where a grid lies on its native image; it places a heatmap on the original image.

    ``affine`` is a (d + 1, d + 1) matrix; it maps the continuous index of the grid (pixel ``i`` spans ``[i, i + 1)``,
    rows first) to the continuous index of the native image. ``exif`` is the orientation of the file's EXIF data, by
    which the stored pixels were turned to the native image; 1 for none.
    """

    affine: Array
    native: tuple[int, ...]
    source: str = ""
    spacing: tuple[float, ...] | None = None
    orientation: str = ""
    exif: int = 1

    @classmethod
    def identity(cls, shape: tuple[int, ...], source: str = "") -> "Geometry":
        """The geometry of an image on its own grid."""
        return cls(np.eye(len(shape) + 1), tuple(shape), source)

    def through(self, affine: Array) -> "Geometry":
        """The geometry of a new grid; ``affine`` maps indices of the new grid to indices of this one."""
        return replace(self, affine=self.affine @ affine)

    def to_native(self, points: Array) -> Array:
        """Continuous grid indices (n, d) as continuous native indices (n, d)."""
        points = np.asarray(points, dtype=np.float64)
        return points @ self.affine[:-1, :-1].T + self.affine[:-1, -1]


@dataclass(frozen=True)
class Annotation:
    """What one reader marked of one finding.

    ``values`` has the sample's spatial shape: the covered share of each pixel (mask, box), or a density. All zero means
    that the reader examined the image and did not see the finding; no annotation means that nobody examined it.
    """

    finding: str
    values: Array
    kind: AnnotationKind = "mask"
    reader: str = ""
    source: str = ""


class SpatialExtra(ABC):
    """An extra that moves with the image but is not a plain array: a frozen dataclass of arrays and plain values."""

    @property
    @abstractmethod
    def space(self) -> tuple[int, ...]:
        """The spatial shape of its image."""

    @abstractmethod
    def on(self, edges: list[Array]) -> Self:
        """The extra moved by area onto a grid; ``edges`` as for ``heatproof.imaging.area.coverage``."""

    def turned(self, axes: tuple[int, ...], turns: int) -> Self:
        """The extra mirrored along axes, counted from the last, then turned as ``np.rot90`` does in the last two.

        Override it where extras shall survive augmentation; raises ``DataError`` by default.
        """
        raise DataError(
            f"a {type(self).__name__} cannot be mirrored or turned; leave out flips and quarter turns, or implement "
            "turned(axes, turns) in its class."
        )


@dataclass(frozen=True)
class Sample:
    """One image with everything known about it.

    ``image`` is (c, *space): unsigned integers, or floats from 0 to 1, as decoded by a dataset; float32 after a model's
    preparation. ``field``
    is (*space) bool: true inside the field of view, false in padding. ``patient`` is the sample's id by default.
    ``extras`` are for some models and metrics. Preparations move spatial extras with the image, by area: arrays with
    ``space`` as last axes, and each ``SpatialExtra`` of that space. Other extras, also points in native indices, stay
    unchanged.
    """

    id: str
    image: Array
    annotations: tuple[Annotation, ...] = ()
    label: Label = None
    patient: str = ""
    geometry: Geometry | None = None
    field: Array | None = None
    extras: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "patient", self.patient or self.id)

    @property
    def space(self) -> tuple[int, ...]:
        """The spatial shape."""
        return tuple(self.image.shape[1:])

    def findings(self) -> tuple[str, ...]:
        """The examined findings, in order of their first annotation."""
        return tuple(dict.fromkeys(annotation.finding for annotation in self.annotations))

    def mask(self, finding: str) -> Array | None:
        """The union over readers of a finding's annotations (*space), or None for a finding that nobody examined."""
        values = [annotation.values for annotation in self.annotations if annotation.finding == finding]
        if not values:
            return None
        return reduce(np.maximum, values)


@dataclass(frozen=True)
class Prediction:
    """A model's output for one sample: logits (class,), probabilities (class,), and the decided class as an index.

    ``head`` is how the probabilities follow from the logits; None if the model reads its outputs in a way of its own.
    Of logits per pixel, ``logits`` are their sums over a region, which are no probabilities (NaN) and decide on no
    class (-1).
    """

    logits: Array
    classes: tuple[str, ...]
    probabilities: Array
    decision: int
    head: Head | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether an explainer's definition holds on a model: exact, approximate or undefined, and why."""

    level: Level
    reason: str = ""


@dataclass(frozen=True)
class Heatmap:
    """One explanation of one sample: values (*space) float32, signed and raw (never scaled)."""

    values: Array


Measurement: TypeAlias = Mapping[str, float | Array]


@dataclass(frozen=True)
class Score:
    """One row of the results: a measured value of one case, or the reason why there is none.

    ``notes`` are the heatmap's notes as JSON. ``heatmap`` is the path of an array in the run's folder and ``row`` the
    index of the heatmap in it; both are None for a metric that needs no heatmap.
    """

    case: str
    patient: str
    measure: str = ""
    value: float | None = None
    status: Status = "valid"
    reason: str = ""
    array: list[float] | None = None
    notes: str = "{}"
    heatmap: str | None = None
    row: int | None = None


def read_only(value: Value) -> Value:
    """A copy of nested records, mappings and sequences, whose arrays share the memory but cannot be written to."""
    copy: Any = value
    if isinstance(value, np.ndarray):
        copy = value.view()
        copy.setflags(write=False)
    elif type(value) in (list, tuple):
        copy = (list, tuple)[isinstance(value, tuple)](map(read_only, copy))
    elif isinstance(value, Mapping):
        copy = {name: read_only(entry) for name, entry in value.items()}
    elif isinstance(value, (Sample, Annotation, Geometry, SpatialExtra, Prediction, Heatmap)):
        copy = replace(copy, **{field.name: read_only(getattr(copy, field.name)) for field in dataclasses.fields(copy)})
    return cast(Value, copy)


@dataclass(frozen=True)
class Explanation:
    """An explainer's result with further data.

    ``values`` is a torch tensor (n, c or 1, *space). ``notes`` holds one number or word per sample by name, copied to
    the rows of the scores. ``kept`` holds one array per sample by name, stored beside the heatmaps.
    """

    values: Any
    notes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    kept: Mapping[str, Any] = dataclasses.field(default_factory=dict)
