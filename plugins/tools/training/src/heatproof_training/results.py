"""What a training leaves: the numbers of all networks, their predictions, and the page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from heatproof.model import Model
from heatproof.results.tabular import as_csv

from . import checkpoint, folder
from .diagnostics import Flag
from .evaluation import Evaluation, Predicted, measures
from .intervals import COLUMNS, mean_rows, network_rows, pooled_rows
from .page import write_page
from .settings import TrainingConfig


@dataclass(frozen=True)
class Trained:
    """A trained network: its fold (0 without folds), history, best epoch, evaluations by part, flags, checkpoint."""

    fold: int
    history: Sequence[Mapping[str, Any]]
    best: int
    evaluations: Mapping[str, Evaluation]
    flags: Sequence[Flag]
    checkpoint: Path


@dataclass(frozen=True)
class Outcome:
    """A finished training: its networks, the flags of the data, the numbers that were written, and the page."""

    folder: Path
    networks: Sequence[Trained]
    flags: Sequence[Flag]
    numbers: Mapping[str, Any]
    page: Path


def write_results(config: TrainingConfig, model: Model, networks: Sequence[Trained], flags: Sequence[Flag]) -> Outcome:
    """Write ``results.json``, three tables as CSV, ``curves.png`` and ``training.html``.

    The tables are ``measures.csv``, ``history.csv`` and ``predictions.csv``.

    Raises ``StoreError`` where the folder cannot be written.
    """
    output = config.output
    numbers: dict[str, Any] = {
        "networks": [_described(network, output) for network in networks],
        "flags": [flag.text for flag in flags],
        "select_on": config.select_on,
        "parity": checkpoint.PARITY if config.select_on == "test" else None,
    }
    if config.split.folds:
        tested = [entry for network in networks for entry in network.evaluations["test"].predictions]
        numbers |= {"pooled": measures(config.metrics, model, tested), "folds": fold_means(networks)}
    folder.replace_json(output / "results.json", numbers)
    rows = [dict.fromkeys(COLUMNS, "") | row for row in _measures(config, model, networks, numbers)]
    folder.replace_file(output / "measures.csv", as_csv([COLUMNS, *(list(row.values()) for row in rows)]).encode())
    folder.replace_file(output / "history.csv", as_csv(_table(_history(networks))).encode())
    folder.replace_file(output / "predictions.csv", as_csv(_table(_predictions(model, networks))).encode())
    page = write_page(config, model, networks, numbers)
    return Outcome(output, networks, flags, numbers, page)


def _measures(
    config: TrainingConfig, model: Model, networks: Sequence[Trained], numbers: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """The rows of ``measures.csv``."""
    for network in networks:
        for part, evaluation in network.evaluations.items():
            yield from network_rows(network.fold, part, evaluation.numbers, len(evaluation.predictions))
    if config.split.folds:
        tested = [entry for network in networks for entry in network.evaluations["test"].predictions]
        yield from pooled_rows(config.metrics, model, tested, config.seed)
        yield from mean_rows(numbers["folds"], len(tested))


def _described(network: Trained, output: Path) -> dict[str, Any]:
    return {
        "fold": network.fold or None,
        "best_epoch": network.best + 1,
        "epochs": len(network.history),
        "checkpoint": network.checkpoint.relative_to(output).as_posix(),
        **{part: evaluation.numbers for part, evaluation in network.evaluations.items()},
        "flags": [flag.text for flag in network.flags],
    }


def fold_means(networks: Sequence[Trained]) -> dict[str, dict[str, float]]:
    """Return mean and standard deviation over folds of each number on the test part, and the number of these folds.

    A fold in which a number is undefined does not count; pooled numbers are those of all predictions together.
    """
    names = dict.fromkeys(name for network in networks for name in network.evaluations["test"].numbers)
    means = {}
    for name in names:
        values = np.array([network.evaluations["test"].numbers.get(name, np.nan) for network in networks])
        values = values[~np.isnan(values)]
        if len(values) > 1:
            means[name] = {"mean": float(values.mean()), "std": float(values.std(ddof=1)), "folds": len(values)}
    return means


def _history(networks: Sequence[Trained]) -> Iterator[dict[str, Any]]:
    """The numbers of every epoch."""
    for network in networks:
        for row in network.history:
            flat = {"fold": network.fold or "", "epoch": row["epoch"] + 1}
            flat |= {name: row[name] for name in ("lr", "seconds", "waiting")}
            for part in ("train", "validation", "test"):
                flat |= {f"{part}_{name}": value for name, value in row.get(part, {}).items()}
            yield flat


def _predictions(model: Model, networks: Sequence[Trained]) -> Iterator[dict[str, Any]]:
    """The prediction of every sample of validation and test."""
    for network in networks:
        for part, evaluation in network.evaluations.items():
            for entry in evaluation.predictions:
                yield _prediction(model, network, part, entry)


def _prediction(model: Model, network: Trained, part: str, entry: Predicted) -> dict[str, Any]:
    sample = entry.sample
    labels = [] if sample.label is None else np.atleast_1d(np.asarray(sample.label, dtype=np.int64)).tolist()
    row = {
        "fold": network.fold or "",
        "part": part,
        "sample": sample.id,
        "patient": sample.patient,
        "label": ";".join(model.classes[label] for label in labels),
    }
    prediction = entry.prediction
    if prediction is None:
        return row
    decision = "" if prediction.decision < 0 else model.classes[prediction.decision]
    names = model.classes if len(prediction.probabilities) == len(model.classes) else ("value",)
    values = {f"p {name}": float(value) for name, value in zip(names, prediction.probabilities)}
    return row | {"decision": decision, **values}


def _table(rows: Iterator[Mapping[str, Any]]) -> list[list[Any]]:
    """Rows by name as a head and rows of cells; a row may lack names."""
    listed = list(rows)
    names = list(dict.fromkeys(name for row in listed for name in row))
    return [names, *([row.get(name, "") for name in names] for row in listed)]
