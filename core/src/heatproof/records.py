"""What flows between datasets, models, explainers, metrics and the store: plain data only, arrays in numpy."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Label: TypeAlias = int | tuple[int, ...] | None
AnnotationKind = Literal["mask", "box", "density"]
Status = Literal["valid", "excluded", "invalid", "failed"]
UnitKind = Literal["predictions", "heatmaps", "scores", "execution"]
Level = Literal["exact", "approximate", "undefined"]


@dataclass(frozen=True)
class Geometry:
    """Where a grid lies on the image it was made from, so that a heatmap can be written back onto the original.

    ``affine`` is a (d + 1, d + 1) matrix; it maps the continuous index of the grid (pixel ``i`` spans ``[i, i + 1)``,
    rows first) to the continuous index of the native image.
    """

    affine: Array
    native: tuple[int, ...]
    source: str = ""
    spacing: tuple[float, ...] | None = None
    orientation: str = ""

    @classmethod
    def identity(cls, shape: tuple[int, ...], source: str = "") -> "Geometry":
        """The geometry of an image on its own grid."""
        return cls(np.eye(len(shape) + 1), tuple(shape), source)

    def through(self, affine: Array) -> "Geometry":
        """This geometry seen from a new grid, of which ``affine`` leads to the present one."""
        return replace(self, affine=self.affine @ affine)

    def to_native(self, points: Array) -> Array:
        """Continuous grid indices (n, d) as continuous native indices (n, d)."""
        points = np.asarray(points, dtype=np.float64)
        return points @ self.affine[:-1, :-1].T + self.affine[:-1, -1]


@dataclass(frozen=True)
class Annotation:
    """What one reader marked of one finding.

    ``values`` has the sample's spatial shape: the share of each pixel that is covered (mask, box), or a density.
    All zero means looked for and absent; a finding without any annotation was not examined.
    """

    finding: str
    values: Array
    kind: AnnotationKind = "mask"
    reader: str = ""
    source: str = ""


class SpatialExtra(ABC):
    """An extra that is no plain array and still moves with the image: a frozen dataclass of arrays and plain values."""

    @property
    @abstractmethod
    def space(self) -> tuple[int, ...]:
        """The spatial shape of the image that it belongs to."""

    @abstractmethod
    def on(self, edges: list[Array]) -> Self:
        """The same moved by area onto a grid; ``edges`` as for ``heatproof.imaging.area.coverage``."""


@dataclass(frozen=True)
class Sample:
    """One image with everything known about it.

    ``image`` is (c, *space): as decoded (unsigned integers) when a dataset loads it, float32 once a model prepared it.
    ``field`` is (*space) bool, true inside the field of view and outside padding. ``patient`` is
    the sample's own id where none is given. ``extras`` are for some models and metrics only. Spatial ones move with the
    image, by area: arrays whose last axes are ``space``, and a ``SpatialExtra`` of it. All else stays as it is, points
    in native indices as well.
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
        """The findings that were examined, in order of first mention."""
        return tuple(dict.fromkeys(annotation.finding for annotation in self.annotations))

    def mask(self, finding: str) -> Array | None:
        """The union over readers of a finding's annotations (*space), or None where it was not examined."""
        values = [annotation.values for annotation in self.annotations if annotation.finding == finding]
        if len(values) < 2:
            return values[0] if values else None
        union: Array = np.maximum.reduce(values)
        return union


@dataclass(frozen=True)
class Prediction:
    """What a model says of one sample: logits (class,), probabilities (class,), and the decision they lead to."""

    logits: Array
    classes: tuple[str, ...]
    probabilities: Array
    decision: int


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
    """One row of the results, from the metric to the table: what was measured of one case, or why it was not.

    ``notes`` are the heatmap's, as JSON. ``heatmap`` and ``row`` say where the heatmap lies: the array's path in the
    run's folder and its index there; None for a metric that needs none.
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


@dataclass(frozen=True)
class Explanation:
    """What an explainer returns when a tensor is not enough.

    ``values`` is a torch tensor (n, c or 1, *space). ``notes`` holds one number or word per sample and name; they go
    into the score rows. ``kept`` holds one array per sample and name, beside the heatmaps.
    """

    values: Any
    notes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    kept: Mapping[str, Any] = dataclasses.field(default_factory=dict)
