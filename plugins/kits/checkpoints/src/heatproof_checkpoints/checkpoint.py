"""Loads checkpoints into networks: wrappers and prefixes are seen through, and said; no code is executed."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from heatproof.errors import ModelError
from heatproof.notices import notice
from heatproof_checkpoints.weights_file import Weights, classes_of, sets_of_weights

COUNTER = "num_batches_tracked"
"""A buffer of BatchNorm that no output depends on; old checkpoints lack it."""
WRAPPERS = ("module", "_orig_mod")
"""Modules that ``DataParallel``, averaged models and ``torch.compile`` put round a network or a part of it."""
ADVICE = "give a checkpoint of this architecture."
Translations = Mapping[str, Callable[[str], str]]
"""Other libraries, and the function that translates their names of tensors; it returns what it does not know."""


@dataclass(frozen=True)
class Reading:
    """A set of weights as the state of a network: what was seen through, and the tensors by the network's names.

    ``missing`` are names of the network without a tensor, ``unknown`` tensors of the network that it does not have,
    ``unused`` tensors beside the network.
    """

    through: tuple[str, ...]
    state: Weights
    missing: Sequence[str]
    unknown: Sequence[str]
    unused: Sequence[str]

    @property
    def name(self) -> str:
        """What was seen through, in words."""
        return " and ".join(self.through) or "the file itself"


def load_weights(
    network: nn.Module, path: Path, translations: Translations | None = None, beside: tuple[str, ...] = (),
    classes: Sequence[str] = (),
) -> nn.Module:  # fmt: skip
    """Load a checkpoint (safetensors, or a dictionary saved by torch) into ``network``; no code is executed.

    The tensors may lie in an entry (``state_dict``, ``model``), and their names may begin with, or contain, the names
    of wrappers (``module.``, ``model.``, ``_orig_mod.``), or be those of another library: a notice says what was seen
    through. ``beside`` are the beginnings of the names of other parts of a larger network, whose tensors are not used,
    which a notice says too. Half precision becomes the network's. A missing ``num_batches_tracked`` keeps its value.
    ``classes`` are those of the model: a checkpoint of ``heatproof train`` has those that it was trained with.

    Raises ``ModelError`` where these differ, where the file is no checkpoint, where no set of tensors, or more than
    one, has the network's names and shapes, and for values that are not finite or not real.
    """
    require_classes(path, classes)
    expected = network.state_dict()
    readings = list(_readings(expected, sets_of_weights(path), translations or {}))
    reading = _only([_without(beside, reading) for reading in readings], expected, path)
    for name, value in reading.state.items():
        _require_sound(name, value, expected[name], path)
    _say(reading, path)
    network.load_state_dict({**expected, **reading.state})
    return network


def require_classes(path: Path, classes: Sequence[str]) -> None:
    """Raise ``ModelError`` for a checkpoint that names the classes of its outputs, if they are not these in this order.

    Outputs of the same number fit a network whatever they mean, so nothing else would notice.
    """
    trained = classes_of(path)
    if classes and trained and list(classes) != trained:
        fault = "the same classes in another order" if sorted(classes) == sorted(trained) else "other classes"
        seen = f"checkpoint {path} was trained with {fault}: {', '.join(trained)}; the model has {', '.join(classes)}"
        raise ModelError(f"{seen}. Give the model the classes of the checkpoint in their order, or another checkpoint.")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint by name, in the file itself or in an entry of it.

    Raises ``ModelError`` where the file is missing, cannot be loaded safely, or holds no or several sets of tensors.
    """
    sets = sets_of_weights(path)
    if len(sets) > 1:
        raise ModelError(
            f"{path} holds several sets of weights ({', '.join(map(repr, sets))}); save one of them and give that file."
        )
    return dict(next(iter(sets.values())))


def _readings(
    expected: Mapping[str, Tensor], sets: Mapping[str, Weights], translations: Translations
) -> Iterator[Reading]:
    """All ways to read the sets as the network's state in which at least one name fits."""
    for entry, weights in sets.items():
        wrapper = (f"the entry {entry!r}",) if entry else ()
        readings = list(_prefixed(expected, weights, wrapper))
        bare = {_without_wrappers(name): value for name, value in weights.items()}
        if all(reading.missing for reading in readings) and len(bare) == len(weights):
            segments = [segment for segment in WRAPPERS if any(segment in name.split(".") for name in weights)]
            readings += _prefixed(expected, bare, (*wrapper, *(f"the parts {name!r} of names" for name in segments)))
        for library, translate in translations.items():
            translated = {translate(name): value for name, value in weights.items()}
            if all(reading.missing for reading in readings) and len(translated) == len(weights):
                readings += _prefixed(expected, translated, (*wrapper, f"the names of {library}"))
        yield from readings


