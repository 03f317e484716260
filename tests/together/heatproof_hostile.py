"""Hostile plugins: what an explainer or a metric could do to the process, the network, the batch and the others.

``EXPLAINING`` and ``MEASURING`` hold one function by name each; a new row is a new function.
"""

import builtins
import gc
import json
import locale
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import heatproof_parts
from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.explainer import REDUCTIONS, Explainer
from heatproof.hooks import hookimpl
from heatproof.metric import Case, Metric
from heatproof.model import Model
from heatproof.passes import gradients, logits
from heatproof.records import Sample
from heatproof.testing.toys import Blobs, BlobsParams, Residual

EXPLAINING: dict[str, Callable[[Batch], Any]] = {}
MEASURING: dict[str, Callable[[Case], Any]] = {}
HARMLESS: set[str] = set()
"""Names of functions after which the plugin itself may be valid: what they do is restored silently, or not shared."""


def explaining(act: Callable[[Batch], Any]) -> Callable[[Batch], Any]:
    """Add what an explainer does."""
    EXPLAINING[act.__name__] = act
    return act


def harmless(act: Callable[[Batch], Any]) -> Callable[[Batch], Any]:
    """Add what an explainer may do."""
    HARMLESS.add(act.__name__)
    return explaining(act)


def measuring(act: Callable[[Case], Any]) -> Callable[[Case], Any]:
    """Add what a metric does."""
    MEASURING[act.__name__] = act
    return act


# ends


@explaining
def raises(batch: Batch) -> None:
    raise ValueError("this plugin was made to fail")


@explaining
def exits(batch: Batch) -> None:
    sys.exit(0)


@explaining
def exits_at_once(batch: Batch) -> None:
    os._exit(0)


@explaining
def aborts(batch: Batch) -> None:
    os.abort()


@explaining
def stops_a_generator(batch: Batch) -> None:
    raise GeneratorExit


# the batch and shared results


@explaining
def writes_images(batch: Batch) -> None:
    batch.images.mul_(2)


@explaining
def writes_images_as_data(batch: Batch) -> None:
    batch.images.data.mul_(2)


@explaining
def writes_images_as_array(batch: Batch) -> None:
    batch.images.numpy()[...] = 0


@explaining
def writes_one_pixel_as_array(batch: Batch) -> None:
    batch.images.numpy()[0, 0, 3, 5] += 1


@explaining
def replaces_images(batch: Batch) -> None:
    batch.images = batch.images * 2


@explaining
def empties_images(batch: Batch) -> None:
    batch.images.set_(torch.zeros_like(batch.images))


@explaining
def resizes_images(batch: Batch) -> None:
    batch.images.resize_(1, 3, 16, 16)


@explaining
def writes_targets(batch: Batch) -> None:
    batch.targets.fill_(0)
    batch.targets.data.add_(1)


@explaining
def writes_field(batch: Batch) -> None:
    batch.field.data.logical_not_()


@explaining
def adds_an_input(batch: Batch) -> None:
    batch.inputs["other"] = torch.zeros(3)


@explaining
def writes_gradients(batch: Batch) -> None:
    gradients(batch).images.abs_()


@explaining
def writes_gradients_as_data(batch: Batch) -> None:
    gradients(batch).images.data.abs_()


@explaining
def writes_gradients_as_array(batch: Batch) -> None:
    gradients(batch).images.numpy()[...] = 0


@explaining
def writes_layers(batch: Batch) -> None:
    for layer in gradients(batch).layers.values():
        layer.activation.data.zero_()
        layer.gradient.data.zero_()


@explaining
def releases_layers(batch: Batch) -> None:
    gradients(batch)
    batch.release("gradients", lambda result: None)


@explaining
def writes_logits(batch: Batch) -> None:
    logits(batch).data.neg_()


# the network


@explaining
@torch.no_grad()
def writes_weights(batch: Batch) -> None:
    for parameter in batch.model.network.parameters():
        parameter.mul_(2)


@explaining
def writes_weights_as_data(batch: Batch) -> None:
    for parameter in batch.model.network.parameters():
        parameter.data.mul_(2)


@explaining
def writes_weights_of_the_view(batch: Batch) -> None:
    for parameter in batch.view.module.parameters():
        parameter.data.mul_(2)


@explaining
def writes_a_weight_as_array(batch: Batch) -> None:
    parameter = next(iter(batch.view.module.parameters()))
    parameter.detach().numpy().flat[0] += 1


@explaining
def gives_weights_other_memory(batch: Batch) -> None:
    for parameter in batch.model.network.parameters():
        parameter.data = torch.zeros_like(parameter)


@explaining
@torch.no_grad()
def sets_weights(batch: Batch) -> None:
    for parameter in batch.view.module.parameters():
        parameter.set_(torch.zeros_like(parameter))


@explaining
def loads_weights(batch: Batch) -> None:
    network = batch.model.network
    network.load_state_dict({name: torch.zeros_like(value) for name, value in network.state_dict().items()})


@explaining
def writes_buffers(batch: Batch) -> None:
    for buffer in batch.model.network.buffers():
        buffer.data.add_(1)


