"""Defines the command ``heatproof inspect``."""

from pathlib import Path

import click

from heatproof.cli.terminal import catalog, setting


@click.command(short_help="Look at a network and its features: what a config names.")
@click.argument("config", type=click.Path(path_type=Path))
@setting("Change a setting of the config (a.b=c).")
def inspect(config: Path, overrides: tuple[str, ...]) -> None:
    """Look at a network and its features as CONFIG says, or continue an interrupted inspection.

    Writes inspection.html with tables and figures beside it. An inspector that has no result says why; the exit code is
    then 1.
    """
    from .inspecting import inspect as inspect_
    from .settings import load

    outcome = inspect_(load(config, catalog(), overrides), lambda text: click.echo(text, err=True))
    for section in outcome.sections:
        for sentence in section.inspection.sentences if section.inspection else ():
            click.echo(f"{section.name}: {sentence}")
    if outcome.unread:
        click.echo(f"warning: not read, and left out ({len(outcome.unread)}): {outcome.unread[0]}")
    click.echo(f"wrote {outcome.page}")
    failed = [section for section in outcome.sections if section.inspection is None]
    for section in failed:
        click.echo(f"no result of {section.name}: {section.reason}", err=True)
    if failed:
        raise click.exceptions.Exit(1)
