"""A plugin of small parts for the tests of the engine: they note their calls, and fail on request."""

import json
import os
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.component import Location, Params
from heatproof.dataset import Dataset
from heatproof.errors import DataError, ModelError
from heatproof.explainer import Explainer
from heatproof.hooks import hookimpl
from heatproof.imaging.images import read_image, read_mask
from heatproof.metric import Case, Metric, Undefined
from heatproof.model import Model
from heatproof.passes import gradients
from heatproof.records import Annotation, Explanation, Sample
from heatproof.testing.toys import GRID, Blobs, BlobsParams, Blocks, Linear, Regions, Residual, ToyParams, drawn

NOTES = "HEATPROOF_PARTS_NOTES"
"""The environment variable that names the file of calls, one JSON list per line, shared by all processes."""


def note(*values: Any) -> None:
    """Append a call to the file of calls."""
    if NOTES in os.environ:
        with open(os.environ[NOTES], "a", encoding="utf-8") as stream:
            stream.write(json.dumps(values) + "\n")


class ImagesParams(BlobsParams):
    """Blobs, some of which cannot be read, have an odd label, show no finding, or were examined for none."""

    unreadable: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    unexamined: tuple[str, ...] = ()
    labels: Mapping[str, int | tuple[int, ...] | None] = {}
    root: Location | None = None


class Images(Blobs[ImagesParams]):
    """Blobs that note when they are loaded, with an eye and, but for the first, the age of a patient."""

    attributes = ("eye", "age")

    def attributes_of(self, id: str) -> Mapping[str, str | int]:
        """The side by the number of the image, and an age that only it has."""
        number = int(id.removeprefix("blob-"))
        return {"eye": ("left", "right")[number % 2], **({"age": 30 + number} if number else {})}

    def load(self, id: str) -> Sample:
        """Load the image, or fail if it is listed as unreadable."""
        note("load", id)
        if id in self.params.unreadable:
            raise DataError(f"{id} is truncated; download it again.")
        sample = super().load(id)
        label = self.params.labels.get(id, sample.label)
        if isinstance(label, int):
            label = np.int64(label)  # as datasets that read labels from tables do
        annotations = sample.annotations
        if id in self.params.absent:
            annotations = tuple(replace(entry, values=np.zeros_like(entry.values)) for entry in annotations)
        if id in self.params.unexamined:
            annotations = ()
        return Sample(**{**vars(sample), "label": label, "annotations": annotations})


class ReadTwice(Images):
    """Blobs that a second reader drew two pixels lower."""

    readers = ("first", "second")

    def load(self, id: str) -> Sample:
        """Load the image with the annotations of both readers."""
        sample = super().load(id)
        first = [replace(annotation, reader="first") for annotation in sample.annotations]
        second = [
            replace(annotation, values=np.roll(annotation.values, 2, axis=0), reader="second")
            for annotation in sample.annotations
        ]
        return replace(sample, annotations=(*first, *second))


class ScansParams(Params):
    """The folder, the suffix of all files, and whether the dataset says which files a sample has."""

    root: Location
    suffix: str = ".tif"
    tells: bool = True


class Scans(Dataset[ScansParams]):
    """Grey images in ``images``, with a mask ``left`` each in ``masks``; the ids before ``c`` are for tuning."""

    classes = ("left", "right")
    findings = ("left",)
    splits = ("tuning", "test")
    tuning = "tuning"

    def ids(self, split: str | None = None) -> list[str]:
        """The names of the images."""
        names = sorted(path.name for path in (self.params.root / "images").iterdir())
        ids = [name.removesuffix(self.params.suffix) for name in names]
        return [id for id in ids if split in (None, self.splits[id >= "c"])]

    def files_of(self, id: str) -> list[Path] | None:
        """The image and the mask, if the settings let it tell."""
        return self._paths(id) if self.params.tells else None

    def _paths(self, id: str) -> list[Path]:
        return [self.params.root / folder / f"{id}{self.params.suffix}" for folder in ("images", "masks")]

    def load(self, id: str) -> Sample:
        """Load the image, as three channels, and the mask."""
        note("load", id)
        image, mask = self._paths(id)
        values, geometry = read_image(image)
        annotation = Annotation("left", read_mask(mask), source=str(mask))
        return Sample(id, np.repeat(values[:1], 3, axis=0), (annotation,), 0, id, geometry)


