"""Laws of explainers on any network: shape of maps, reproducibility, independence of the batch, and no side effects."""

import gc
import pickle
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..batch import Batch
from ..explainer import Explainer
from ..model import Model
from ..passes import gradients, logits
from . import snapshot
from .bench import SAMPLES, ExplainerBench, batch_of, difference, networks_of, values_of
from .check import NotApplicable, claim
from .toys import Regions

TOLERANCE = 1e-10
COSINE = 0.9999
CALLS = 200
"""Calls in the check of memory, for an explainer of one pass."""
FEWEST_CALLS = 15
"""The fewest calls, for an explainer of many passes."""


def is_defined_on_the_model_it_is_tried_with(bench: ExplainerBench) -> None:
    """The verdict is exact, or approximate with a reason; otherwise the other laws could not be checked."""
    explainer = bench.explainer(bench.model)
    verdict = explainer.verdict(bench.model)
    claim(verdict.level in ("exact", "approximate"), f"{verdict.reason}; give the check a model it is defined on.")
    claim(verdict.level == "exact" or bool(verdict.reason), "the verdict is approximate without a reason.")


def is_undefined_where_a_capability_is_lacking(bench: ExplainerBench) -> None:
    """On a model without a capability of ``requires`` the verdict is undefined, with a reason."""
    explainer = _explainer(bench)
    if "model_free" in explainer.traits or not explainer.requires:
        raise NotApplicable("it requires nothing of the model")
    for capability in sorted(explainer.requires):
        verdict = explainer.verdict(_lacking(bench.model, capability))
        claim(verdict.level == "undefined", f"the verdict is {verdict.level} on a model without {capability}.")
        claim(bool(verdict.reason), "the verdict is undefined without a reason.")


def layers_belong_to_the_model(bench: ExplainerBench) -> None:
    """Every explainer that this one expands to has its class and observes layers of the model."""
    for explainer in _expanded(bench):
        claim(type(explainer) is type(bench.component), f"expands to {type(explainer).__name__}.")
        unknown = set(explainer.layers(bench.model)) - bench.model.outline.layers
        claim(not unknown, f"asks for layers {sorted(unknown)}, which the model does not have.")


def maps_have_the_form_of_the_images(bench: ExplainerBench) -> None:
    """Shape (n, c or 1, *space) and the dtype of the images, in float32 and float64 and in every declared space."""
    for dtype in (torch.float32, torch.float64):
        bench.explained(bench.batch(dtype))
    for dimensions in sorted(_explainer(bench).spaces & {2, 3}):
        try:
            bench.explained(bench.toy(Regions(dimensions=dimensions)))
        except NotApplicable:
            continue


def maps_are_finite(bench: ExplainerBench) -> None:
    """No value is infinite or NaN, also for black images."""
    batch = bench.batch()
    for images in (batch.images, torch.zeros_like(batch.images)):
        claim(bool(bench.explained(batch.at(images)).isfinite().all()), "some values are infinite or NaN.")


def notes_hold_one_entry_per_sample(bench: ExplainerBench) -> None:
    """Each note holds one number or word per sample, each kept value one array per sample."""
    explanation = bench.explainer(bench.precise)(bench.batch())
    for name, entries in [*explanation.notes.items(), *explanation.kept.items()]:
        count = len(entries) if hasattr(entries, "__len__") else None
        claim(count == SAMPLES, f"entries of {name!r}: {count}; allowed: {SAMPLES}, one per sample.")
    for name, entries in explanation.notes.items():
        kinds = {type(entry).__name__ for entry in entries if not isinstance(entry, (int, float, str))}
        claim(not kinds, f"note {name!r} holds {', '.join(sorted(kinds))}; allowed: numbers and words.")


def images_and_inputs_are_left_untouched(bench: ExplainerBench) -> None:
    """Images, further inputs and targets do not change."""
    batch = bench.batch()
    tensors = [batch.images, batch.targets, *(value for value in batch.inputs.values() if isinstance(value, Tensor))]
    before = [tensor.clone() for tensor in tensors]
    bench.explained(batch)
    claim(all(map(torch.equal, before, tensors)), "images, inputs or targets were written to.")


