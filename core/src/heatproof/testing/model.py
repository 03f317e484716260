"""Laws of models: the network, its preparation, the reading of its outputs, and its views."""

import pickle
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..batch import Batch
from ..component import Component
from ..errors import ModelError
from ..model import Model, is_other_name
from ..network.opaque import Opaque
from ..passes import gradients
from ..records import Array, Sample
from ..regions import whole
from .bench import difference, in_float64
from .check import NotApplicable, Violation, claim
from .toys import Blobs

TOLERANCE = 1e-10
AREA = 0.05
"""The largest change of a mask's area, as a share of the area."""


class ModelBench:
    """A model with native samples for its checks; the network is built on first use."""

    def __init__(self, model: Model, sample: Sample | None = None):
        self._model = model
        self._sample = sample

    @property
    def component(self) -> Component:
        """The model."""
        return self._model

    @property
    def model(self) -> Model:
        """The model."""
        return self._model

    @cached_property
    def precise(self) -> Model:
        """The same model in float64."""
        return in_float64(self._model)

    @cached_property
    def natives(self) -> list[Sample]:
        """Samples as a dataset loads them: by default, generated images."""
        if self._sample:
            return [self._sample]
        blobs = Blobs(count=4)
        return [blobs.load(id) for id in blobs.ids()[:3]]

    @cached_property
    def prepared(self) -> list[Sample]:
        """The same samples on the model's grid."""
        return [self._model.prepare(native) for native in self.natives]

    def batch(self, model: Model, dtype: torch.dtype = torch.float32) -> Batch:
        """A new batch of the prepared samples; a single sample is repeated, mirrored."""
        images = torch.stack([torch.from_numpy(sample.image) for sample in self.prepared]).to(dtype)
        self.require_extras()
        inputs = model.collate(self.prepared)
        if len(images) == 1 and not inputs:
            images = torch.cat([images, images.flip(-1)])
        ids = [str(index) for index in range(len(images))]
        region = whole(model, images)
        return Batch(model, ids, images, [0] * len(images), inputs=inputs, region=region, layers=model.layers())

    def require_extras(self) -> None:
        """Raise ``NotApplicable`` for a model of extras that the generated images do not have."""
        missing = [name for name in self._model.extras if name not in self.prepared[0].extras]
        if missing and self._sample is None:
            raise NotApplicable(f"generated images have no {', '.join(missing)}; check it with a sample that has them")

    def logits(self, model: Model, dtype: torch.dtype = torch.float32) -> Tensor:
        """The explained output of the network itself: (n, class), or (n, class, *grid) of logits per pixel."""
        batch = self.batch(model, dtype)
        with torch.no_grad():
            return model.forward(batch.images, **batch.inputs)[batch.output].clone()


def logits_have_one_column_per_class(bench: ModelBench) -> None:
    """Logits are finite and (n, classes), or (n, 1) for any head but softmax. Outputs have the declared names.

    Logits per pixel have a grid as further axes.
    """
    model = bench.model
    batch = bench.batch(model)
    logits = bench.logits(model)
    widths = {
        "softmax": {len(model.classes)},
        "sigmoid": {1, len(model.classes)},
        "ordinal": {1},
        "regression": {1},
    }[model.head]
    shapes = [(len(batch), width) for width in sorted(widths)]
    allowed = " or ".join(map(str, shapes))
    shape = tuple(logits.shape)
    rows = shape[:2] if model.outline.per_pixel else shape
    claim(rows in shapes, f"logits have shape {shape}; allowed: {allowed}.")
    claim(bool(logits.isfinite().all()), "some logits are infinite or NaN.")
    missing = set(model.outputs) - set(model.forward(batch.images, **batch.inputs))
    claim(not missing, f"declares outputs that the network does not give: {', '.join(sorted(missing))}.")


