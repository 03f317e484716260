"""The command ``heatproof figure``: a figure of a finished run, such as all methods on some cases."""

from pathlib import Path

import click

FORMATS = ("pdf", "svg", "png")


@click.command("figure", short_help="Draw a figure of a run: all methods on some cases, or the ranking.")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--name", default="cases", show_default=True, help="The figure: cases, ranking, or one of a plugin.")
@click.option("--cases", multiple=True, metavar="ID", help="Show this case; repeat it, or put commas between ids.")
@click.option("--explainers", multiple=True, metavar="NAME", help="Show this explainer, by name or label in tables.")
@click.option("--model", metavar="NAME", help="Show the heatmaps of this model only.")
@click.option("--scale", metavar="own|common", help="One colour scale for each heatmap, or for all of a case.")
@click.option("--metric", metavar="NAME", help="Show the ranking by this metric only.")
@click.option("--output", metavar="FILE", type=click.Path(path_type=Path), help="NAME.pdf by default.")
def figure_command(folder: Path, name: str, output: Path | None, **options: object) -> None:
    """Draw a figure of the run in folder RUN."""
    from heatproof.cli.terminal import catalog
    from heatproof.errors import HeatproofError
    from heatproof.results.figures import figure
    from heatproof.results.finished import Results

    from .figures import save

    path = output or Path(f"{name}.pdf")
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        raise HeatproofError(f"--output is {path}; its name must end in .{', .'.join(FORMATS)}.")
    results = Results(folder, catalog())
    plot = figure(results, name, **{option: value for option, value in options.items() if value not in (None, ())})
    try:
        save(plot, path)
    except OSError as error:
        reason = error.strerror or error
        raise HeatproofError(f"{path} cannot be written: {reason}; choose another --output.") from error
    click.echo(f"wrote {path}")
