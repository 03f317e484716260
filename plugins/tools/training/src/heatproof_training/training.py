"""A whole training: data checks, one network or one per fold, evaluation, and the page."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import torch

from heatproof.errors import HeatproofError, ModelError
from heatproof.model import Model
from heatproof.plan.sample_cache import configured
from heatproof.seeding import generator, key

from . import checkpoint, folder
from .augmentation import augmented
from .cohort import Cohort, Member, member_of
from .diagnostics import Facts, curve_flags, data_flags, facts_of, source_flags
from .partition import Parts, partitions, require_sound
from .progress import Observer
from .results import Outcome, Trained, write_results
from .settings import TrainingConfig
from .trainer import Trainer, frozen

CHECKED = 200
"""The samples that the checks of data look at, drawn by the seed."""


def train(config: TrainingConfig, observer: Observer, stopping: Callable[[], bool] = lambda: False) -> Outcome:
    """Train the network of a config, or continue; raises ``HeatproofError`` for what cannot be trained.

    ``stopping`` tells after each step whether to save the state and to stop.
    """
    folder.opened(config.output, config.described())
    with threads_of(config):
        model = _model(config)
        try:
            return _trained_on(config, model, observer, stopping)
        finally:
            model.renew()  # its network is no longer that of its settings


def _trained_on(config: TrainingConfig, model: Model, observer: Observer, stopping: Callable[[], bool]) -> Outcome:
    """Train the network of a model, after all checks of the data."""
    cohort = Cohort(config, model, configured(config.cache))
    observer.stage(f"reading the samples of {cohort.dataset.short}")
    members, facts = _surveyed(cohort, config)
    parts = partitions(config.split, members, cohort.dataset, config.seed)
    needed = [name for name in ("validation", "test") if getattr(config.split, name)]
    labelled = config.objective.labelled
    absent = [flag for part in parts for flag in require_sound(part, model.classes, labelled, needed)]
    flags = [*source_flags(cohort.dataset), *dict.fromkeys(absent), *data_flags(facts)]
    for flag in flags:
        observer.notice(f"warning: {flag.text}")
    networks = list(_networks(config, model, cohort, members, parts, observer, stopping))
    return write_results(config, model, networks, flags)


def _model(config: TrainingConfig) -> Model:
    """The model with its first weights, after all checks that need no data."""
    device_of(config)
    model = config.model
    if config.precision == "float64":
        model = model.in_precision("float64")
    model.require_built()
    if config.start == "random":
        _draw_weights(model, config.seed)
    for module in frozen(model, config.freeze):
        module.requires_grad_(False)
    config.objective.require(model)
    if not any(weight.requires_grad for weight in model.network.parameters()):
        raise ModelError(f"{model.short} has no weight that can be trained; choose another model.")
    return model


def _draw_weights(model: Model, seed: int) -> None:
    """Draw all weights anew, each module by its own rule; raises ``ModelError`` for weights without a rule."""
    with torch.random.fork_rng():
        torch.manual_seed(key(seed, "weights") % 2**63)
        for name, module in model.network.named_modules():
            reset: Any = getattr(module, "reset_parameters", None)
            if reset is not None:
                reset()
            elif next(module.parameters(recurse=False), None) is not None:
                raise ModelError(
                    f"start: random does not know how to draw the weights of {name or model.short} "
                    f"({type(module).__name__}); use start: model, with a seed of the model if it has one."
                )


def _surveyed(cohort: Cohort, config: TrainingConfig) -> tuple[list[Member], list[Facts]]:
    """All members, and the facts of some samples as they are prepared and augmented; this fills the cache."""
    ids = cohort.ids
    checked = set(sorted(ids, key=lambda id: key("checked", config.seed, id))[:CHECKED])
    members: list[Member] = []
    facts: list[Facts] = []
    for sample in cohort.samples(ids):
        members.append(member_of(sample, config.patches))
        if sample.id in checked:
            facts.append(facts_of(augmented(sample, config.augment, generator(config.seed, "check", sample.id))))
    return members, facts


@contextmanager
def threads_of(config: TrainingConfig) -> Iterator[None]:
    """Let torch use the threads of the config in the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _networks(
    config: TrainingConfig, model: Model, cohort: Cohort, members: Sequence[Member], parts: Sequence[Parts],
    observer: Observer, stopping: Callable[[], bool],
) -> Iterator[Trained]:  # fmt: skip
    """Train one network per fold, each from the same first weights."""
    first = {name: value.clone() for name, value in model.network.state_dict().items()}
    record: dict[str, Any] = {
        "config": config.described(), "data": cohort.digest(members), "seed": config.seed, "model": model.name,
        "classes": model.classes, "select_on": config.select_on,
    }  # fmt: skip
    if config.select_on == "test":
        record["flag"] = checkpoint.PARITY
    for fold, part in enumerate(parts, start=1):
        path = config.output
        text = ""
        if config.split.folds:
            path = config.output / f"fold-{fold}"
            text = f"fold {fold}/{len(parts)}, "
            record["fold"] = fold
        with folder.writing(path):
            path.mkdir(exist_ok=True)
        model.network.load_state_dict(first)
        trainer = Trainer(config, model, cohort, part, path, accelerator_of(config), record, observer, stopping, text)
        with closing(trainer):
            yield _trained(trainer, fold * bool(config.split.folds))


def _trained(trainer: Trainer, fold: int) -> Trained:
    progress = trainer.train()
    parts = trainer.parts
    evaluations = {name: trainer.evaluate(part) for name, part in parts.named().items() if part and name != "train"}
    if fold:
        for name, evaluation in evaluations.items():
            numbers = ", ".join(f"{key} {value:.4g}" for key, value in evaluation.numbers.items())
            trainer.observer.notice(f"{trainer.text}{name} part: {numbers}")
    assert progress.best is not None
    path = trainer.folder / checkpoint.NAME
    return Trained(fold, progress.history, progress.best, evaluations, curve_flags(progress.history), path)


def device_of(config: TrainingConfig) -> str:
    """Return the device, such as ``cuda``.

    Raises ``HeatproofError`` for one that is not available, and for a precision that it does not have.
    """
    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise HeatproofError(f"device: {device} is not available here; set device to auto or cpu.")
    if device == "cpu" and config.precision == "float16":
        raise HeatproofError("precision: float16 needs a graphics card; set precision to bfloat16 or float32.")
    return device


def accelerator_of(config: TrainingConfig) -> Any:
    """Return Accelerate's handle of device and precision; raises ``HeatproofError`` as ``device_of`` does."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    device = device_of(config)
    AcceleratorState._reset_state(reset_partial_state=True)  # an earlier training of this process had its own device
    mixed = {"bfloat16": "bf16", "float16": "fp16"}.get(config.precision, "no")
    if device.startswith("cuda:"):
        torch.cuda.set_device(device)
    return Accelerator(cpu=device == "cpu", mixed_precision=mixed)