def shared_results_are_left_untouched(bench: ExplainerBench) -> None:
    """Shared results that the batch already holds do not change, and give the same map."""
    fresh = bench.batch()
    used = bench.batch()
    shared = _shared(used)
    before = {name: value.clone() for name, value in shared.items()}
    claim(torch.equal(bench.explained(fresh), bench.explained(used)), "the map depends on earlier shared results.")
    changed = [name for name, value in shared.items() if not torch.equal(before[name], value)]
    claim(not changed, f"the shared {', '.join(changed)} were written to.")


def the_same_seed_gives_the_same_map(bench: ExplainerBench) -> None:
    """Two calls on equal batches agree to the bit, for any state of the global random generators."""
    first = bench.explained(bench.batch(torch.float32))
    torch.rand(7)
    claim(torch.equal(first, bench.explained(bench.batch(torch.float32))), "two calls with one seed differ.")


def another_seed_gives_another_map_where_seeded(bench: ExplainerBench) -> None:
    """With the trait ``seeded`` another seed changes the map; without it the map stays the same to the bit."""
    same = torch.equal(bench.explained(bench.batch(seed=0)), bench.explained(bench.batch(seed=1)))
    if "seeded" in _explainer(bench).traits:
        claim(not same, "claims the trait 'seeded', but another seed gives the same map.")
    claim(same or "seeded" in _explainer(bench).traits, "the map depends on the seed; declare the trait 'seeded'.")


def a_batch_equals_its_singles(bench: ExplainerBench) -> None:
    """Each sample of a batch has the map that it has alone, to 1e-10 of its largest value in float64."""
    batch = bench.batch()
    together = bench.explained(batch)
    alone = torch.cat([bench.explained(single) for single in batch.singles()])
    _claim_equal(together, alone, "in a batch and alone")


def any_micro_batch_size_gives_the_same_map(bench: ExplainerBench) -> None:
    """Maps with 1, 2, 3 or all samples per pass agree: to 1e-10 in float64, by a cosine of 0.9999 in float32."""
    whole = {dtype: bench.explained(bench.batch(dtype)) for dtype in (torch.float64, torch.float32)}
    for rows in (1, 2, 3):
        _claim_equal(whole[torch.float64], bench.explained(bench.batch(rows=rows)), f"with rows={rows}")
        _claim_parallel(whole[torch.float32], bench.explained(bench.batch(torch.float32, rows=rows)), rows)


def the_model_is_left_as_it_was(bench: ExplainerBench) -> None:
    """Hooks, forwards, flags, weights and gradients are the same after ``explain`` itself, which others may nest.

    The random states and torch's global settings are the same after a guarded call.
    """
    batch = bench.batch()
    networks = networks_of(batch)
    process = snapshot.of_process()
    before = snapshot.of_networks(networks)
    bench.explained(batch)
    _claim_unchanged(process, snapshot.of_process())
    bench.explainer(batch.model).explain(bench.batch())
    _claim_unchanged(before, snapshot.of_networks(networks))


def the_model_is_left_as_it_was_after_an_error(bench: ExplainerBench) -> None:
    """An error in the middle of the network's forward is raised, and the guarded call restores everything."""
    if "model_free" in _explainer(bench).traits:
        raise NotApplicable("model_free: it runs no network")
    batch = bench.batch()
    networks = networks_of(batch)
    before = snapshot.of_networks(networks), snapshot.of_process()
    claim(not _explains_while_failing(bench, batch, networks), "it returns a map although the network failed.")
    _claim_unchanged(before[0], snapshot.of_networks(networks))
    _claim_unchanged(before[1], snapshot.of_process())


def a_pickled_copy_gives_the_same_map(bench: ExplainerBench) -> None:
    """A pickled copy, as worker processes receive it, gives the same map to the bit."""
    explainer = bench.explainer(bench.precise)
    copy = pickle.loads(pickle.dumps(explainer))
    expected = values_of(explainer(bench.batch()))
    claim(torch.equal(expected, values_of(copy(bench.batch()))), "a pickled copy gives a different map.")


