"""A whole inspection: features, inspectors one after the other, their files, and the page."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from heatproof.errors import HeatproofError, ModelError
from heatproof_inspectors.inspection import Inspection
from heatproof_inspectors.inspector import Inspector

from .cohort import Cohort
from .features import Features
from .files import opened, sweep, write_files, write_record
from .page import write_page
from .settings import InspectionConfig
from .stored import Stored


@dataclass(frozen=True)
class Section:
    """An inspector with its name on the page, and its result or the reason why there is none."""

    name: str
    inspector: Inspector
    inspection: Inspection | None
    reason: str = ""


@dataclass(frozen=True)
class Outcome:
    """An inspection that is finished: its sections, the cases that could not be read, and its page."""

    sections: tuple[Section, ...]
    unread: tuple[str, ...]
    page: Path


def inspect(config: InspectionConfig, say: Callable[[str], None] = lambda text: None) -> Outcome:
    """Inspect what a config names, or continue an interrupted inspection; ``say`` hears what it is at.

    An inspector without a result does not stop the others. Raises ``HeatproofError`` where nothing can be inspected.
    """
    device = device_of(config)
    opened(config)
    with threads_of(config):
        config.model.require_built()
        _require_explained(config)
        names = names_of(config.inspectors)
        layers, refused = _layers(config)
        cohort = Cohort(config, device)
        features = Features(cohort, layers, say)
        sweep(config.output, features.folder)
        features.take()
        subject = Stored(cohort, features)
        sections = [
            _section(name, inspector, subject, refused.get(id(inspector), ""), say)
            for name, inspector in zip(names, config.inspectors)
        ]
        unread = tuple(f"{row.id}: {row.reason}" for row in features.rows if row.reason)
        for section in sections:
            if section.inspection is not None:
                write_files(config.output, section.name, section.inspection)
        write_record(config, sections, unread)
        say("the page")
        page = write_page(config, subject, sections, unread)
    return Outcome(tuple(sections), unread, page)


def names_of(inspectors: tuple[Inspector, ...]) -> list[str]:
    """Return a name for each inspector, by which its files are called; equal ones are numbered."""
    counts: Counter[str] = Counter()
    names = []
    for inspector in inspectors:
        short = inspector.short
        counts[short] += 1
        names.append(f"{short}-{counts[short]}" if counts[short] > 1 else short)
    return names


def _require_explained(config: InspectionConfig) -> None:
    """Raise ``ModelError`` for an explainer that is undefined on the model."""
    if config.explainer is not None:
        verdict = config.explainer.verdict(config.model)
        if verdict.level == "undefined":
            names = f"{config.explainer.short} is undefined on {config.model.short}"
            raise ModelError(f"{names}: {verdict.reason}; choose another explainer, or leave it out.")


def _layers(config: InspectionConfig) -> tuple[list[str], dict[int, str]]:
    """The layers of all inspectors, and why some cannot have theirs, by ``id``; raises ``ModelError`` if none can."""
    layers: list[str] = []
    refused: dict[int, str] = {}
    for inspector in config.inspectors:
        try:
            layers += [config.model.layer(layer) for layer in inspector.layers(config.model)]
        except HeatproofError as error:
            refused[id(inspector)] = str(error)
    if len(refused) == len(config.inspectors):
        raise ModelError(next(iter(refused.values())))
    return layers, refused


def _section(
    name: str, inspector: Inspector, subject: Stored, refusal: str, say: Callable[[str], None]
) -> Section:  # fmt: skip
    """The section of an inspector."""
    if refusal:
        return Section(name, inspector, None, refusal)
    say(name)
    try:
        return Section(name, inspector, inspector.inspect(subject))
    except HeatproofError as error:
        return Section(name, inspector, None, str(error))


def device_of(config: InspectionConfig) -> torch.device:
    """Return the device; raises ``HeatproofError`` for one that is not available."""
    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise HeatproofError(f"device: {device} is not available here; set device to auto or cpu.")
    return torch.device(device)


@contextmanager
def threads_of(config: InspectionConfig) -> Iterator[None]:
    """Let torch use the threads of the config in the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