def _without(beside: tuple[str, ...], reading: Reading) -> Reading:
    """The reading with the tensors of other parts of a larger network counted as unused, not as unknown."""
    others = [name for name in reading.unknown if name.startswith(beside)]
    unknown = [name for name in reading.unknown if not name.startswith(beside)]
    return replace(reading, unknown=unknown, unused=sorted([*reading.unused, *others]))


def _without_wrappers(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _prefixed(expected: Mapping[str, Tensor], weights: Weights, through: tuple[str, ...]) -> Iterator[Reading]:
    """The readings of a set by each prefix under which it has names of the network."""
    prefixes: Counter[str] = Counter()
    for name in weights:
        parts = name.split(".")
        for start in range(len(parts)):
            prefixes[".".join([*parts[:start], ""])] += ".".join(parts[start:]) in expected
    for prefix in +prefixes or [""]:
        inside = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        yield Reading(
            through=(*through, f"the prefix {prefix!r} of names") if prefix else through,
            state={name: value for name, value in inside.items() if name in expected},
            missing=sorted(name for name in expected.keys() - inside.keys() if not name.endswith(COUNTER)),
            unknown=sorted(name for name in inside.keys() - expected.keys() if not name.endswith(COUNTER)),
            unused=sorted(name for name in weights if not name.startswith(prefix)),
        )


def _only(readings: Sequence[Reading], expected: Mapping[str, Tensor], path: Path) -> Reading:
    """The one reading that fits the network; raises ``ModelError`` where none does, or several do."""
    whole = [reading for reading in readings if not reading.missing]
    fitting = [reading for reading in whole if not _other_shape(reading, expected)]
    if len(fitting) > 1:
        raise ModelError(
            f"checkpoint {path} holds several sets of weights for the network: {'; '.join(r.name for r in fitting)}. "
            "Save the one that was evaluated, and give that file."
        )
    closest = max(fitting or whole or readings, key=lambda reading: len(reading.state) - len(reading.unknown))
    if closest.missing or closest.unknown:
        raise ModelError(
            f"checkpoint {path} does not fit the network: keys missing: {_count(closest.missing)}, "
            f"unknown: {_count(closest.unknown)}; {ADVICE}"
        )
    name = _other_shape(closest, expected)
    if name:
        outputs = _other_outputs(closest, expected)
        if outputs:
            raise ModelError(
                f"checkpoint {path} has {outputs[0]} outputs, the network {outputs[1]} (by the shape of {name!r}); "
                "name as many classes as the checkpoint has outputs, in the order of its training."
            )
        raise ModelError(
            f"checkpoint {path} does not fit the network: {name!r} has shape {tuple(closest.state[name].shape)}, "
            f"the network needs {tuple(expected[name].shape)}; {ADVICE}"
        )
    return closest


def _other_shape(reading: Reading, expected: Mapping[str, Tensor]) -> str:
    """The first tensor of a reading with another shape than the network's, or empty."""
    return next((name for name, value in reading.state.items() if value.shape != expected[name].shape), "")


def _other_outputs(reading: Reading, expected: Mapping[str, Tensor]) -> tuple[int, int] | None:
    """The numbers of outputs of the checkpoint and of the network, if whole modules differ in nothing else."""
    state = reading.state
    modules = {name.rpartition(".")[0] for name, value in state.items() if value.shape != expected[name].shape}
    names = [name for name in state if name.rpartition(".")[0] in modules]
    shapes = [(state[name].shape, expected[name].shape) for name in names]
    counts = {(shape[0], other[0]) for shape, other in shapes if shape and other}
    if len(counts) != 1 or any(shape[1:] != other[1:] for shape, other in shapes):
        return None
    return counts.pop()


def _require_sound(name: str, value: Tensor, expected: Tensor, path: Path) -> None:
    """Raise ``ModelError`` for a tensor that is of another kind than the network's, or not finite."""
    if value.layout != torch.strided or value.is_meta or value.is_floating_point() != expected.is_floating_point():
        raise ModelError(
            f"checkpoint {path}: {name!r} holds {value.dtype} ({value.layout}), the network needs {expected.dtype}; "
            "save the weights as plain tensors of floating point, not quantised or sparse."
        )
    if not torch.isfinite(value.to(expected.dtype)).all():
        count = int((~torch.isfinite(value.to(expected.dtype))).sum())
        raise ModelError(
            f"checkpoint {path}: {count} of {value.numel()} values of {name!r} are not finite in {expected.dtype}; "
            "training diverged or the file is damaged: give an earlier checkpoint."
        )


def _say(reading: Reading, path: Path) -> None:
    """Say what was seen through, and which tensors are not used."""
    sentences = []
    if reading.through:
        sentences.append(f"the weights were read through {reading.name}")
    if reading.unused:
        sentences.append(f"not used: {_count(reading.unused)}")
    if sentences:
        notice(f"checkpoint {path.name}: {'; '.join(sentences)}.")


def _count(names: Sequence[str]) -> str:
    if not names:
        return "0"
    return f"{len(names)} (such as {names[0]!r})"
