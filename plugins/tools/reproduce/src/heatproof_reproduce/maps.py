"""The images, annotations and heatmaps of a run's cases, for the panels of figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from heatproof.records import Array, Sample
from heatproof.results.case_samples import Unit, class_names, prediction_units, predictions, prepared_sample
from heatproof.results.finished import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEAT = "magma"
SHARE = 99.5
"""The percentile of a heatmap at which its colour scale ends."""


@dataclass(frozen=True)
class Maps:
    """The cases of one model and explainer; ``rows``: case → its row of scores, with the place of its heatmap."""

    results: Results
    rows: Mapping[str, Mapping[str, Any]]
    units: Sequence[Unit]

    @property
    def predictions(self) -> dict[str, Mapping[str, Any]]:
        """Case → the stored prediction."""
        return predictions(self.results, self.units, list(self.rows))

    def names(self, case: str) -> dict[str, str]:
        """The names of a case's ``label`` and ``predicted`` class."""
        return class_names(self.predictions.get(case), self.units[0]["classes"])

    def heatmap(self, case: str) -> Array:
        """Read the heatmap (*space) of a case."""
        row = self.rows[case]
        values: Array = self.results.run.maps(PurePosixPath(row["heatmap"]).parts[1], int(row["row"]))
        return values

    def sample(self, case: str) -> Sample:
        """Load the prepared sample of a case."""
        return prepared_sample(self.results, self.units, case).sample


def maps_of(results: Results, model: str, explainer: str) -> Maps:
    """Collect the heatmaps of a model by an explainer, both given by their names in the tables."""
    rows = results.query(
        'select distinct on ("case") "case", combination, metric, heatmap, row from scores '
        "where model = ? and explainer = ? and heatmap is not null order by all",
        model,
        explainer,
    )
    if not rows:
        return Maps(results, {}, ())
    settings = results.described[rows[0]["combination"], rows[0]["metric"]]["settings"]
    units = prediction_units(results, settings, {PurePosixPath(row["heatmap"]).parts[1] for row in rows})
    return Maps(results, {row["case"]: row for row in rows}, units)


def grey(image: Array) -> Array:
    """The mean of the channels of an image (c, h, w), stretched to the range from 0 to 1."""
    values = np.asarray(image, dtype=np.float64).mean(0)
    spread = values.max() - values.min()
    stretched: Array = (values - values.min()) / (spread or 1)
    return stretched


def show_image(axes: "Axes", image: Array) -> None:
    """Draw an image (c, h, w) in grey."""
    axes.set_axis_off()
    axes.imshow(grey(image), cmap="gray", vmin=0, vmax=1, interpolation="none")


def show_heat(axes: "Axes", values: Array, image: Array | None = None) -> None:
    """Draw the positive part of a heatmap (h, w), over an image (c, h, w) if there is one."""
    axes.set_axis_off()
    positive = np.maximum(np.nan_to_num(values), 0)
    top = float(np.percentile(positive, SHARE)) or float(positive.max()) or 1.0
    if image is None:
        axes.imshow(positive, cmap=HEAT, vmin=0, vmax=top, interpolation="none")
        return
    show_image(axes, image)
    opacity = 0.75 * np.sqrt(np.clip(positive / top, 0, 1))
    axes.imshow(positive, cmap=HEAT, vmin=0, vmax=top, alpha=opacity, interpolation="none")