def the_same_images_give_the_same_logits(bench: ModelBench) -> None:
    """Two calls agree to the bit: there is no dropout, and no running statistics change."""
    claim(torch.equal(bench.logits(bench.model), bench.logits(bench.model)), "two calls on the same images differ.")


def a_batch_equals_its_singles(bench: ModelBench) -> None:
    """Each image of a batch has the logits that it has alone, to 1e-10 of the largest in float64."""
    batch = bench.batch(bench.precise, torch.float64)
    with torch.no_grad():
        alone = [batch.model.forward(single.images, **single.inputs)[batch.output] for single in batch.singles()]
    worst = difference(bench.logits(bench.precise, torch.float64), torch.cat(alone))
    claim(worst <= TOLERANCE, f"logits in a batch and alone differ by {worst:.1e}; allowed: {TOLERANCE:.0e}.")


def prepared_samples_lie_on_one_grid(bench: ModelBench) -> None:
    """Images are finite float32, annotations float32 in 0…1 (densities above 0), fields bool, all of one shape."""
    for sample in bench.prepared:
        claim(sample.image.dtype == np.float32, f"the image is {sample.image.dtype}; allowed: float32.")
        claim(bool(np.isfinite(sample.image).all()), "the image is infinite or NaN somewhere.")
        claim(sample.space == bench.prepared[0].space, f"grids {sample.space} and {bench.prepared[0].space} differ.")
        for annotation in sample.annotations:
            _claim_annotation(annotation.values, annotation.kind, sample.space)
        claim(sample.field is not None, "the field is missing; prepare must set it.")
        assert sample.field is not None
        claim(sample.field.dtype == bool and sample.field.shape == sample.space, "the field is not bool on the grid.")


def preparing_leaves_the_sample_untouched(bench: ModelBench) -> None:
    """``prepare`` does not change the native sample, keeps id, label and patient, and gives the same bits twice."""
    native = bench.natives[0]
    before = pickle.dumps(native)
    first = bench.model.prepare(native)
    second = bench.model.prepare(native)
    claim(pickle.dumps(native) == before, "prepare writes into the native sample; work on a copy.")
    claim(np.array_equal(first.image, second.image), "preparing twice gives other bits.")
    names = ("id", "label", "patient")
    lost = [name for name in names if getattr(first, name) != getattr(native, name)]
    claim(not lost, f"prepare changes {', '.join(lost)}.")
    claim(first.findings() == native.findings(), f"findings {native.findings()} became {first.findings()}.")


def the_geometry_maps_masks_back(bench: ModelBench) -> None:
    """The geometry maps the centre of each mask back to its native position, to one pixel of the grid."""
    for native, prepared in zip(bench.natives, bench.prepared):
        geometry = prepared.geometry
        claim(geometry is not None, "the geometry is missing.")
        assert geometry is not None
        claim(geometry.native == native.space, f"the geometry's native shape is {geometry.native}, not {native.space}.")
        step = float(np.abs(geometry.affine[:-1, :-1]).sum(1).max())
        for before, after in _masks(native, prepared):
            gap = float(np.abs(geometry.to_native(_center(after)[None])[0] - _center(before)).max())
            claim(
                gap <= max(step, 1.0), f"a mask's centre comes back {gap:.1f} pixels off; a grid pixel has {step:.1f}."
            )


def masks_keep_their_area(bench: ModelBench) -> None:
    """Each mask keeps its area, in native pixels, to 5 %: small lesions are averaged, not dropped."""
    for native, prepared in zip(bench.natives, bench.prepared):
        assert prepared.geometry is not None
        pixel = abs(float(np.linalg.det(prepared.geometry.affine[:-1, :-1])))
        for before, after in _masks(native, prepared):
            share = float(after.sum()) * pixel / float(before.sum())
            claim(
                abs(share - 1) <= AREA,
                f"{share:.0%} of a mask's area is kept; allowed: {1 - AREA:.0%} to {1 + AREA:.0%}.",
            )


