"""Diagnostics: what learning curves and data look like when something is wrong.

A flag is a sentence with the numbers that raised it; it changes nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from heatproof.dataset import Dataset
from heatproof.records import Array, Sample
from heatproof_objectives.objective import LOSS

EXPLOSION = 10.0
"""A training loss that is so many times its smallest value so far explodes."""
FALL = 0.02
"""A training loss that has fallen by less than this share in all stalls."""
RISE = 0.05
"""A validation loss that has risen by more than this share above its minimum shows overfitting."""
EPOCHS = 5
"""The fewest epochs after which a curve is judged."""
SCALE = 8.0
"""Images whose range is so many times larger or smaller than the median have another unit."""
LARGEST = 50.0
"""Prepared images whose median largest absolute value is above this were not scaled for a network."""
ALIGNED = 8
"""The fewest annotated samples by which the alignment of a finding is judged."""
BETTER = 1.1
"""How much better than as it lies a turned mask must fit its images."""


@dataclass(frozen=True)
class Flag:
    """A warning: its name and a sentence."""

    name: str
    text: str


def curve_flags(history: Sequence[Mapping[str, Any]]) -> list[Flag]:
    """Return the flags of learning curves: explosion, stall and overfitting."""
    train = [row["train"][LOSS] for row in history]
    validation = [row["validation"][LOSS] for row in history if LOSS in row.get("validation", {})]
    return [*_explosion(train), *_stall(train), *_overfit(train, validation)]


def _explosion(train: Sequence[float]) -> Iterator[Flag]:
    for epoch in range(1, len(train)):
        smallest = min(train[:epoch])
        if smallest > 0 and train[epoch] > EXPLOSION * smallest:
            yield Flag(
                "explosion",
                f"the training loss rises to {train[epoch]:.4g} in epoch {epoch + 1}, {train[epoch] / smallest:.0f} "
                f"times its smallest value before ({smallest:.4g}); lower optimiser.lr, or set clip.",
            )
            return


def _stall(train: Sequence[float]) -> Iterator[Flag]:
    if len(train) < EPOCHS:
        return
    lowest = min(train[1:])
    if lowest > train[0] - FALL * abs(train[0]):
        yield Flag(
            "stall",
            f"the training loss does not fall: {train[0]:.4g} in the first epoch, {lowest:.4g} at best in the "
            f"{len(train) - 1} after it; check the labels, raise optimiser.lr, or unfreeze layers.",
        )


def _overfit(train: Sequence[float], validation: Sequence[float]) -> Iterator[Flag]:
    if len(validation) != len(train):
        return
    best = int(np.argmin(validation))
    later = len(train) - 1 - best
    rise = validation[-1] - validation[best]
    # Small next to the first loss, a rise is noise.
    if later >= EPOCHS and rise > RISE * validation[best] and rise > 0.01 * validation[0] and train[-1] < train[best]:
        yield Flag(
            "overfit",
            f"the validation loss is lowest in epoch {best + 1} ({validation[best]:.4g}) and {validation[-1]:.4g} at "
            f"the end, while the training loss falls from {train[best]:.4g} to {train[-1]:.4g}: the network learns "
            "its training images by heart; use more data, augment, weight_decay or patience.",
        )


@dataclass(frozen=True)
class Facts:
    """What the checks of data need of a sample: its range, its spread, and how well each mask fits as it is turned."""

    id: str
    low: float
    high: float
    fits: Mapping[str, Array]


def facts_of(sample: Sample) -> Facts:
    """Measure a prepared sample."""
    inside = sample.image if sample.field is None or not sample.field.any() else sample.image[:, sample.field]
    return Facts(sample.id, float(inside.min()), float(inside.max()), fits_of(sample))


def source_flags(dataset: Dataset) -> list[Flag]:
    """Return a flag for each kind of faulty or unread file of a dataset, none of which becomes a sample."""
    rejected = [Flag("rejected", f"rejected: {tally.sentence(dataset.short)}.") for tally in dataset.rejected()]
    return [*rejected, *(Flag("unread", f"{tally.sentence(dataset.short)}.") for tally in dataset.passed_over())]


def data_flags(facts: Sequence[Facts]) -> list[Flag]:
    """Return the flags of prepared samples: another unit in some of them, and masks that do not lie on their images."""
    return [*_units(facts), *_alignment(facts)]


def _units(facts: Sequence[Facts]) -> Iterator[Flag]:
    ranges = np.array([fact.high - fact.low for fact in facts])
    largest = float(np.median([max(abs(fact.low), abs(fact.high)) for fact in facts]))
    if largest > LARGEST:
        yield Flag(
            "unit",
            f"prepared images reach ±{largest:.4g} (median); networks are trained on values near 0 to 1: check the "
            "window of the dataset and the preparation of the model.",
        )
    middle = float(np.median(ranges))
    strange = [fact.id for fact, size in zip(facts, ranges) if size > SCALE * middle or 0 < size < middle / SCALE]
    if middle > 0 and strange:
        yield Flag(
            "unit",
            f"{len(strange)} of {len(facts)} prepared images have a range more than {SCALE:g} times larger or smaller "
            f"than the others ({middle:.4g}, median), such as {strange[0]}: they may have another unit or window.",
        )


TURNS: Mapping[str, tuple[tuple[int, ...], int]] = {
    "as it lies": ((), 0), "mirrored horizontally": ((-1,), 0), "mirrored vertically": ((-2,), 0),
    "turned by 180°": ((-2, -1), 0), "turned by 90°": ((), 1), "turned by 270°": ((), 3),
    "exchanging rows and columns": ((-2,), 3), "mirrored along the other diagonal": ((-2,), 1),
}  # fmt: skip
"""The ways to lay a mask on its image, in words: axes that are mirrored, then quarter turns."""


def fits_of(sample: Sample) -> dict[str, Array]:
    """Return per finding how well the mask fits the image in each of ``TURNS`` (turn,); NaN where it cannot.

    A mask fits where its outline lies on edges of the image: the mean of the image's gradient along the outline,
    relative to the mean gradient of the image. Boxes and maps of gaze have no outline in the image and are left out.
    """
    masks = {entry.finding for entry in sample.annotations if entry.kind == "mask"}
    if len(sample.space) != 2 or not masks:
        return {}
    edges = _edges(sample.image.mean(0))
    fits = {}
    for finding in sorted(masks):
        mask = sample.mask(finding)
        assert mask is not None
        if mask.any() and not mask.all():
            fits[finding] = np.array([_fit(edges, mask, *turn) for turn in TURNS.values()])
    return fits


def _fit(edges: Array, mask: Array, axes: tuple[int, ...], turns: int) -> float:
    laid = np.rot90(np.flip(mask, axes), turns, (-2, -1))
    if laid.shape != edges.shape:
        return float("nan")
    outline = _edges(laid)
    return float((edges * outline).sum() / max(float(outline.sum()) * float(edges.mean()), 1e-12))


def _edges(values: Array) -> Array:
    """The length of the gradient (h, w)."""
    rows, columns = np.gradient(values.astype(np.float64))
    return np.asarray(np.hypot(rows, columns))


def _alignment(facts: Sequence[Facts]) -> Iterator[Flag]:
    """A finding whose masks fit better when they are all turned in one way."""
    findings = sorted({finding for fact in facts for finding in fact.fits})
    for finding in findings:
        fits = np.stack([fact.fits[finding] for fact in facts if finding in fact.fits])
        if len(fits) < ALIGNED:
            continue
        fits = np.where(np.isnan(fits), -np.inf, fits)
        wins = (fits[:, 1:] > BETTER * fits[:, :1]).mean(axis=0)
        turn = 1 + int(np.argmax(wins))
        if wins[turn - 1] > 0.75:
            yield Flag(
                "alignment",
                f"the masks of {finding} fit the edges of their images better {list(TURNS)[turn]} than as they lie, in "
                f"{wins[turn - 1]:.0%} of {len(fits)} samples: they may have been drawn on turned images.",
            )
