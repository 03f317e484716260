"""Comparing heatmap methods on a caller's own network and images, by the engine of the command line."""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from ..component import Component
from ..config.settings import RunConfig, from_plain
from ..errors import ConfigError, near
from ..executor import Serial
from ..imaging.window import Window
from ..model import Head
from ..registry.catalog import default
from ..results.finished import Results
from ..results.store import Run
from ..run.runner import run
from .images import GivenImages
from .inputs import Given, is_pair, parts
from .networks import device_of, precision_of, restored
from .progress import in_notebook, observer
from .result import Result

TEMPORARY: dict[str, tempfile.TemporaryDirectory[str]] = {}
"""The folders of runs without ``output``, by path, which live until Python ends or they are discarded."""
SAMPLES = "samples"
"""The folder of prepared samples in the run's own folder."""


def compare(
    network: Any, images: Any, *, explainers: Iterable[Any], metrics: Iterable[Any] = (), masks: Any = None,
    boxes: Any = None, densities: Any = None, labels: Any = None, patients: Any = None, ids: Any = None,
    classes: Sequence[str] | None = None, head: Head | None = None, preparation: Any = None, window: Any = None,
    target: Any = "predicted", output: Any = None, name: str = "images", progress: bool | None = None, **settings: Any,
) -> Result:  # fmt: skip
    """Compare heatmap methods on a network and images; return the ranking with everything behind it.

    ``network`` is a torch module, or a model of heatproof by name, by name and settings, or as an object. ``images``
    are an array or tensor (n, channel, height, width), or with the channels last or without the first axis; a list of
    arrays, images of Pillow or paths; a folder; a torch ``Dataset`` or ``DataLoader``; or a dataset of heatproof.

    ``masks`` (bool, 0 and 1, 0 and 255, shares, outlines, paths or a folder), ``boxes`` (x1, y1, x2, y2 in pixels) and
    ``densities`` have an entry per image, None where nobody looked, or are a mapping from finding to such entries.
    ``labels`` are indices or names of ``classes``, the names of the network's outputs in order. ``patients`` and
    ``ids`` are texts. Without ``patients``, each image is a patient of its own.

    ``preparation`` is the transform that makes an image the network's input, ``"unchanged"`` for images that are
    prepared already; by default the network's own record. ``window`` is which values become black and white, of images
    that are measured, as in CT: two numbers, ``percentiles`` of each image, or ``voi``, which a file names. ``head`` is
    how outputs are read (softmax, sigmoid, ordinal, regression). ``target`` is the class to explain: predicted, label,
    a name or an index, or a list of them.

    ``explainers`` and ``metrics`` are names, pairs of name and settings, or objects. ``output`` is the run's folder,
    which a later call resumes; without it, a temporary one. ``settings`` are those of a config: seed, device,
    precision, statistics, memory, executor. What is inferred is said in the result's ``remarks``.

    Raises ``HeatproofError`` with a sentence for what cannot be used. The network is put back as it was.
    """
    _require_known(settings)
    settings |= {"explainers": entries(explainers), "metrics": entries(metrics), "targets": several(target)}
    annotations = {"masks": masks, "boxes": boxes, "densities": densities}
    statements = Given(
        names_of(classes), head, preparation, labels, patients, ids, name, annotations, window_of(window)
    )
    return compared(network, images, statements, output, settings, progress)


def names_of(classes: Sequence[str] | None) -> tuple[str, ...] | None:
    """The names of classes; raises ``ConfigError`` for numbers, which are positions of outputs and not names."""
    if classes is None:
        return None
    classes = list(classes)
    numbers = [name for name in classes if not isinstance(name, str)]
    if numbers:
        raise ConfigError(f"classes are names, in the order of the outputs (seen: {numbers[0]!r}); give texts.")
    return tuple(map(str, classes))


def window_of(value: Any) -> Window | None:
    """A window as a setting of datasets; raises ``ConfigError`` for anything else."""
    if value is None:
        return None
    try:
        window: Window = TypeAdapter(Window).validate_python(value)
    except ValidationError:
        raise ConfigError(
            f"window is {value!r}; give two rising numbers, such as (-1000, 400), 'percentiles', 'voi' or 'type'."
        ) from None
    return window