@harmless
def replaces_parameters(batch: Batch) -> None:
    for network in (batch.model.network, batch.view.module):
        for module in network.modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                setattr(module, name, nn.Parameter(torch.zeros_like(parameter)))
    gradients(batch)


@harmless
def freezes_weights(batch: Batch) -> None:
    batch.model.network.requires_grad_(False)


@harmless
def hooks_modules(batch: Batch) -> None:
    for module in batch.view.module.modules():
        module.register_forward_hook(lambda module, arguments, output: output * 2)
    gradients(batch)


@harmless
def hooks_modules_for_a_while(batch: Batch) -> None:
    handle = batch.view.module.register_forward_hook(lambda module, arguments, output: output * 2)
    logits(batch), gradients(batch)
    handle.remove()


@harmless
def replaces_a_forward(batch: Batch) -> None:
    batch.view.module.forward = lambda *arguments: arguments[0].flatten(1)[:, :3]
    logits(batch)


@explaining
def replaces_a_forward_of_a_class(batch: Batch) -> None:
    nn.ReLU.forward = lambda self, values: values * 2
    gradients(batch)


@explaining
def adds_a_call_to_a_class(batch: Batch) -> None:
    nn.Conv2d.__call__ = lambda self, values: values


# the process


@explaining
def hooks_all_modules(batch: Batch) -> None:
    nn.modules.module.register_module_forward_hook(lambda module, arguments, output: output)


@explaining
def hooks_all_backwards(batch: Batch) -> None:
    nn.modules.module.register_module_full_backward_hook(lambda module, inputs, outputs: None)


@explaining
def replaces_relu(batch: Batch) -> None:
    functional.relu = lambda values, inplace=False: values
    torch.relu = lambda values: values


@harmless
def replaces_relu_for_a_while(batch: Batch) -> None:
    before = functional.relu
    functional.relu = lambda values, inplace=False: values
    gradients(batch)
    functional.relu = before


@explaining
def replaces_the_code_of_relu(batch: Batch) -> None:
    functional.relu.__code__ = (lambda input, inplace=False: input * 0.5).__code__


@explaining
def replaces_the_code_of_a_forward(batch: Batch) -> None:
    def forward(self: Any, input: Tensor) -> Tensor:
        return input * 0.5

    nn.Conv2d.forward.__code__ = forward.__code__


class Functions(TorchFunctionMode):
    """Doubles what ``relu`` returns."""

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), settings: Any = None) -> Any:
        result = function(*arguments, **(settings or {}))
        if function in (functional.relu, torch.relu):
            return result * 2
        return result


class Operations(TorchDispatchMode):
    """Doubles the results of convolutions."""

    def __torch_dispatch__(self, operation: Any, types: Any, arguments: Any = (), settings: Any = None) -> Any:
        result = operation(*arguments, **(settings or {}))
        if str(operation) == "aten.convolution.default":
            return result * 2
        return result


@explaining
def enters_a_mode_of_functions(batch: Batch) -> None:
    Functions().__enter__()


@explaining
def enters_a_mode_of_operations(batch: Batch) -> None:
    Operations().__enter__()


@explaining
def doubles_saved_tensors(batch: Batch) -> None:
    torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor * 2, lambda tensor: tensor).__enter__()


@explaining
def replaces_an_explainer_of_another_plugin(batch: Batch) -> None:
    heatproof_parts.Slope.explain = lambda self, batch: batch.images * 0 + 1


@explaining
def replaces_a_shared_pass(batch: Batch) -> None:
    heatproof_parts.gradients = lambda batch: 1 / 0


@explaining
def replaces_the_writing_of_json(batch: Batch) -> None:
    json.dumps = lambda *arguments, **settings: "{}"


@explaining
def replaces_a_reduction(batch: Batch) -> None:
    REDUCTIONS["max"] = REDUCTIONS["sum"]


@explaining
def replaces_a_method_of_tensors(batch: Batch) -> None:
    Tensor.abs = lambda self: self


@explaining
def replaces_the_mean(batch: Batch) -> None:
    np.mean = np.maximum = lambda *arguments, **settings: 0.0


@explaining
def replaces_a_builtin(batch: Batch) -> None:
    builtins.sum = lambda *arguments: 0


@explaining
def replaces_a_method_of_batches(batch: Batch) -> None:
    Batch.pick = lambda self, values: values[:, 0]


@harmless
def draws(batch: Batch) -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)


@explaining
def sets_the_dtype(batch: Batch) -> None:
    torch.set_default_dtype(torch.float64)
    gradients(batch)


@harmless
def sets_the_dtype_for_a_while(batch: Batch) -> None:
    torch.set_default_dtype(torch.float64)
    gradients(batch)
    torch.set_default_dtype(torch.float32)


@explaining
def sets_the_device(batch: Batch) -> None:
    torch.set_default_device("meta")


@explaining
def forgets_gradients(batch: Batch) -> None:
    torch.set_grad_enabled(False)


@explaining
def infers(batch: Batch) -> None:
    builtins.hostile_mode = torch.inference_mode()  # type: ignore[attr-defined]
    builtins.hostile_mode.__enter__()  # type: ignore[attr-defined]


