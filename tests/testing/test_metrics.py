"""Every law of metrics catches a planted fault; sound metrics pass all laws."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import torch

from heatproof.component import Params
from heatproof.metric import Case, Metric, Undefined, mean
from heatproof.model import Model
from heatproof.records import Array, Heatmap
from heatproof.testing import ConformanceError, checks, conforms
from heatproof.testing.check import run


class Inside(Metric):
    """The share of heat inside the annotations."""

    def measure(self, case: Case) -> Mapping[str, float]:
        if not case.sample.annotations:
            raise Undefined("no finding was examined")
        heat = np.maximum(case.heatmap.values, 0)
        mask = np.maximum.reduce([annotation.values for annotation in case.sample.annotations])
        return {"value": float((heat * mask).sum() / heat.sum()) if heat.sum() else np.nan}


class Outside(Inside):
    """The share of heat outside the annotations."""

    higher_is_better = False

    def measure(self, case: Case) -> Mapping[str, float]:
        return {"value": 1 - super().measure(case)["value"]}


class Accuracy(Metric):
    """Needs no heatmap."""

    needs = frozenset({"prediction", "label"})

    def measure(self, case: Case) -> Mapping[str, float]:
        return {"value": float(case.prediction.decision == case.sample.label)}


class Deletion(Metric):
    """Uses the model: the drop of the score when the hottest half of the image becomes black."""

    needs = frozenset({"heatmap", "model"})

    def measure(self, case: Case) -> Mapping[str, float]:
        mask = torch.from_numpy(case.heatmap.values < np.median(case.heatmap.values))
        images = case.batch.images
        return {"value": float((case.batch.score(images) - case.batch.score(images * mask))[0])}

    def cost(self, model: Model, space: tuple[int, ...], explanation: tuple[int, int]) -> tuple[int, int]:
        return 2, 0


class Stability(Metric):
    """Uses the explainer, and measures a curve."""

    needs = frozenset({"explainer"})
    primary = "gap"

    def measure(self, case: Case) -> Mapping[str, float | Array]:
        first, second = (case.explain(batch) for batch in (case.batch, case.batch.at(case.batch.images * 0.9)))
        gap = float(np.abs(first - second).mean())
        return {"gap": gap, "curve": np.array([gap, 2 * gap])}

    def cost(self, model: Model, space: tuple[int, ...], explanation: tuple[int, int]) -> tuple[int, int]:
        return 2 * explanation[0], 2 * explanation[1]

    def summarise(self, measurements: Mapping[str, Array], counts: Array) -> dict[str, Array]:
        columns = measurements["curve"].T
        return {
            "gap": mean(measurements["gap"], counts),
            "curve": np.stack([mean(column, counts) for column in columns], 1),
        }


class Underpriced(Stability):
    """Has a cost of one backward pass less than it needs."""

    def cost(self, model: Model, space: tuple[int, ...], explanation: tuple[int, int]) -> tuple[int, int]:
        return 2 * explanation[0], explanation[1]


class TunedParams(Params):
    level: float | None = None


class Tuned(Inside, Metric[TunedParams]):
    """The share of the heat above a level inside the annotations; the level is the mean of the hottest pixels."""

    @property
    def untuned(self) -> tuple[str, ...]:
        return ("level",) if self.params.level is None else ()

    def tune(self, cases: Iterable[Case]) -> "Tuned":
        return self.with_(level=float(np.mean(sorted(case.heatmap.values.max() for case in cases))) / 2)

    def measure(self, case: Case) -> Mapping[str, float]:
        heat = np.where(case.heatmap.values > self.params.level, case.heatmap.values, 0)
        return super().measure(replace(case, heatmap=Heatmap(heat)))


class Hasty(Tuned):
    """Tunes on the first case alone."""

    def tune(self, cases: Iterable[Case]) -> "Tuned":
        return self.with_(level=float(next(iter(cases)).heatmap.values.max()) / 2)


class Forgetful(Tuned):
    """Fills nothing, and measures as if the level were 0."""

    def tune(self, cases: Iterable[Case]) -> "Tuned":
        return self

    def measure(self, case: Case) -> Mapping[str, float]:
        return Inside.measure(self, case)


class Infinite(Inside):
    def measure(self, case: Case) -> Mapping[str, float]:
        return {"value": float("inf")}


class Worded(Inside):
    def measure(self, case: Case) -> Mapping[str, object]:
        return {"value": "much"}


class Never(Inside):
    def measure(self, case: Case) -> Mapping[str, float]:
        raise Undefined("never")


class Peeking(Inside):
    def measure(self, case: Case) -> Mapping[str, float]:
        return {"value": super().measure(case)["value"] + float(case.prediction is not None)}


class Scaling(Inside):
    def measure(self, case: Case) -> Mapping[str, float]:
        case.heatmap.values[:] /= 2
        return super().measure(case)


class Counting(Inside):
    def __init__(self, **params: object):
        super().__init__(**params)
        self.calls = count()

    def measure(self, case: Case) -> Mapping[str, float]:
        return {"value": super().measure(case)["value"] + next(self.calls)}


class Unprotected(Inside):
    def measure(self, case: Case) -> Mapping[str, float]:
        annotations = case.sample.annotations
        return {"value": float((case.heatmap.values * annotations[0].values).sum() / annotations[0].values.max())}


class Reversed(Inside):
    higher_is_better = False


class Summary(Inside):
    """A metric with a faulty summary."""

    def summarise(self, measurements: Mapping[str, Array], counts: Array) -> dict[str, Array]:
        return {"value": self.total(measurements["value"], counts)}

    def total(self, values: Array, counts: Array) -> Array:
        raise NotImplementedError


class Scalar(Summary):
    def total(self, values: Array, counts: Array) -> Array:
        return mean(values, counts)[0]


class Rescaling(Inside):
    def exchangeable(self, measurements: Mapping[str, Array]) -> Mapping[str, Array]:
        return {name: 2 * values for name, values in measurements.items()}


class Elsewhere(Inside):
    primary = "score"


class First(Summary):
    def total(self, values: Array, counts: Array) -> Array:
        return np.where(counts.any(1), values[0], np.nan)


class Ignoring(Summary):
    def total(self, values: Array, counts: Array) -> Array:
        return np.full(len(counts), values.mean())


class Adding(Summary):
    def total(self, values: Array, counts: Array) -> Array:
        return np.where(counts.any(1), counts @ values, np.nan)


class Pooling(Summary):
    def total(self, values: Array, counts: Array) -> Array:
        pooled = np.nanmean(mean(values, counts)) if counts.any() else np.nan
        return np.where(counts.any(1), pooled, np.nan)


class Zero(Summary):
    def total(self, values: Array, counts: Array) -> Array:
        return np.nan_to_num(mean(values, counts))


FAULTS = (
    (Infinite(), "measures are numbers"),
    (Worded(), "measures are numbers"),
    (Never(), "measures are numbers"),
    (Peeking(), "what is needed is declared"),
    (Scaling(), "a case is left untouched"),
    (Counting(), "a case is measured by itself"),
    (Unprotected(), "odd cases are measured or undefined"),
    (Underpriced(), "passes are at most those it is priced at"),
    (Hasty(), "tuning fills its settings in any order of the cases"),
    (Forgetful(), "tuning fills its settings in any order of the cases"),
    (Reversed(), "the annotation scores at least as well as its inverse"),
    (Scalar(), "a summary has one value per resample"),
    (Elsewhere(), "a summary has one value per resample"),
    (First(), "the order of cases does not matter"),
    (Ignoring(), "counts say how often a case occurs"),
    (Adding(), "doubled counts change nothing"),
    (Pooling(), "a resample is summarised by itself"),
    (Zero(), "a resample without cases has no value"),
    (Rescaling(), "exchangeable measurements have the same summary"),
)


@conforms(Inside(), Outside(), Accuracy(), Deletion(), Stability(), Tuned())
def test_sound_metrics_pass_every_check(check):
    check()


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize(("fault", "law"), FAULTS, ids=[f"{fault.short}: {law}" for fault, law in FAULTS])
def test_a_planted_fault_is_caught(fault, law):
    with pytest.raises(ConformanceError):
        run(fault.short, [check for check in checks(fault) if check.name == law])


def test_every_law_of_its_own_has_a_planted_fault():
    settings = ("settings", "pickles", "identity")
    laws = {check.name for check in checks(Inside()) if not check.name.startswith(settings)}
    assert {law for _, law in FAULTS} == laws