class Swapped(Regions):
    """The same network with its logits and their names in reverse order."""

    classes = ("right", "left")

    def build(self) -> nn.Module:
        """The network with the rows of its last layer exchanged."""
        network: Any = super().build()
        network[-1].weight.data = network[-1].weight.data.flip(0)
        return network


class Elsewhere(Regions):
    """The same network with a preparation of another name."""

    class Other(Blocks):
        """Blocks with an identity of their own."""

    preparation = Other()


class Native(Regions):
    """A faulty model whose images do not all have the same grid."""

    def prepare(self, sample: Sample) -> Sample:
        """Prepare on the grid of the toys, with one more column for every second sample."""
        prepared = super().prepare(sample)
        if int(sample.id[-1]) % 2:
            return Sample(**{**vars(prepared), "image": np.pad(prepared.image, ((0, 0), (0, 0), (0, 1)))})
        return prepared


class Forked(nn.Module):
    """Two branches that read the image, and a reader of both."""

    def __init__(self) -> None:
        super().__init__()
        self.coarse = nn.Conv2d(3, 2, 5, padding=2)
        self.fine = nn.Conv2d(3, 2, 3, padding=1)
        self.rest = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Flatten())
        self.reader = nn.Linear(4 * (GRID // 2) ** 2, 2)

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, 3, 16, 16) → logits (n, 2)."""
        values = torch.cat([self.coarse(images), self.fine(images)], 1)
        logits: Tensor = self.reader(self.rest(values))
        return logits


class Untraced(Forked):
    """The same network with control flow on values."""

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, 3, 16, 16) → logits (n, 2)."""
        logits = super().forward(images)
        return logits if bool(logits.sum() > 0) else logits * 1


class Branched(Regions):
    """A network in which two layers read the image; random weights."""

    def build(self) -> nn.Module:
        """The forked network."""
        return drawn(Forked(), self.params.seed)


class Untraceable(Regions):
    """A network that cannot be traced; random weights."""

    def build(self) -> nn.Module:
        """The forked network with control flow on values."""
        return drawn(Untraced(), self.params.seed)


class OneLogit(Linear):
    """One logit, read as a grade."""

    classes = ("left", "right")
    head = "ordinal"

    def build(self) -> nn.Module:
        """The first logit of the linear network."""
        network: Any = super().build()
        network[1] = nn.Linear(3 * GRID**2, 1)
        network[1].weight.data = self.weights(0).flatten()[None]
        network[1].bias.data.zero_()
        return network


class WeighedParams(ToyParams):
    """A checkpoint."""

    weights: Location


class Weighed(Residual[WeighedParams]):
    """A network read from a file."""

    def build(self) -> nn.Module:
        """The residual network with the file's bias of the head."""
        network: Any = super().build()
        network.head.bias.data = load_file(self.params.weights)["bias"]
        return network


class Unbuildable(Regions):
    """A model whose network cannot be built."""

    def build(self) -> nn.Module:
        """Raise what a bad checkpoint raises."""
        raise ModelError("checkpoint x.safetensors does not exist; give the path of a file.")


class Unsteady(Residual):
    """A faulty model with random weights at every call."""

    def build(self) -> nn.Module:
        """The residual network with another head each time."""
        network: Any = super().build()
        with torch.random.fork_rng():
            torch.seed()
            nn.init.normal_(network.head.weight)
        return network


class Blind(Regions):
    """A model with logits that are not finite for some images."""

    def prepare(self, sample: Sample) -> Sample:
        """Fill the second image with NaN, which gives logits that are not finite."""
        prepared = super().prepare(sample)
        if sample.id.endswith("1"):
            prepared.image[...] = np.nan
        return prepared


class SlopeParams(Params):
    """A factor, the duration, and the fault on some samples."""

    factor: float = 1.0
    seconds: float = 0.0
    on: tuple[str, ...] = ()
    fault: Literal["raise", "nan", "kill", "kill once", "memory", "shape", "note"] = "raise"
    at: str = ""


class Slope(Explainer[SlopeParams]):
    """Image times gradient that notes its calls."""

    shares = "gradients"

    def explain(self, batch: Batch) -> Tensor | Explanation:
        """Maps (n, c, *space)."""
        note("explain", self.params.factor, list(batch.ids), os.getpid(), list(batch.layers), torch.get_num_threads())
        time.sleep(self.params.seconds)
        values = batch.images * gradients(batch).images * self.params.factor
        hit = [index for index, id in enumerate(batch.ids) if id in self.params.on]
        if hit or self.params.fault == "memory":
            return self._spoilt(values, hit, len(batch))
        return values

    def _spoilt(self, values: Tensor, hit: list[int], size: int) -> Tensor | Explanation:
        match self.params.fault:
            case "raise":
                raise ValueError("cannot explain this one")
            case "nan":
                values = values.clone()
                values[hit, :, 3, 4] = torch.nan
            case "memory" if size > 1:
                raise torch.OutOfMemoryError("more than there is")
            case "shape":
                return values[..., :-1]
            case "note":
                return Explanation(values, {"steps": [object()] * size})
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "kill once":
                self._kill_once()
        return values

    def _kill_once(self) -> None:
        if not Path(self.params.at).exists():
            Path(self.params.at).write_text("killed")
            os.kill(os.getpid(), signal.SIGKILL)


class Noted(Explainer):
    """A heatmap with notes and stored arrays; the number of stored steps differs between samples."""

    def explain(self, batch: Batch) -> Explanation:
        """Return ones, with notes of each kind."""
        size = len(batch)
        steps = [torch.arange(1.0 + int(id[-1]) % 3) for id in batch.ids]
        notes = {
            "steps": [len(passes) for passes in steps],
            "word": ["done"] * size,
            "error": torch.full((size,), torch.inf),
        }
        return Explanation(torch.ones_like(batch.images), notes, {"scores": steps})


class LayeredParams(Params):
    """A layer by name, ``last``, or ``all``."""

    layer: str = "last"


class Layered(Explainer[LayeredParams]):
    """The image times the mean gradient of a layer, for the layers of a task."""

    requires = frozenset({"gradients", "layers"})
    shares = "gradients"

    def expand(self, model: Model) -> Iterable["Layered"]:
        """One explainer per layer."""
        if self.params.layer == "all":
            return [self.with_(layer=name) for name in model.layers()]
        return [self.with_(layer=model.layer(self.params.layer))]

    def layers(self, model: Model) -> tuple[str, ...]:
        """The one layer."""
        return (self.params.layer,)

    def explain(self, batch: Batch) -> Tensor:
        """Maps (n, c, *space)."""
        note("layers", self.params.layer, list(batch.ids), list(batch.layers))
        slope = gradients(batch).layers[self.params.layer].gradient.abs().flatten(1).mean(1)
        return batch.images * slope[:, None, None, None]


class SharingParams(Params):
    """The explainers that share a pass have one ``pair``; each scales the result by its ``factor``."""

    pair: str = "one"
    factor: float = 1.0


class Sharing(Explainer[SharingParams]):
    """The image times a number; it notes when its pair's result is computed, and how many results the batch holds."""

    @property
    def shares(self) -> str:
        """The pair."""
        return f"pair {self.params.pair}"

    def explain(self, batch: Batch) -> Tensor:
        """Maps (n, c, *space)."""
        results = sum(key[0] in ("shared", "explanation") for key in batch._results)
        values = batch.once(("shared", self.shares), lambda: note("made", self.params.pair) or batch.images * 2)
        note("sharing", self.params.pair, self.params.factor, results)
        return values * self.params.factor


class Demanding(Explainer):
    """An explainer with a requirement that no toy fulfils."""

    requires = frozenset({"attention"})

    def explain(self, batch: Batch) -> Tensor:
        """Never called."""
        raise NotImplementedError


class MassParams(Params):
    """The fault on some samples."""

    on: tuple[str, ...] = ()
    fault: Literal["raise", "undefined", "nan", "inf"] = "raise"
    scale: float = 1.0


class Mass(Metric[MassParams]):
    """The share of positive heat on the blobs, and on each of them."""

    def measure(self, case: Case) -> dict[str, float]:
        """``value`` and one measure per side."""
        assert case.heatmap is not None
        note("measure", case.sample.id, self.params.scale)
        if case.sample.id in self.params.on and self.params.fault == "raise":
            raise ValueError("cannot measure this one")
        if case.sample.id in self.params.on and self.params.fault == "undefined":
            raise Undefined("nothing to see here")
        heat = np.maximum(case.heatmap.values.astype(np.float64), 0)
        shares = {
            annotation.finding: float((heat * annotation.values).sum() / heat.sum())
            for annotation in case.sample.annotations
        }
        if case.sample.id in self.params.on:
            shares["left"] = {"nan": np.nan, "inf": np.inf}[self.params.fault]
        return {"value": float(np.sum(list(shares.values()))) * self.params.scale} | shares


class Accuracy(Metric):
    """Whether the decision is the label."""

    needs = frozenset({"prediction", "label"})

    def measure(self, case: Case) -> dict[str, float]:
        """``value``: 1 or 0."""
        assert case.prediction is not None
        assert case.heatmap is case.batch is None
        note("accuracy", case.sample.id)
        return {"value": float(case.prediction.decision == case.sample.label)}


class AreaParams(Params):
    """The samples with a fault, or a fault everywhere."""

    on: tuple[str, ...] = ()
    everywhere: bool = False


class Area(Metric[AreaParams]):
    """The AUC of the share of heat on the left as a score for the label: a metric with two measurements."""

    needs = frozenset({"heatmap", "annotation", "label"})
    primary = "auc"

    def measure(self, case: Case) -> dict[str, float]:
        """``score`` and ``label``."""
        assert case.heatmap is not None
        if self.params.everywhere or case.sample.id in self.params.on:
            raise ValueError("cannot score this one")
        heat = np.maximum(case.heatmap.values.astype(np.float64), 0)
        return {"score": float(heat[:, GRID // 2 :].sum() / heat.sum()), "label": float(case.sample.label or 0)}

    def summarise(self, measurements: Mapping[str, Any], counts: Any) -> dict[str, Any]:
        """``auc`` (r,): the share of pairs in order."""
        defined = ~np.isnan(measurements["score"] + measurements["label"])
        score = measurements["score"][defined]
        label = measurements["label"][defined] > 0
        counts = counts[:, defined]
        order = (score[label][:, None] > score[~label][None]) + 0.5 * (score[label][:, None] == score[~label][None])
        pairs = counts[:, label][:, :, None] * counts[:, ~label][:, None, :]
        total = pairs.sum((1, 2))
        value = np.divide((pairs * order).sum((1, 2)), total, out=np.full(len(counts), np.nan), where=total > 0)
        return {"auc": value}


class FilledParams(Params):
    """The mean brightness of each channel; None: computed on the tuning split."""

    brightness: tuple[float, ...] | None = None


class Filled(Metric[FilledParams]):
    """The mean heat over the mean brightness that was filled in."""

    needs = frozenset({"heatmap"})

    @property
    def open(self) -> tuple[str, ...]:
        """``brightness`` while it is not computed."""
        if self.params.brightness is None:
            return ("brightness",)
        return ()

    def fit(self, samples: Iterable[Sample]) -> "Filled":
        """Set a third of the mean over all pixels of the samples: no short decimal represents it exactly."""
        means = np.mean([sample.image.mean((1, 2), dtype=np.float64) / 3 for sample in samples], axis=0)
        note("fit")
        return self.with_(brightness=tuple(means))

    def measure(self, case: Case) -> dict[str, float]:
        """``value``."""
        assert case.heatmap is not None
        assert self.params.brightness is not None
        return {"value": float(case.heatmap.values.mean(dtype=np.float64) / self.params.brightness[0])}


class TunedParams(Params):
    """A level of heat; None: tuned on the tuning split, by ``rule``."""

    level: float | None = None
    rule: Literal["mean", "largest"] = "mean"


class Tuned(Metric[TunedParams]):
    """The greatest heat over that of the tuning split."""

    needs = frozenset({"heatmap"})

    @property
    def untuned(self) -> tuple[str, ...]:
        """``level`` while it is not tuned."""
        if self.params.level is None:
            return ("level",)
        return ()

    def tune(self, cases: Iterable[Case]) -> "Tuned":
        """Set the mean, or the largest, of the greatest heat of each case."""
        heats = []
        for case in cases:
            assert case.heatmap is not None
            heats.append(float(case.heatmap.values.max()))
            note("tune", case.sample.id)
        return self.with_(level=max(heats) if self.params.rule == "largest" else float(np.mean(heats)))

    def measure(self, case: Case) -> dict[str, float]:
        """``value``."""
        assert case.heatmap is not None
        assert self.params.level is not None
        return {"value": float(case.heatmap.values.max()) / self.params.level}


class Drop(Metric):
    """The fall of the score when the hottest pixel turns black: a metric that uses the model."""

    needs = frozenset({"heatmap", "model", "prediction"})

    def measure(self, case: Case) -> dict[str, float]:
        """``value``."""
        assert case.heatmap is not None
        assert case.batch is not None
        images = case.batch.images.clone()
        images[0].flatten(1)[:, int(case.heatmap.values.argmax())] = 0
        return {"value": float(case.batch.score(case.batch.images) - case.batch.score(images))}

    def cost(self, model: Model, space: tuple[int, ...], explanation: tuple[int, int]) -> tuple[int, int]:
        """Count one forward of the image and one of the blackened image."""
        return 2, 0


@hookimpl
def heatproof_datasets() -> Mapping[str, str]:
    """Declare the datasets."""
    return {
        "images": "heatproof_parts:Images", "scans": "heatproof_parts:Scans",
        "read_twice": "heatproof_parts:ReadTwice",
    }  # fmt: skip


@hookimpl
def heatproof_models() -> Mapping[str, str]:
    """Declare the models, the kit's toys among them."""
    names = (
        "Swapped", "Elsewhere", "Native", "Branched", "Untraceable", "OneLogit", "Weighed", "Unbuildable", "Unsteady",
        "Blind",
    )  # fmt: skip
    models = {name.lower(): f"heatproof_parts:{name}" for name in names}
    toys = ("Linear", "Regions", "Residual", "Graded")
    return models | {name.lower(): f"heatproof.testing.toys:{name}" for name in toys}


@hookimpl
def heatproof_explainers() -> Mapping[str, str]:
    """Declare the explainers."""
    return {name.lower(): f"heatproof_parts:{name}" for name in ("Slope", "Noted", "Layered", "Sharing", "Demanding")}


@hookimpl
def heatproof_metrics() -> Mapping[str, str]:
    """Declare the metrics."""
    return {name.lower(): f"heatproof_parts:{name}" for name in ("Mass", "Accuracy", "Area", "Filled", "Tuned", "Drop")}


@hookimpl
def heatproof_run_started(folder: Path, config: Mapping[str, Any]) -> None:
    """Note that a run starts."""
    note("started", str(folder), config["seed"])


@hookimpl
def heatproof_unit_finished(folder: Path, unit: Mapping[str, Any]) -> None:
    """Note a finished unit, and whether its file exists."""
    note("unit", str(folder), unit["key"], (folder / "heatmaps" / unit["key"] / "unit.json").is_file())


@hookimpl
def heatproof_run_finished(folder: Path, summary: Mapping[str, Any]) -> None:
    """Note that a run is complete."""
    note("finished", str(folder), len(summary["rows"]), (folder / "summary.csv").is_file())