def _require_known(settings: Mapping[str, Any]) -> None:
    """Raise ``ConfigError`` for an argument that neither ``compare`` nor a config has, or that it has otherwise."""
    known = set(RunConfig.model_fields) - {"datasets", "models", "targets", "combinations"}
    unknown = sorted(settings.keys() - known)
    if unknown:
        names = known | set(signature(compare).parameters) - {"settings"}
        raise ConfigError(f"compare has no argument {unknown[0]!r}; {near(unknown[0], names)}")


def _require_work(settings: Mapping[str, Any]) -> None:
    """Raise ``ConfigError`` for empty lists of explainers and metrics."""
    if not (settings["explainers"] or settings.get("metrics")):
        raise ConfigError("there is nothing to compare; name one or more explainers, as in explainers=['gradient'].")


def compared(
    network: Any, images: Any, given: Given, output: Any, settings: dict[str, Any], progress: bool | None
) -> Result:  # fmt: skip
    """The result of a run of a network on images with the settings of a config; in a temporary folder by default."""
    _require_work(settings)
    catalog = default()
    remarks: list[str] = []
    with ExitStack() as stack:
        if isinstance(network, nn.Module):
            stack.enter_context(restored(network, remarks.append))
            inferred = {"device": device_of(network, remarks.append), "precision": precision_of(network)}
            settings = inferred | settings
        dataset, model = parts(network, images, given, catalog, remarks.append)
        settings = {"datasets": [{"component": dataset}], "models": [model], **settings, "output": _folder(output)}
        if isinstance(dataset, GivenImages):
            # What lies in memory cannot be prepared again when a page is made of the run.
            settings.setdefault("cache", str(Path(settings["output"], SAMPLES)))
        if output is None:
            # The figures of a temporary run are drawn when they are asked for.
            settings.setdefault("report", {"figures": False})
        config = from_plain(settings, catalog)
        if in_notebook() and not isinstance(config.executor, Serial):
            remarks.append(f"Worker processes are started from a notebook, by executor {config.executor.short}.")
        finished = run(config, catalog, stack.enter_context(observer(progress)))
    remarks += [*model.notices(), *finished.remarks, *finished.faults]
    if finished.failures:
        remarks.append(f"Invalid or failed cases: {finished.failures}; table('scores') says why.")
    store = Run.open(finished.folder)
    for remark in remarks:
        store.log(remark)
    results = Results(finished.folder, catalog, config.components())
    return Result(results, tuple(remarks), finished.pages, temporary=output is None)


def entries(values: Any) -> list[Any]:
    """The entries of a config for components given by name, by name and settings, or as objects."""
    if isinstance(values, (str, Component)) or is_pair(values) or (isinstance(values, Mapping) and "use" in values):
        values = [values]
    if isinstance(values, type):
        raise ConfigError(f"{values.__name__} is a class; give an object of it, as in {values.__name__}().")
    if isinstance(values, Mapping):
        values = list(values.items())
    return [{"use": value[0], **value[1]} if is_pair(value) else value for value in values]


def several(values: Any) -> list[Any]:
    """One value, or those of a list; numbers of numpy and torch as plain ones."""
    if isinstance(values, (np.ndarray, np.generic, Tensor)):
        values = values.tolist()
    values = list(values) if isinstance(values, (list, tuple)) else [values]
    return [value.item() if isinstance(value, (np.generic, Tensor)) else value for value in values]


def _folder(output: Any) -> str:
    """The absolute folder of a run: the one that the caller gives, or one that is removed when Python ends."""
    if output is not None:
        return str(Path(output).expanduser().absolute())
    folder = tempfile.TemporaryDirectory(prefix="heatproof-")
    TEMPORARY[folder.name] = folder
    return folder.name


def discard(folder: str) -> None:
    """Remove the folder of a temporary run."""
    TEMPORARY.pop(folder).cleanup()
