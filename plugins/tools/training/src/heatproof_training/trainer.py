"""The training loop of one network: epochs of steps, validation, the best checkpoint and the state."""

import time
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from heatproof.errors import DataError, HeatproofError, ModelError, near
from heatproof.model import Model
from heatproof.records import Sample
from heatproof.seeding import key
from heatproof_objectives.activations import Activations, Call, calls_of
from heatproof_objectives.objective import LOSS, Objective
from heatproof_objectives.step import Step

from . import checkpoint, state
from .cohort import Cohort, Member
from .evaluation import Evaluation, direction, finite, measures, predicted, selected
from .loading import Loader, batch_of
from .partition import Parts
from .progress import Observer
from .sampling import batches, order, plain
from .settings import OptimiserSettings, TrainingConfig
from .state import Progress


class Stopped(HeatproofError):
    """Training was stopped from outside; its state is saved."""


class Diverged(HeatproofError):
    """A loss or a weight is not finite."""


class Trainer:
    """Trains the network of a model on the training part, in a folder of its own.

    All random numbers depend on the seed, the epoch and the step or the sample, so a training that was interrupted
    continues to the same weights.
    """

    def __init__(
        self, config: TrainingConfig, model: Model, cohort: Cohort, parts: Parts, folder: Path,
        accelerator: Accelerator, record: Mapping[str, Any], observer: Observer, stopping: Callable[[], bool],
        text: str,
    ):  # fmt: skip
        self.config = config
        self.model = model
        self.cohort = cohort
        self.parts = parts
        self.folder = folder
        self.accelerator = accelerator
        self.record = record
        self.observer = observer
        self.stopping = stopping
        self.text = text
        self.loader = Loader(cohort, max(1, min(torch.get_num_threads(), 8)))
        self.network: nn.Module = model.network
        self.frozen = frozen(model, config.freeze)
        self.objective: Objective = config.objective
        self.layers: Mapping[str, Call] = {}
        self.higher = direction(config.select, config.metrics) and config.select != LOSS
        self.saved = time.monotonic()

    def train(self) -> Progress:
        """Train all epochs that are left, and return the final progress; the network then has its best weights."""
        optimiser = self._prepared()
        progress = state.load(self.accelerator, self.folder)
        self.observer.begin(self.config.epochs, progress.epoch, self.text, self.config.select)
        while not self._ended(progress):
            progress = self._epoch(progress, optimiser)
        checkpoint.restore(self.folder / checkpoint.NAME, self.network)
        return progress

    def close(self) -> None:
        """End the threads."""
        self.loader.close()

    def _prepared(self) -> Any:
        """Fit the objective, move everything to the device, and return the optimiser."""
        if self.objective.open:
            self.objective = self.objective.fit(self.cohort.samples([member.id for member in self.parts.train]))
        torch.manual_seed(key(self.config.seed, "modules") % 2**63)
        modules = self.objective.modules(self.model)
        self.layers = calls_of(self.model, self.objective.layers(self.model))
        weights = [*self.network.parameters(), *(modules.parameters() if modules is not None else ())]
        self.network.to(self.accelerator.device)
        if self.config.channels_last:
            self.network.to(memory_format=torch.channels_last)
        optimiser = optimiser_of(self.config.optimiser, [weight for weight in weights if weight.requires_grad])
        self.accelerator.prepare(self.network, *([] if modules is None else [modules]))
        # Accelerate wraps the forward pass for mixed precision, but the copy that computes heatmaps must be like it.
        self.accelerator.unwrap_model(self.network, keep_fp32_wrapper=False)
        return self.accelerator.prepare(optimiser)

    def _ended(self, progress: Progress) -> bool:
        patience = self.config.patience
        waiting = patience is not None and progress.best is not None and progress.epoch - progress.best > patience
        return progress.epoch >= self.config.epochs or waiting

    def _epoch(self, progress: Progress, optimiser: Any) -> Progress:
        """Train one epoch from its next step on, evaluate the network, and save checkpoint and state."""
        epoch = progress.epoch
        rate = self.config.optimiser.lr * self.config.schedule.factor(epoch, self.config.epochs)
        for group in optimiser.param_groups:
            group["lr"] = rate
        times = self.config.patches.per_image if self.config.patches else 1
        draws = order(self.parts.train, self.config.seed, epoch, self.config.balance == "classes", times)
        plan = batches(draws, self.config.batch)
        start = time.perf_counter()
        self.loader.waited = 0.0
        remaining = plan[progress.step :]
        loaded = self.loader.training(remaining, self.config.augment, self.config.seed, epoch)
        for samples in loaded:
            sums = self._step(epoch, progress, samples, optimiser)
            count = progress.count + len(samples)
            progress = progress.changed(step=progress.step + 1, sums=sums, count=count)
            self.observer.step(epoch, progress.step, len(plan), sums[LOSS] / count)
            self._perhaps_save(progress, len(plan))
        seconds = time.perf_counter() - start
        losses = {name: total / progress.count for name, total in progress.sums.items()}
        row = {"epoch": epoch, "lr": rate, "seconds": seconds, "waiting": self.loader.waited / seconds, "train": losses}
        return self._evaluated(progress, row)

    def _step(self, epoch: int, progress: Progress, samples: Sequence[Sample], optimiser: Any) -> dict[str, float]:
        """Make one step; return the sums of the losses over the samples of the epoch so far."""
        config = self.config
        torch.manual_seed(key(config.seed, "step", epoch, progress.step) % 2**63)
        self.network.train()
        for module in self.frozen:
            module.eval()
        losses = self._losses(samples, True, config.seed + epoch)
        where = f"epoch {epoch + 1}, batch {progress.step + 1} (samples {', '.join(sample.id for sample in samples)})"
        self._require_finite(losses, where)
        optimiser.zero_grad()
        self.accelerator.backward(losses[LOSS])
        weights = [weight for group in optimiser.param_groups for weight in group["params"]]
        if config.clip is not None and config.clip.value is not None:
            self.accelerator.clip_grad_value_(weights, config.clip.value)
        elif config.clip is not None:
            self.accelerator.clip_grad_norm_(weights, config.clip.norm)
        optimiser.step()
        sums = dict(progress.sums)
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach()) * len(samples)
        return sums

    def _losses(self, samples: Sequence[Sample], training: bool, seed: int) -> dict[str, Tensor]:
        return dict(self.objective.losses(self._outputs(samples, training, seed)))

    def _outputs(self, samples: Sequence[Sample], training: bool, seed: int) -> Step:
        batch = batch_of(self.model, samples, self.accelerator.device, seed % 2**63, self.config.channels_last)
        observed = Activations(self.network, [path for path, _ in self.layers.values()])
        with torch.set_grad_enabled(training), self.accelerator.autocast(), observed:
            computed = self.model.forward(batch.images, **batch.inputs)
        outputs = {name: value.to(self.model.dtype) for name, value in computed.items()}
        activations = {layer: observed.values[call].to(self.model.dtype) for layer, call in self.layers.items()}
        return Step(batch, outputs, samples, training, activations)

    def evaluate(self, members: Sequence[Member]) -> Evaluation:
        """Return the mean losses, the measures and the predictions of a part, by the network in evaluation mode."""
        self.network.eval()
        torch.manual_seed(key(self.config.seed, "evaluation") % 2**63)
        sums: dict[str, float] = {}
        entries = []
        draws = plain(members)
        for samples in self.loader.plain(batches(draws, self.config.batch)):
            step = self._outputs(samples, False, self.config.seed)
            with torch.no_grad():
                losses = self.objective.losses(step)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(samples)
            if self.model.explained in step.outputs and self.model.classes:
                entries += predicted(self.model, step.outputs[self.model.explained], samples)
        losses_by_name = {name: total / len(draws) for name, total in sums.items()}
        return Evaluation(losses_by_name, measures(self.config.metrics, self.model, entries), entries)

    def _evaluated(self, progress: Progress, row: dict[str, Any]) -> Progress:
        """Evaluate the epoch; keep it as the checkpoint if it is the best; save the state."""
        if self.parts.validation:
            row["validation"] = self.evaluate(self.parts.validation).numbers
        if self.config.select_on == "test":
            row["test"] = self.evaluate(self.parts.test).numbers
        self._require_sound(row)
        if self.config.select_on in row:
            selected(self.config.select, row[self.config.select_on])  # refuses an unknown name, in the first epoch
        history = (*progress.history, row)
        best = progress.best
        if best is None or self._better(row, history[best]):
            best = row["epoch"]
            record = {**self.record, "epoch": best + 1, "numbers": row}
            half = self.config.stored == "float16"
            checkpoint.write(self.folder / checkpoint.NAME, self.network, record, self.config.model.classes, half)
        progress = Progress(epoch=row["epoch"] + 1, history=history, best=best)
        state.save(self.accelerator, self.folder, progress)
        self.saved = time.monotonic()
        self.observer.epoch(row, self.config.epochs, best)
        if self.stopping():
            raise Stopped(self._stopped(progress, ""))
        return progress

    def _require_sound(self, row: Mapping[str, Any]) -> None:
        """Raise ``Diverged`` for weights or a loss of evaluation that are not finite, before anything is saved."""
        weights = [tensor for tensor in self.network.state_dict().values() if tensor.is_floating_point()]
        where = f"epoch {row['epoch'] + 1}"
        if not finite(weights):
            raise Diverged(self._diverged("a weight of the network", f"{where}, after its last batch"))
        for part in {"validation", "test"} & row.keys():
            if not isfinite(row[part][LOSS]):
                raise Diverged(self._diverged("the loss", f"{where}, on the {part} part"))

    def _better(self, row: Mapping[str, Any], best: Mapping[str, Any]) -> bool:
        if self.config.select_on == "last":
            return True
        value = selected(self.config.select, row[self.config.select_on])
        earlier = selected(self.config.select, best[self.config.select_on])
        return earlier != earlier or (value > earlier if self.higher else value < earlier)

    def _perhaps_save(self, progress: Progress, steps: int) -> None:
        """Save the state in mid-epoch when it is time, or when training is stopped."""
        if progress.step == steps:
            return
        stopping = self.stopping()
        if stopping or time.monotonic() - self.saved > 60 * self.config.save_every:
            state.save(self.accelerator, self.folder, progress)
            self.saved = time.monotonic()
        if stopping:
            raise Stopped(self._stopped(progress, f", step {progress.step} of {steps}"))

    def _stopped(self, progress: Progress, step: str) -> str:
        return f"stopped in epoch {progress.epoch + 1}{step}; the same command continues from there."

    def _require_finite(self, losses: Mapping[str, Tensor], where: str) -> None:
        if LOSS not in losses:
            raise DataError(f"objective {self.objective.short} gives no {LOSS!r} (it gives {', '.join(losses)}).")
        for name, value in losses.items():
            if not bool(torch.isfinite(value)):
                raise Diverged(self._diverged(f"the {name} ({float(value.detach())})", where))

    def _diverged(self, subject: str, where: str) -> str:
        path = self.folder / checkpoint.NAME
        best = f"the best checkpoint so far is {path}" if path.is_file() else "no checkpoint was written before"
        return (
            f"{subject} is not finite in {where}: training stopped; {best}. Lower optimiser.lr, or set clip, "
            "and choose another output."
        )


def frozen(model: Model, names: Sequence[str]) -> list[nn.Module]:
    """Return the modules of these names; raises ``ModelError`` for a name that the network does not have."""
    modules = dict(model.network.named_modules())
    del modules[""]
    unknown = [name for name in names if name not in modules]
    if unknown:
        raise ModelError(f"freeze: {model.short} has no module {unknown[0]!r}; {near(unknown[0], modules)}")
    return [modules[name] for name in names]


def optimiser_of(settings: OptimiserSettings, weights: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """Return torch's optimiser with these settings; raises ``HeatproofError`` where no weight can be trained."""
    if not weights:
        raise HeatproofError("the network has no weight that can be trained; choose another model.")
    if settings.use == "sgd":
        return torch.optim.SGD(
            weights, settings.lr, settings.momentum, weight_decay=settings.weight_decay, nesterov=settings.nesterov
        )
    kind: type[torch.optim.Adam] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.use]
    return kind(weights, settings.lr, weight_decay=settings.weight_decay)
