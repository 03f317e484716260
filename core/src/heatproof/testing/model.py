"""Laws of models: the network, its preparation, how its outputs are read, and its views."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from ..batch import Batch
from ..component import Component
from ..errors import ModelError
from ..model import Model
from ..network.views import Opaque
from ..passes import gradients
from ..records import Array, Sample
from .bench import difference, in_float64
from .check import NotApplicable, Violation, claim
from .toys import Blobs

TOLERANCE = 1e-10
AREA = 0.05


class ModelBench:
    """A model with native samples on which it is tried; the network is built when first needed."""

    def __init__(self, model: Model, sample: Sample | None = None):
        self._model, self._sample = model, sample

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
        """Samples as a dataset loads them: the one given, or generated images."""
        blobs = Blobs(count=4)
        return [self._sample] if self._sample else [blobs.load(id) for id in blobs.ids()[:3]]

    @cached_property
    def prepared(self) -> list[Sample]:
        """The same samples on the model's grid."""
        return [self._model.prepare(native) for native in self.natives]

    def batch(self, model: Model, dtype: torch.dtype = torch.float32) -> Batch:
        """A fresh batch of the prepared samples; one sample is there twice, the second time mirrored."""
        images = torch.stack([torch.from_numpy(sample.image) for sample in self.prepared]).to(dtype)
        inputs = model.collate(self.prepared)
        if len(images) == 1 and not inputs:
            images = torch.cat([images, images.flip(-1)])
        ids = [str(index) for index in range(len(images))]
        return Batch(model, ids, images, [0] * len(images), inputs=inputs, layers=model.layers())

    def logits(self, model: Model, dtype: torch.dtype = torch.float32) -> Tensor:
        """The outputs that are explained (n, class), through the network itself."""
        batch = self.batch(model, dtype)
        with torch.no_grad():
            return model.forward(batch.images, **batch.inputs)[batch.output].clone()


def logits_have_one_column_per_class(bench: ModelBench) -> None:
    """Finite logits (n, classes); one column is allowed to any head but softmax. Outputs carry the declared names."""
    batch, model = bench.batch(bench.model), bench.model
    found = bench.logits(model)
    widths = {len(model.classes)} if model.head == "softmax" else {1, len(model.classes)}
    widths = {1} if model.head in ("ordinal", "regression") else widths
    allowed = " or ".join(str((len(batch), width)) for width in sorted(widths))
    claim(found.ndim == 2 and len(found) == len(batch), f"logits have shape {tuple(found.shape)}; allowed: {allowed}.")
    claim(found.shape[1] in widths, f"logits have shape {tuple(found.shape)}; allowed: {allowed}.")
    claim(bool(found.isfinite().all()), "some logits are infinite or NaN.")
    missing = set(model.outputs) - set(model.forward(batch.images, **batch.inputs))
    claim(not missing, f"declares outputs that the network does not give: {', '.join(sorted(missing))}.")


def the_same_images_give_the_same_logits(bench: ModelBench) -> None:
    """Two calls agree to the bit: no dropout, no statistics of the batch that move."""
    claim(torch.equal(bench.logits(bench.model), bench.logits(bench.model)), "two calls on the same images differ.")


def a_batch_equals_its_singles(bench: ModelBench) -> None:
    """Each image of a batch gets the logits that it gets alone: 1e-10 of the largest, in float64."""
    batch = bench.batch(bench.precise, torch.float64)
    with torch.no_grad():
        alone = [batch.model.forward(one.images, **one.inputs)[batch.output] for one in batch.singles()]
    worst = difference(bench.logits(bench.precise, torch.float64), torch.cat(alone))
    claim(worst <= TOLERANCE, f"logits in a batch and alone differ by {worst:.1e}; allowed: {TOLERANCE:.0e}.")


def prepared_samples_lie_on_one_grid(bench: ModelBench) -> None:
    """Image float32 and finite; annotations float32 in 0…1 (densities above 0); field bool; all of one shape."""
    for sample in bench.prepared:
        claim(sample.image.dtype == np.float32, f"the image is {sample.image.dtype}; allowed: float32.")
        claim(bool(np.isfinite(sample.image).all()), "the image is infinite or NaN somewhere.")
        claim(sample.space == bench.prepared[0].space, f"grids {sample.space} and {bench.prepared[0].space} differ.")
        for annotation in sample.annotations:
            _claim_annotation(annotation.values, annotation.kind, sample.space)
        claim(sample.field is not None, "the field is missing; prepare must say where there is image.")
        assert sample.field is not None
        claim(sample.field.dtype == bool and sample.field.shape == sample.space, "the field is not bool on the grid.")


