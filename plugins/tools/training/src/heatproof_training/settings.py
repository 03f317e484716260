"""The settings of a training, validated like those of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from heatproof.component import Location, Params, Seed, plain
from heatproof.config import reading
from heatproof.config.entries import Count, DatasetEntry, Device, entry_of, not_boolean
from heatproof.errors import HeatproofError
from heatproof.metric import Metric
from heatproof.model import Model
from heatproof_objectives.objective import LOSS, Objective

from .augmentation import AugmentationSettings
from .patches import PatchSettings
from .schedules import ScheduleSettings

Number = Annotated[float, Field(gt=0, le=1e6), BeforeValidator(not_boolean)]
Share = Annotated[float, Field(ge=0, lt=1), BeforeValidator(not_boolean)]
PREDICTIVE = frozenset({"prediction", "label"})
"""What a metric may need here: nothing explains the network while it is trained."""


def _predictive(metric: Metric) -> Metric:
    """Refuse a metric of heatmaps."""
    if not metric.needs <= PREDICTIVE:
        raise ValueError(f"{metric.short} needs heatmaps; name metrics of predictions, such as grading")
    return metric


class SplitSettings(Params):
    """How the samples are divided; a patient is never in two parts.

    By shares: ``validation`` and ``test`` are shares of the patients, drawn by the seed so that every class has about
    the same share in each part; the rest is for training. By names: ``train``, ``validation`` and ``test`` name splits
    of the dataset. By ``folds``: every patient is in the test part of one fold, and ``validation`` is the share of the
    other patients on which the epoch is selected.
    """

    train: str | None = None
    validation: Share | str = 0.2
    test: Share | str = 0.0
    folds: Annotated[int, Field(ge=2, le=1000), BeforeValidator(not_boolean)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [name for name in ("validation", "test") if isinstance(getattr(self, name), str)]
        if self.train is None and names:
            raise ValueError(f"{names[0]} names a split of the dataset, so train must name one too")
        if self.train is not None and self.folds:
            raise ValueError("give folds, or the names of splits of the dataset, not both")
        if self.train is None and self.folds is None and float(self.validation) + float(self.test) >= 1:
            raise ValueError("the shares of validation and test leave no sample for training; lower them")
        if self.folds and self.test:
            raise ValueError("with folds every sample is tested once; leave out test")
        return self


class OptimiserSettings(Params):
    """The optimiser, with its learning rate ``lr`` and ``weight_decay``; ``momentum`` and ``nesterov`` are of SGD."""

    use: Literal["adam", "adamw", "sgd"] = "adam"
    lr: Number = 1e-4
    weight_decay: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    momentum: Share = 0.9
    nesterov: bool = True

    @model_validator(mode="after")
    def _of_sgd(self) -> Self:
        strangers = {"momentum", "nesterov"} & self.model_fields_set
        if strangers and self.use != "sgd":
            raise ValueError(f"{min(strangers)} is a setting of sgd; leave it out for {self.use}")
        if self.use == "sgd" and self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class ClipSettings(Params):
    """The largest gradient of each weight (``value``), or the largest norm of all gradients together (``norm``)."""

    value: Number | None = None
    norm: Number | None = None

    @model_validator(mode="after")
    def _single(self) -> Self:
        if (self.value is None) == (self.norm is None):
            raise ValueError("give value or norm")
        return self


class TrainingConfig(Params):
    """All settings of a training.

    ``start: random`` draws all weights anew by the seed; ``model`` begins with those that the model has. ``freeze``
    names modules of the network whose weights and running statistics stay as they are. ``select``
    names the number by which the best epoch is selected: ``loss``, or a measure of ``metrics``, such as ``kappa``.
    ``select_on: test`` selects on the test part, as some published code does: its results are too good, so everything
    written is marked; ``last`` selects the last epoch. ``patience``: stop after so many epochs without a better one.
    ``balance: classes`` draws every class equally often. ``labels: annotations`` takes the findings that an image's
    annotations show as its classes. ``patches`` trains on windows of the images. ``memory``: the gigabytes of prepared
    samples that stay in memory. ``stored``: the precision of the checkpoint. ``save_every``: minutes between states in
    mid-epoch.
    """

    output: Location
    data: DatasetEntry
    split: SplitSettings = SplitSettings()
    labels: Literal["dataset", "annotations"] = "dataset"
    patches: PatchSettings | None = None
    model: Model
    start: Literal["model", "random"] = "model"
    freeze: tuple[str, ...] = ()
    objective: Objective
    optimiser: OptimiserSettings = OptimiserSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    epochs: Count = 30
    batch: Count = 16
    clip: ClipSettings | None = None
    balance: Literal["none", "classes"] = "none"
    augment: AugmentationSettings = AugmentationSettings()
    metrics: tuple[Annotated[Metric, AfterValidator(_predictive)], ...] = ()
    select: str = LOSS
    select_on: Literal["validation", "test", "last"] = "validation"
    patience: Count | None = None
    seed: Annotated[Seed, BeforeValidator(not_boolean)] = 0
    device: Device = "auto"
    precision: Literal["float32", "float64", "bfloat16", "float16"] = "float32"
    channels_last: bool = False
    threads: Annotated[Count, Field(le=1024)] | None = None
    cache: Location | bool = True
    memory: Annotated[float, Field(ge=0, le=1e6), BeforeValidator(not_boolean)] = 2.0
    stored: Literal["full", "float16"] = "full"
    save_every: Number = 10.0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.select_on == "validation" and not self.split.validation:
            raise ValueError("there is no validation part to select on; give split.validation, or select_on: last")
        if self.select_on == "test" and not (self.split.test or self.split.folds):
            raise ValueError("there is no test part to select on; give split.test, or select_on: validation")
        if self.freeze and self.start == "random":
            raise ValueError("freeze keeps weights, and start: random draws them anew; leave out one of them")
        if self.labels == "annotations" and not self.objective.labelled:
            raise ValueError(f"{self.objective.short} uses no labels; leave out labels: annotations")
        if self.split.train is not None:
            self._require_splits()
        return self

    def _require_splits(self) -> None:
        if self.data.split is not None:
            raise ValueError("data.split selects one split, but split names several; leave out one of them")
        for name in filter(None, (self.split.train, self.split.validation, self.split.test)):
            try:
                self.data.component.require_split(str(name))
            except HeatproofError as error:
                raise ValueError(f"split: {error}") from None

    def described(self) -> dict[str, Any]:
        """Return the config as plain data with absolute paths and all defaults."""
        settings: dict[str, Any] = plain(self)
        settings |= {name: entry_of(getattr(self, name)) for name in ("model", "objective")}
        return settings | {
            "data": self.data.describe(), "metrics": [entry_of(metric) for metric in self.metrics],
        }  # fmt: skip


def load(path: Path, catalog: Any, overrides: Sequence[str] = ()) -> TrainingConfig:
    """Read the config of a training; raises ``ConfigError`` with all mistakes, each with file and line."""
    return reading.load(path, TrainingConfig, catalog, overrides, "data, model and objective")