def readings_decide_on_a_class(bench: ModelBench) -> None:
    """Probabilities are in 0…1 and sum to 1 for a softmax; decisions are classes; also for extreme logits.

    The law does not apply to logits per pixel, which decide on no class of the image.
    """
    if bench.model.outline.per_pixel:
        raise NotApplicable("the model gives logits per pixel")
    width = bench.logits(bench.model).shape[1]
    directions = np.linspace(-1, 1, width) if width > 1 else np.ones(1)
    for scale in (0.0, 1.0, 1e3, -1e3):
        prediction = bench.model.read(scale * directions)
        claim(0 <= prediction.decision < len(bench.model.classes), f"decides on class {prediction.decision}.")
        if bench.model.head == "regression":
            continue
        values = prediction.probabilities
        claim(bool(((values >= 0) & (values <= 1)).all()), f"probabilities {values.tolist()} leave 0…1.")
        total = float(values.sum())
        claim(bench.model.head != "softmax" or abs(total - 1) <= 1e-6, f"softmax probabilities sum to {total}.")


def layers_can_be_observed(bench: ModelBench) -> None:
    """Every layer can be observed and, by ``spatial``, is (n, channel, *space); unknown layers are refused.

    So can the last layer, if the model has one. The law does not apply to a model without the capability ``layers``.
    """
    model = bench.model
    if "layers" not in model.capabilities:
        raise NotApplicable("the model offers no layers")
    last = (model.last_layer,) if model.outline.last else ()
    model.require_layers(last)
    for name in model.layers():
        claim(model.layer(name) == name, f"layer({name!r}) returns {model.layer(name)!r}.")
    gradients(
        bench.batch(model).at(layers=(*model.layers(), *last))
    )  # raises an error for a layer that cannot be observed
    claim(_refused(lambda: model.layer("no such layer")), "a layer that does not exist is accepted.")


def models_of_one_grid_prepare_alike(bench: ModelBench) -> None:
    """If ``grid`` is the identity of the preparation, ``prepare`` equals the preparation: baselines depend on it."""
    preparation = bench.model.preparation
    if preparation is None or bench.model.grid != preparation.identity:
        raise NotApplicable("no other model has its grid")
    for native, prepared in zip(bench.natives, bench.prepared):
        same = np.array_equal(preparation(native).image, prepared.image)
        claim(same, "its grid is that of its preparation, but prepare gives a different image.")


def targets_are_the_classes(bench: ModelBench) -> None:
    """``target`` returns the index of a class by name and by index, and refuses anything else.

    An index that is the name of another class is refused, too.
    """
    model = bench.model
    for index, name in enumerate(model.classes):
        indices = {model.target(name)}
        if not is_other_name(index, model.classes):
            indices.add(model.target(index))
        claim(indices == {index}, f"class {name!r} is logit {index}, but target gives {sorted(indices)}.")
    claim(_refused(lambda: model.target(len(model.classes))), "a target outside the classes is accepted.")


def collating_reads_only_the_extras_that_are_declared(bench: ModelBench) -> None:
    """``collate`` gives the same inputs for samples that have only the extras that ``extras`` names."""
    bench.require_extras()
    extras = bench.model.extras
    stripped = [
        replace(sample, extras={name: value for name, value in sample.extras.items() if name in extras})
        for sample in bench.prepared
    ]
    try:
        inputs = bench.model.collate(stripped)
    except KeyError as error:
        raise Violation(f"collate reads {error}, which extras does not name.") from error
    claim(_equal(inputs, bench.model.collate(bench.prepared)), "inputs depend on other extras.")


def views_equal_the_network(bench: ModelBench) -> None:
    """The canonical and the folded view give the logits of the network, to 1e-10 of the largest in float64."""
    batch = bench.batch(bench.precise, torch.float64)
    expected = bench.logits(bench.precise, torch.float64)
    for name, folded in (("canonical", False), ("folded", True)):
        view = bench.precise.view(batch.images, batch.inputs, folded)
        if isinstance(view, Opaque):
            raise NotApplicable(f"the network cannot be traced: {view.reason}")
        with torch.no_grad():
            worst = difference(expected, view(batch.images, batch.inputs)[0][batch.output])
        claim(worst <= TOLERANCE, f"the {name} view differs by {worst:.1e}.")