def preparing_leaves_the_sample_untouched(bench: ModelBench) -> None:
    """The native sample keeps its bits, id, label and patient; preparing twice gives the same bits."""
    native = bench.natives[0]
    before = pickle.dumps(native)
    first, second = bench.model.prepare(native), bench.model.prepare(native)
    claim(pickle.dumps(native) == before, "prepare writes into the sample it is given.")
    claim(np.array_equal(first.image, second.image), "preparing twice gives other bits.")
    names = ("id", "label", "patient")
    lost = [name for name in names if getattr(first, name) != getattr(native, name)]
    claim(not lost, f"prepare changes {', '.join(lost)}.")
    claim(first.findings() == native.findings(), f"findings {native.findings()} became {first.findings()}.")


def the_geometry_maps_masks_back(bench: ModelBench) -> None:
    """Each mask's centre, through the geometry, lies within one pixel of the grid of where it lay on the image."""
    for native, prepared in zip(bench.natives, bench.prepared):
        geometry = prepared.geometry
        claim(geometry is not None, "the geometry is missing.")
        assert geometry is not None
        claim(geometry.native == native.space, f"the geometry's native shape is {geometry.native}, not {native.space}.")
        step = float(np.abs(geometry.affine[:-1, :-1]).sum(1).max())
        for one, other in _masks(native, prepared):
            gap = float(np.abs(geometry.to_native(_center(other)[None])[0] - _center(one)).max())
            claim(
                gap <= max(step, 1.0), f"a mask's centre comes back {gap:.1f} pixels off; a grid pixel has {step:.1f}."
            )


def masks_keep_their_area(bench: ModelBench) -> None:
    """The area of each mask, in pixels of the image, is kept to 5 %: small lesions are averaged, not dropped."""
    for native, prepared in zip(bench.natives, bench.prepared):
        assert prepared.geometry is not None
        pixel = abs(float(np.linalg.det(prepared.geometry.affine[:-1, :-1])))
        for one, other in _masks(native, prepared):
            kept = float(other.sum()) * pixel / float(one.sum())
            claim(
                abs(kept - 1) <= AREA,
                f"{kept:.0%} of a mask's area is kept; allowed: {1 - AREA:.0%} to {1 + AREA:.0%}.",
            )


def readings_decide_on_a_class(bench: ModelBench) -> None:
    """Probabilities in 0…1, summing to 1 for a softmax; a decision among the classes; also for extreme logits."""
    width = bench.logits(bench.model).shape[1]
    for scale in (0.0, 1.0, 1e3, -1e3):
        prediction = bench.model.read(scale * np.linspace(-1, 1, width) if width > 1 else np.array([scale]))
        claim(0 <= prediction.decision < len(bench.model.classes), f"decides on class {prediction.decision}.")
        if bench.model.head == "regression":
            continue
        chances = prediction.probabilities
        claim(bool(((chances >= 0) & (chances <= 1)).all()), f"probabilities {chances.tolist()} leave 0…1.")
        total = float(chances.sum())
        claim(bench.model.head != "softmax" or abs(total - 1) <= 1e-6, f"softmax probabilities sum to {total}.")


def layers_can_be_observed(bench: ModelBench) -> None:
    """Every layer is a module of the network and, by ``spatial``, (n, channel, *space); others are refused.

    ``last`` is one of them. A model that offers none does not claim ``layers`` among its capabilities.
    """
    model = bench.model
    if "layers" not in model.capabilities:
        raise NotApplicable("the model offers no layers")
    claim(model.last_layer in model.layers(), f"the last layer {model.last_layer!r} is not among the layers.")
    for name in model.layers():
        claim(model.layer(name) == name, f"the layer {name!r} is taken for {model.layer(name)!r}.")
    gradients(bench.batch(model))  # which raises what keeps a layer from being observed
    claim(_refused(lambda: model.layer("no such layer")), "a layer that does not exist is accepted.")