@explaining
def casts(batch: Batch) -> None:
    torch.set_autocast_enabled("cpu", True)


@explaining
def sets_threads(batch: Batch) -> None:
    torch.set_num_threads(2)


@explaining
def is_deterministic(batch: Batch) -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)


@explaining
def sets_backends(batch: Batch) -> None:
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("medium")


@explaining
def flushes_tiny_numbers(batch: Batch) -> None:
    torch.set_flush_denormal(True)


@explaining
def detects_anomalies(batch: Batch) -> None:
    torch.autograd.set_detect_anomaly(True)


@explaining
def raises_on_division(batch: Batch) -> None:
    np.seterr(all="raise")


@explaining
def sets_the_environment(batch: Batch) -> None:
    os.environ["HEATPROOF_CACHE"] = "/nowhere"
    os.environ.pop("PATH")


@explaining
def changes_the_directory(batch: Batch) -> None:
    os.chdir("/")


@explaining
def raises_warnings(batch: Batch) -> None:
    warnings.simplefilter("error")


@explaining
def hides_modules(batch: Batch) -> None:
    sys.path.clear()


@explaining
def stops_collecting(batch: Batch) -> None:
    gc.disable()


@explaining
def limits_recursion(batch: Batch) -> None:
    sys.setrecursionlimit(300)


@explaining
def changes_the_locale(batch: Batch) -> None:
    locale.setlocale(locale.LC_ALL, "C.UTF-8" if locale.setlocale(locale.LC_ALL) == "C" else "C")


@explaining
def ignores_interrupts(batch: Batch) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


# the output


@harmless
def prints(batch: Batch) -> None:
    print("GARBAGE")
    sys.stdout.write("GARBAGE\n")


@explaining
def replaces_the_output(batch: Batch) -> None:
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115


@explaining
def closes_the_output(batch: Batch) -> None:
    sys.stdout.close()
    sys.stderr.close()


@explaining
def closes_the_descriptors(batch: Batch) -> None:
    os.close(1)
    os.close(2)


# metrics


@measuring
def exits_while_measuring(case: Case) -> None:
    sys.exit(0)


@measuring
def writes_the_heatmap(case: Case) -> None:
    assert case.heatmap is not None
    case.heatmap.values[...] = 0


@measuring
def writes_the_image(case: Case) -> None:
    case.sample.image[...] = 0


@measuring
def writes_the_annotations(case: Case) -> None:
    for annotation in case.sample.annotations:
        annotation.values[...] = 1


@measuring
def raises_on_division_while_measuring(case: Case) -> None:
    np.seterr(all="raise")


@measuring
def replaces_the_maximum(case: Case) -> None:
    np.maximum = lambda *arguments: 0.0


@measuring
def writes_the_images_of_the_batch(case: Case) -> None:
    assert case.batch is not None
    case.batch.images.data.zero_()


@measuring
def writes_weights_while_measuring(case: Case) -> None:
    assert case.batch is not None
    for parameter in case.batch.view.module.parameters():
        parameter.data.mul_(2)


class ActParams(Params):
    """The name of what the plugin does."""

    act: str


class Hostile(Explainer[ActParams]):
    """Does something, then returns a map."""

    def layers(self, model: Model) -> tuple[str, ...]:
        """The last layer, so that it runs while layers are shared."""
        return (model.last_layer,)

    def explain(self, batch: Batch) -> Tensor:
        """Maps of ones."""
        EXPLAINING[self.params.act](batch)
        return torch.ones(len(batch), 3, *batch.space, dtype=torch.float32)


class Meddling(Metric[ActParams]):
    """Does something, then returns a number."""

    needs = frozenset({"heatmap", "model", "prediction"})

    def measure(self, case: Case) -> dict[str, float]:
        """Measure nothing."""
        MEASURING[self.params.act](case)
        return {"value": 1.0}


class LeavingParams(BlobsParams):
    """The method that exits."""

    when: str = "load"


class Leaving(Blobs[LeavingParams]):
    """Images that end the process when the second one is loaded."""

    def load(self, id: str) -> Sample:
        """Load an image, or exit."""
        if id.endswith("5"):
            sys.exit(0)
        return super().load(id)


class Unprepared(Residual):
    """A model that ends the process when it prepares a sample, and sets a dtype when it builds its network."""

    def prepare(self, sample: Sample) -> Sample:
        """Prepare a sample, or exit."""
        if sample.id.endswith("5"):
            os._exit(0)
        return super().prepare(sample)


@hookimpl
def heatproof_explainers() -> Mapping[str, str]:
    """Declare the explainer."""
    return {"hostile": "heatproof_hostile:Hostile"}


@hookimpl
def heatproof_metrics() -> Mapping[str, str]:
    """Declare the metric."""
    return {"meddling": "heatproof_hostile:Meddling"}


@hookimpl
def heatproof_datasets() -> Mapping[str, str]:
    """Declare the dataset."""
    return {"leaving": "heatproof_hostile:Leaving"}


@hookimpl
def heatproof_models() -> Mapping[str, str]:
    """Declare the model."""
    return {"unprepared": "heatproof_hostile:Unprepared"}
