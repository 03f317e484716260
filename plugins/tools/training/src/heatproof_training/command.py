"""Defines the command ``heatproof train``."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from heatproof.cli.terminal import INTERRUPTED, catalog, console, setting

if TYPE_CHECKING:
    from .results import Outcome


@click.command(short_help="Train the network of a config, or continue an earlier training.")
@click.argument("config", type=click.Path(path_type=Path))
@setting("Change a setting of the config (a.b=c).")
def train(config: Path, overrides: tuple[str, ...]) -> None:
    """Train the network of CONFIG, or continue an earlier training of it.

    Writes checkpoint.safetensors, which `heatproof run` takes as weights, with curves, predictions and a page.
    """
    from .progress import Live
    from .settings import load
    from .trainer import Stopped
    from .training import train as train_

    loaded = load(config, catalog(), overrides)
    try:
        with interruptible() as stopping, Live(console(stderr=True)) as live, redirect_stdout(sys.stderr):
            outcome = train_(loaded, live, stopping)
    except Stopped as stopped:
        click.echo(f"{loaded.output}: {stopped}", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    _show(outcome)


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether Ctrl-C was pressed; a second Ctrl-C stops at once."""
    pressed: list[int] = []

    def press(number: int, frame: Any) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)
        click.echo("stopping after this step; press Ctrl-C again to stop at once", err=True)

    earlier = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, earlier)


def _show(outcome: "Outcome") -> None:
    """Print the numbers, the flags and where everything is."""
    from heatproof.cli.tables import show, table

    numbers = outcome.numbers
    rows = []
    for network in numbers["networks"]:
        for part in ("validation", "test"):
            rows += [[network["checkpoint"], part, name, value] for name, value in network.get(part, {}).items()]
    rows += [["all folds", "pooled", name, value] for name, value in numbers.get("pooled", {}).items()]
    rows += [["all folds", "mean", name, entry["mean"]] for name, entry in numbers.get("folds", {}).items()]
    show(console(), table("Trained", ("network", "part", "measure", "value"), rows, ("value",)))
    if numbers["parity"]:
        click.echo(f"parity mode: {numbers['parity']}")
    for network in outcome.networks:
        for flag in network.flags:
            click.echo(f"warning: {flag.text}")
    click.echo(f"wrote {outcome.page}")
    for network in outcome.networks:
        click.echo(f"wrote {network.checkpoint}")