def models_of_one_grid_prepare_alike(bench: ModelBench) -> None:
    """Where ``grid`` is that of the preparation, ``prepare`` gives what the preparation gives: baselines are shared."""
    preparation = bench.model.preparation
    if preparation is None or bench.model.grid != preparation.identity:
        raise NotApplicable("no other model has its grid")
    same = [np.array_equal(preparation(one).image, other.image) for one, other in zip(bench.natives, bench.prepared)]
    claim(all(same), "its grid is that of its preparation, but prepare gives another image.")


def targets_are_the_classes(bench: ModelBench) -> None:
    """``target`` gives a class's index by name and by index, and refuses what is no class."""
    model = bench.model
    for index, name in enumerate(model.classes):
        indices = {model.target(name), model.target(index)}
        claim(indices == {index}, f"class {name!r} is logit {index}, but target gives {sorted(indices)}.")
    claim(_refused(lambda: model.target(len(model.classes))), "a target outside the classes is accepted.")


def collating_reads_only_the_extras_that_are_declared(bench: ModelBench) -> None:
    """``collate`` works on samples that have no other extras than ``extras`` names, and gives the same inputs."""
    extras = bench.model.extras
    stripped = [
        replace(sample, extras={name: value for name, value in sample.extras.items() if name in extras})
        for sample in bench.prepared
    ]
    try:
        inputs = bench.model.collate(stripped)
    except KeyError as error:
        raise Violation(f"collate reads {error}, which extras does not name.") from error
    claim(pickle.dumps(inputs) == pickle.dumps(bench.model.collate(bench.prepared)), "inputs depend on other extras.")


def views_equal_the_network(bench: ModelBench) -> None:
    """The canonical and the folded view give the logits of the network itself: 1e-10 of the largest, in float64."""
    batch = bench.batch(bench.precise, torch.float64)
    expected = bench.logits(bench.precise, torch.float64)
    for folded in (False, True):
        view = bench.precise.view(batch.images, batch.inputs, folded)
        if isinstance(view, Opaque):
            raise NotApplicable(f"the network cannot be traced: {view.reason}")
        with torch.no_grad():
            worst = difference(expected, view(batch.images, batch.inputs)[0][batch.output])
        claim(worst <= TOLERANCE, f"the {'folded' if folded else 'canonical'} view differs by {worst:.1e}.")


def gradients_reach_the_image(bench: ModelBench) -> None:
    """The gradient of a logit by the image is finite and not zero everywhere, where the model claims gradients."""
    if "gradients" not in bench.model.capabilities:
        raise NotApplicable("the model claims no gradients")
    found = gradients(bench.batch(bench.model)).images
    claim(bool(found.isfinite().all()), "the gradient is infinite or NaN somewhere.")
    claim(bool((found != 0).any()), "the gradient is zero everywhere.")


def building_twice_gives_the_same_network(bench: ModelBench) -> None:
    """Two builds, and a pickled copy, have the same weights to the bit: the identity names them."""
    expected = bench.model.network.state_dict()
    for made in (bench.model.with_(), pickle.loads(pickle.dumps(bench.model))):
        found = made.network.state_dict()
        differing = [name for name, value in expected.items() if not torch.equal(value, found[name])]
        claim(not differing, f"built again, {len(differing)} weights differ, such as {''.join(differing[:1])}.")


def the_network_is_a_module_in_evaluation_mode(bench: ModelBench) -> None:
    """``build`` gives an ``nn.Module``; no part of ``network`` is in training mode."""
    claim(isinstance(bench.model.build(), nn.Module), "build does not give an nn.Module.")
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


def _refused(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except ModelError:
        return True
    return False


def _claim_annotation(values: Array, kind: str, space: tuple[int, ...]) -> None:
    claim(values.dtype == np.float32, f"an annotation is {values.dtype}; allowed: float32.")
    claim(values.shape == space, f"an annotation has shape {values.shape} on the grid {space}.")
    highest = np.inf if kind == "density" else 1 + 1e-6
    claim(bool(((values >= 0) & (values <= highest)).all()), f"values of a {kind} leave 0…1.")


def _masks(native: Sample, prepared: Sample) -> list[tuple[Array, Array]]:
    """The masks before and after, where neither is empty."""
    pairs = zip(native.annotations, prepared.annotations)
    return [(one.values, other.values) for one, other in pairs if one.values.any()]


def _center(values: Array) -> Array:
    """The centre of mass (d,) in continuous indices; a pixel's own centre is at its index plus a half."""
    places = np.indices(values.shape) + 0.5
    return np.asarray((places * values).reshape(values.ndim, -1).sum(1) / values.sum())