def memory_does_not_grow(bench: ExplainerBench) -> None:
    """The later of 200 calls, each with another sample, leave no tensor, graph, hook or array alive.

    Explainers that need several passes per sample are called less often, but 15 times at least.
    """
    part = max(CALLS // max(1, *_explainer(bench).passes), FEWEST_CALLS) // 3
    with snapshot.new_objects_only():
        first, second = (_alive_after(bench, part * turn, part) for turn in range(2))
        with snapshot.traced():
            before = snapshot.arrays()
            third = _alive_after(bench, part * 2, part)
            arrays = snapshot.arrays() - before
        kinds = Counter(type(object).__name__ for object in gc.get_objects()).most_common(3)
    # An object that is created only once may come late; a leak of every call shows in both parts.
    objects = min(second - first, third - second)
    names = ", ".join(f"{count} {kind}" for kind, count in kinds)
    claim(objects < part, f"{part} calls leave {objects} objects; the new ones are {names} and others.")
    claim(arrays < part, f"{part} calls leave {arrays} arrays.")


LAWS: tuple[Callable[[ExplainerBench], None], ...] = (
    is_defined_on_the_model_it_is_tried_with,
    is_undefined_where_a_capability_is_lacking,
    layers_belong_to_the_model,
    maps_have_the_form_of_the_images,
    maps_are_finite,
    notes_hold_one_entry_per_sample,
    images_and_inputs_are_left_untouched,
    shared_results_are_left_untouched,
    the_same_seed_gives_the_same_map,
    another_seed_gives_another_map_where_seeded,
    a_batch_equals_its_singles,
    any_micro_batch_size_gives_the_same_map,
    the_model_is_left_as_it_was,
    the_model_is_left_as_it_was_after_an_error,
    a_pickled_copy_gives_the_same_map,
    memory_does_not_grow,
)


def _explainer(bench: ExplainerBench) -> Explainer:
    return bench.explainer(bench.model)


def _lacking(model: Model, capability: str) -> Model:
    """The same model without a capability."""
    other = model.with_()
    other.__dict__["capabilities"] = model.capabilities - {capability}
    return other


def _expanded(bench: ExplainerBench) -> list[Explainer]:
    assert isinstance(bench.component, Explainer)
    return list(bench.component.expand(bench.model))


def _shared(batch: Batch) -> Mapping[str, Tensor]:
    """Compute the shared results of a batch."""
    results = {"logits": logits(batch)}
    if "gradients" in batch.model.capabilities:
        gradient = gradients(batch)
        results["gradients of the images"] = gradient.images
        for name, layer in gradient.layers.items():
            results |= {f"activations of {name}": layer.activation, f"gradients of {name}": layer.gradient}
    return results


def _claim_equal(expected: Tensor, actual: Tensor, where: str) -> None:
    worst = max(map(difference, expected, actual))
    claim(worst <= TOLERANCE, f"maps differ {where} by {worst:.1e} of the largest value; allowed: {TOLERANCE:.0e}.")


def _claim_parallel(expected: Tensor, actual: Tensor, rows: int) -> None:
    cosines = torch.nn.functional.cosine_similarity(expected.flatten(1), actual.flatten(1))
    equal = (expected.flatten(1) == actual.flatten(1)).all(1)  # also maps of zeros, which have no cosine
    worst = float(torch.where(equal, 1.0, cosines).min())
    claim(worst >= COSINE, f"maps have a cosine of {worst:.6f} with rows={rows}; allowed: {COSINE} or more.")


def _claim_unchanged(before: snapshot.Snapshot, after: snapshot.Snapshot) -> None:
    changed = snapshot.changes(before, after)
    names = ", ".join(changed[:3])
    if len(changed) > 3:
        names += " and others"
    claim(not changed, f"changed: {names}.")


def _explains_while_failing(bench: ExplainerBench, batch: Batch, networks: list[nn.Module]) -> bool:
    """Whether a call returns a map although a layer in the middle of each network raises an error."""
    handles = [_middle(network).register_forward_pre_hook(_fail) for network in networks]
    try:
        bench.explained(batch)
    except Exception:
        return False
    finally:
        for handle in handles:
            handle.remove()
    return True


def _middle(network: nn.Module) -> nn.Module:
    leaves = [module for module in network.modules() if not list(module.children())]
    return leaves[len(leaves) // 2]


def _alive_after(bench: ExplainerBench, start: int, calls: int) -> int:
    """The number of objects that the garbage collector tracks after some calls, each with another sample id."""
    explainer = _explainer(bench)
    for number in range(start, start + calls):
        explainer(batch_of(explainer, bench.model, [replace(bench.samples[0], id=str(number))], torch.float32))
    gc.collect()
    return len(gc.get_objects())


def _fail(module: nn.Module, arguments: Any) -> None:
    raise RuntimeError("this network was made to fail")
