"""Defines the command ``heatproof reproduce``."""

from collections.abc import Sequence
from pathlib import Path

import click

from heatproof.cli.terminal import catalog, console, working
from heatproof.errors import HeatproofError, near
from heatproof.shell import command as typed

from . import twins
from .reproduction import Reproduction


@click.command(short_help="Run a published paper and compare its numbers with heatproof's own.")
@click.argument("paper")
@click.option("--profile", default="twin", show_default=True, help="smoke, twin, real, or another one of the paper.")
@click.option(
    "--output", metavar="FOLDER", type=click.Path(path_type=Path),
    help="Where everything is written.  [default: runs/reproduce-PAPER-PROFILE]",
)  # fmt: skip
@click.option("--check", is_flag=True, help="Prepare the data, show the costs of all steps, and run none.")
def reproduce(paper: str, profile: str, output: Path | None, check: bool) -> None:
    """Run the trainings and configs of PAPER and compare each published number with heatproof's own.

    Writes report.html, comparison.csv and the paper's figures. The profiles smoke and twin use synthetic data, which
    are written first; real uses the data in the folders that the environment variables of the paper name. An
    interrupted reproduction continues with the same command.
    """
    from .comparison import compared, table
    from .disk import replace_file
    from .figures import draw_all
    from .page import write_page
    from .published import published

    reproduction = opened(paper, profile, output)
    rows = published(reproduction.source, tuple(step.name for step in reproduction.paper.steps))
    with reproduction.environment():
        _prepare(reproduction)
        _show_costs(reproduction)
        if check:
            return
        for step in reproduction.paper.steps:
            settings = reproduction.profile.settings.get(step.name, ())
            words = [step.command, str(reproduction.config(step))]
            _invoke(reproduction, step.name, [*words, *(word for text in settings for word in ("--set", text))])
        figures = draw_all(reproduction)  # whose tables published.csv may name
        comparisons = compared(reproduction, rows)
        replace_file(reproduction.output / "comparison.csv", table(comparisons).encode())
        page = write_page(reproduction, comparisons, figures)
    click.echo(f"wrote {page}")


def opened(name: str, profile: str, output: Path | None) -> Reproduction:
    """Return the reproduction of a paper in a profile; raises ``HeatproofError`` for names that do not exist."""
    from .library import folder_of
    from .paper import load

    source = folder_of(catalog(), name)
    paper = load(source, catalog())
    if profile not in paper.profiles:
        raise HeatproofError(f"{name} has no profile {profile!r}; {near(profile, paper.profiles)}")
    folder = (output or Path("runs") / f"reproduce-{name}-{profile}").absolute()
    roots = twins.roots(paper, paper.profiles[profile], folder)
    return Reproduction(name, paper, profile, source, folder, roots, catalog())


def _prepare(reproduction: Reproduction) -> None:
    """Write the twins, or check the user's own data."""
    entries = reproduction.paper.data
    if not reproduction.synthetic:
        with working("checking the data"):
            twins.require_complete(reproduction.catalog, entries, reproduction.roots, reproduction.output)
        return
    for entry in entries:
        root = reproduction.roots[entry.variable]
        twins.write_twin(entry, reproduction.profile, root, lambda words: _invoke(reproduction, "data", words))


def _show_costs(reproduction: Reproduction) -> None:
    """Print the passes, hours and disk space of all steps."""
    from heatproof.cli.tables import show

    from .costs import cost_table, costs_of

    with working("estimating costs"):
        table = cost_table(costs_of(reproduction))
    show(console(), table)


def _invoke(reproduction: Reproduction, step: str, words: Sequence[str]) -> None:
    """Run a command of heatproof in this process, after printing it; raises ``Exit`` if it was interrupted."""
    root = click.get_current_context().find_root()
    click.echo(f"[{step}] {typed(*words)}")
    arguments = [*(["--debug"] if root.params["debug"] else []), *words]
    try:
        status = root.command.main(arguments, prog_name="heatproof", standalone_mode=False)
    except click.ClickException as error:
        again = f"{typed('reproduce', reproduction.name, '--profile', reproduction.profile_name)} continues"
        raise HeatproofError(f"step {step}: {error.format_message()}\nWhen the cause is removed, {again}.") from error
    if status:
        raise click.exceptions.Exit(status)
