"""Defines the commands ``heatproof data check`` and ``heatproof data write``."""

from pathlib import Path
from typing import Any

import click

from heatproof.cli.terminal import catalog, console, setting, working
from heatproof.errors import HeatproofError


@click.group()
def data() -> None:
    """Check a download, or write samples in a dataset's layout."""


@data.command()
@click.argument("name")
@click.option("--root", type=click.Path(path_type=Path), help="The folder of the download.")
@setting("Another setting of the dataset.")
@click.option("--model", metavar="NAME", help="Also measure the annotated mass that this model's preparation loses.")
def check(name: str, root: Path | None, overrides: tuple[str, ...], model: str | None) -> None:
    """Count the present, missing and unreadable files of dataset NAME and compare with the published counts."""
    from heatproof.cli.tables import show
    from heatproof.config.components import create, settings_of

    from .inventory import lost_mass, tally_table, terms

    settings = settings_of(overrides)
    if root:
        settings = {"root": str(root)} | settings
    dataset: Any = create(catalog(), "dataset", name, settings)
    with working(f"checking {name}"):
        tallies = dataset.check()
    show(console(), tally_table(name, tallies))
    if model:
        preparing: Any = create(catalog(), "model", model, {})
        with working(f"preparing {name} for {model}"):
            click.echo(lost_mass(dataset, model, preparing.prepare))
    for line in terms(dataset):
        click.echo(line)
    faults = [f"{tally.what}: {tally.count}" for tally in tallies if tally.expected == 0 and tally.count]
    if faults:
        raise HeatproofError(f"{name} has faults ({', '.join(faults)}); see the examples in the table.")


@data.command(short_help="Write samples of one dataset in the layout of another.")
@click.argument("name")
@click.option(
    "--from",
    "source",
    default="phantom",
    show_default=True,
    metavar="NAME",
    help="The dataset whose samples are written.",
)
@setting("A setting of that dataset, such as patients=27.")
@click.option("--layout", multiple=True, metavar="NAME=VALUE", help="A setting of the layout, such as part=grading.")
@click.option("--split", help="Write only this split.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Write at most N samples of each split.")
@click.option("--root", type=click.Path(path_type=Path), required=True, help="The folder to write to, new or empty.")
def write(
    name: str, source: str, overrides: tuple[str, ...], layout: tuple[str, ...], split: str | None,
    limit: int | None, root: Path,
) -> None:  # fmt: skip
    """Write samples of another dataset (the synthetic phantom by default) in the layout of dataset NAME."""
    from .layouts import write_layout

    with working(f"writing samples of {source}"):
        count = write_layout(catalog(), name, source, overrides, split, root, layout, limit)
    click.echo(f"wrote {count} samples of {source} in the layout of {name} to {root}")