def gradients_reach_the_image(bench: ModelBench) -> None:
    """With the capability ``gradients``, the gradient of a logit by the image is finite and not zero everywhere."""
    if "gradients" not in bench.model.capabilities:
        raise NotApplicable("the model claims no gradients")
    gradient = gradients(bench.batch(bench.model)).images
    claim(bool(gradient.isfinite().all()), "the gradient is infinite or NaN somewhere.")
    claim(bool((gradient != 0).any()), "the gradient is zero everywhere.")


def building_twice_gives_the_same_network(bench: ModelBench) -> None:
    """A second build and a pickled copy have the same weights to the bit, since they have the same identity."""
    expected = bench.model.network.state_dict()
    for model in (bench.model.with_(), pickle.loads(pickle.dumps(bench.model))):
        actual = model.network.state_dict()
        differing = [name for name, value in expected.items() if not torch.equal(value, actual[name])]
        claim(not differing, f"weights that differ: {len(differing)}, such as {''.join(differing[:1])}.")


def the_network_is_a_module_in_evaluation_mode(bench: ModelBench) -> None:
    """``build`` returns an ``nn.Module``; no part of ``network`` is in training mode."""
    claim(isinstance(bench.model.build(), nn.Module), "build does not return an nn.Module.")
    training = [name for name, module in bench.model.network.named_modules() if module.training]
    claim(not training, f"{len(training)} modules are in training mode, such as {''.join(training[:1])!r}.")


LAWS: tuple[Callable[[ModelBench], None], ...] = (
    the_network_is_a_module_in_evaluation_mode,
    logits_have_one_column_per_class,
    the_same_images_give_the_same_logits,
    a_batch_equals_its_singles,
    prepared_samples_lie_on_one_grid,
    preparing_leaves_the_sample_untouched,
    the_geometry_maps_masks_back,
    masks_keep_their_area,
    readings_decide_on_a_class,
    layers_can_be_observed,
    models_of_one_grid_prepare_alike,
    targets_are_the_classes,
    collating_reads_only_the_extras_that_are_declared,
    views_equal_the_network,
    gradients_reach_the_image,
    building_twice_gives_the_same_network,
)


def _equal(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two collations are equal; the pickle of a tensor depends on where its memory lies."""

    def content(value: Any) -> Any:
        return value.numpy(force=True) if isinstance(value, Tensor) else value

    contents = [{name: content(value) for name, value in inputs.items()} for inputs in (first, second)]
    return pickle.dumps(contents[0]) == pickle.dumps(contents[1])


def _refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except ModelError:
        return True
    return False


def _claim_annotation(values: Array, kind: str, space: tuple[int, ...]) -> None:
    claim(values.dtype == np.float32, f"an annotation is {values.dtype}; allowed: float32.")
    claim(values.shape == space, f"an annotation has shape {values.shape} on the grid {space}.")
    highest = np.inf if kind == "density" else 1 + 1e-6
    claim(bool(((values >= 0) & (values <= highest)).all()), f"values of a {kind} leave 0…1.")


def _masks(native: Sample, prepared: Sample) -> list[tuple[Array, Array]]:
    """The non-empty masks before and after preparation."""
    pairs = zip(native.annotations, prepared.annotations)
    return [(before.values, after.values) for before, after in pairs if before.values.any()]


def _center(values: Array) -> Array:
    """The centre of mass (d,) in continuous indices; the centre of a pixel is its index plus a half."""
    positions = np.indices(values.shape) + 0.5
    return np.asarray((positions * values).reshape(values.ndim, -1).sum(1) / values.sum())
