"""The command line: list, show, check, plan, run, report, new and data; plugins add their own commands."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .errors import SalixError
from .hooks import KINDS

if TYPE_CHECKING:
    from rich.console import Console

    from .catalog import Catalog
    from .plan import Plan

NEW_KINDS = ("dataset", "model", "explainer", "metric")


class Cli(click.Group):
    """The group of commands; those of plugins are asked for only when no own command has the name."""

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """A command of the core, or of a plugin."""
        found = super().get_command(context, name)
        if found is None:
            catalog().call("salix_commands", cli=self)
            found = super().get_command(context, name)
        return found

    def list_commands(self, context: click.Context) -> list[str]:
        """All commands, those of plugins included."""
        catalog().call("salix_commands", cli=self)
        return super().list_commands(context)


def catalog() -> "Catalog":
    """The plugins that are installed."""
    from .catalog import default

    return default()


def console(stderr: bool = False) -> "Console":
    """Where to print."""
    from rich.console import Console

    # Outside a terminal nothing is wrapped, so that a line can be searched.
    width = None if sys.stdout.isatty() else 400
    return Console(stderr=stderr, highlight=False, width=width)


@click.group(cls=Cli, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
@click.version_option(package_name="salix")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """How far can a heatmap be trusted for this model on this data?"""
    context.obj = {"debug": debug}


@cli.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: kind, name, distribution, version, broken plugins.")
@click.option("--verify", is_flag=True, help="Also load every class, to find those that do not work.")
def list_(as_json: bool, verify: bool) -> None:
    """List datasets, models, explainers and metrics, and the plugins that are broken."""
    from .display import show, table

    known = catalog()
    if verify:
        known.verify()
    entries = [(entry.kind, entry.name, entry.distribution, entry.version) for entry in known.entries]
    broken = [(entry.distribution, entry.version, entry.reason) for entry in known.broken]
    if as_json:
        listed = [dict(zip(("kind", "name", "distribution", "version"), entry)) for entry in entries]
        found = [dict(zip(("distribution", "version", "reason"), entry)) for entry in broken]
        click.echo(json.dumps({"components": listed, "broken": found}, indent=1))
        return
    show(console(), table("Installed", ("kind", "name", "distribution", "version"), entries))
    if broken:
        show(console(), table("Broken plugins, set apart", ("distribution", "version", "reason"), broken))


@cli.command("show")
@click.argument("name")
def show_(name: str) -> None:
    """Show what NAME is and which settings it takes."""
    from .display import show, table

    known = catalog()
    for kind in _kinds(name):
        entry = known.resolve(kind, name)
        made = known.load(entry)
        click.echo(f"{kind} {entry.name} ({entry.distribution} {entry.version})\n\n{_paragraph(made.__doc__)}\n")
        rows = [
            (
                field,
                _type_name(info.annotation),
                "required" if info.is_required() else repr(info.default),
                info.description,
            )
            for field, info in made.Params.model_fields.items()
        ]
        show(console(), table("Settings", ("name", "type", "default", "meaning"), rows))


def _kinds(name: str) -> list[str]:
    """The kinds under which a name is registered; raises ``PluginError`` where there is none."""
    known = catalog()
    bare = name.rpartition("/")[2]
    kinds = sorted({entry.kind for entry in known.entries if entry.name == bare}, key=list(KINDS).index)
    if not kinds:
        from .errors import PluginError, near

        raise PluginError(f"nothing is registered as {name!r}; {near(bare, {entry.name for entry in known.entries})}")
    return kinds


def _paragraph(text: str | None) -> str:
    import inspect

    return inspect.cleandoc(text or "")


def _type_name(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def _config_options(command: Callable[..., Any]) -> Callable[..., Any]:
    command = click.option(
        "--set", "overrides", multiple=True, metavar="A.B=C", help="Change a setting of the config."
    )(command)
    return click.argument("config", type=click.Path(path_type=Path))(command)


@cli.command()
@click.argument("target")
@click.option("--set", "overrides", multiple=True, metavar="A.B=C", help="Change a setting of the config or component.")
def check(target: str, overrides: tuple[str, ...]) -> None:
    """Check a config, or hold an installed component to the laws of its kind.

    TARGET is a config file or a registered name.
    """
    if Path(target).suffix in (".yaml", ".yml") or Path(target).exists():
        _show_plan(Path(target), overrides, costs=True)
        click.echo(f"{target} is valid.")
        return
    _show_laws(target, overrides)


def _show_laws(name: str, overrides: tuple[str, ...]) -> None:
    """Hold what is registered as ``name`` to its laws and print each result; raises ``SalixError`` if one fails."""
    from .scaffold import settings_of
    from .testing import ConformanceError, check_plugin

    try:
        results = check_plugin(name, {name.rpartition("/")[2]: settings_of(overrides)})
    except ConformanceError as error:
        results = error.results
    for result in results:
        click.echo(f"{result.outcome:<8} {result.name}" + (f": {result.reason}" if result.reason else ""))
    failed = sum(not result.passed for result in results)
    if failed:
        raise SalixError(f"{name} fails {failed} of {len(results)} checks; see above.")
    click.echo(
        f"{name} passes: {sum(result.outcome == 'passed' for result in results)} of {len(results)} checks hold, "
        f"{sum(result.outcome == 'skipped' for result in results)} do not apply."
    )


@cli.command()
@_config_options
def plan(config: Path, overrides: tuple[str, ...]) -> None:
    """Show the combinations that CONFIG stands for, and those that are skipped."""
    _show_plan(config, overrides, costs=False)


def _show_plan(config: Path, overrides: tuple[str, ...], costs: bool) -> None:
    from .config import load
    from .display import show, table
    from .plan import label, make_plan

    made = make_plan(load(config, catalog(), overrides), catalog())
    rows = [
        (item.source.dataset.short, item.source.split, len(item.source.ids), "" if item.model_free else label(item.model),
         label(item.explainer), item.target, item.reduction, item.verdict.level, item.verdict.reason)
        for item in made.combinations
    ]  # fmt: skip
    columns = ("dataset", "split", "samples", "model", "explainer", "target", "reduction", "verdict", "because")
    show(console(), table(f"{len(rows)} combinations", columns, rows, numbers=("samples",)))
    if made.skipped:
        skipped = [(item.dataset, item.model, item.explainer, item.reason) for item in made.skipped]
        show(console(), table(f"{len(skipped)} skipped", ("dataset", "model", "explainer", "because"), skipped))
    if costs:
        _show_costs(made)


def _show_costs(made: "Plan") -> None:
    from .display import show, size, table
    from .estimate import estimates

    rows = [
        (entry.dataset, entry.model, entry.samples, entry.forwards, entry.backwards, entry.heatmaps, size(entry.disk),
         size(entry.memory))
        for entry in estimates(made)
    ]  # fmt: skip
    columns = ("dataset", "model", "samples", "forward passes", "backward passes", "heatmaps", "disk at most",
               "memory per image in a pass")  # fmt: skip
    show(console(), table("Estimated cost", columns, rows, numbers=columns[2:]))


@cli.command()
@_config_options
@click.option(
    "--shard", default="1/1", metavar="I/N", help="Run the I-th of N parts; all parts share the output folder."
)
@click.option("--strict", is_flag=True, help="Exit with an error when a case is invalid or failed.")
@click.option("--resume", is_flag=True, default=True, hidden=True, help="Go on where an earlier run stopped (always).")
def run(config: Path, overrides: tuple[str, ...], shard: str, strict: bool, resume: bool) -> None:
    """Run CONFIG, or go on where an earlier run of it stopped."""
    from .config import load
    from .display import Live, show, summary_table
    from .report import write_report
    from .runner import run as run_

    loaded = load(config, catalog(), overrides)
    out = console()
    live = Live(out)
    try:
        with live:
            finished = run_(loaded, catalog(), live, _shard(shard))
            if finished.complete:
                live.stage("writing the report")
                write_report(finished.folder, catalog())
    except KeyboardInterrupt:
        raise click.exceptions.Exit(_stopped(live, loaded.output)) from None
    show(out, summary_table(finished.summary))
    for entry in finished.skipped:
        click.echo(f"skipped: {entry.explainer} on {entry.model} ({entry.dataset}): {entry.reason}")
    click.echo(_ending(finished))
    if strict and finished.failures:
        raise SalixError(f"{finished.failures} cases are invalid or failed (--strict); their rows say why.")


def _shard(text: str) -> tuple[int, int]:
    parts = text.split("/")
    if len(parts) != 2 or not all(part.isdigit() for part in parts) or not 1 <= int(parts[0]) <= int(parts[1]):
        raise click.BadParameter(
            f"{text!r} is no shard; write I/N with 1 <= I <= N, such as 2/8.", param_hint="--shard"
        )
    return int(parts[0]), int(parts[1])


def _stopped(live: Any, folder: Path) -> int:
    click.echo(
        f"Stopped. {live.done} of {live.units} units are committed in {folder}; run the same command again to go on.",
        err=True,
    )
    return 130


def _ending(finished: Any) -> str:
    failures = (
        f"{finished.failures} cases are invalid or failed; see the status and reason columns"
        if finished.failures
        else "no case failed"
    )
    if not finished.complete:
        return f"{failures}. Other shards are not finished yet; tables so far: {finished.folder}"
    return f"{failures}. Tables and report: {finished.folder}/report.html"


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
def report(folder: Path) -> None:
    """Show the results of the run in FOLDER and write its HTML page."""
    from .report import read_summary, write_report
    from .display import show, summary_table

    show(console(), summary_table(read_summary(folder)))
    click.echo(f"wrote {write_report(folder, catalog())}")


@cli.command()
@click.argument("kind", type=click.Choice(NEW_KINDS))
@click.argument("name")
@click.option("--into", type=click.Path(path_type=Path), default=Path(), help="The folder to make it in.")
def new(kind: str, name: str, into: Path) -> None:
    """Start a plugin: a folder with one component of KIND, its pyproject and its conformance test."""
    from .scaffold import scaffold

    folder = scaffold(kind, name, into)
    click.echo(f"made {folder}; next: pip install -e {folder} && salix check {name}")


@cli.group()
def data() -> None:
    """Check a download, or write synthetic samples in a dataset's layout."""


@data.command("check")
@click.argument("name")
@click.option("--root", type=click.Path(path_type=Path), help="The folder of the download.")
def data_check(name: str, root: Path | None) -> None:
    """Say what is there, missing or unreadable of dataset NAME, against the published counts."""
    from .display import show, table

    found = _dataset(name, root).check()
    rows = [(entry.what, entry.count, entry.expected, entry.example) for entry in found]
    show(console(), table(name, ("what", "found", "published", "example"), rows, numbers=("found", "published")))


@data.command("write")
@click.argument("name")
@click.option("--from", "source", default="phantom", help="The dataset whose samples are written.")
@click.option("--set", "settings", multiple=True, metavar="A=B", help="A setting of that dataset, such as patients=27.")
@click.option("--split", help="Only this split.")
@click.option("--root", type=click.Path(path_type=Path), required=True, help="The folder to write to.")
def data_write(name: str, source: str, settings: tuple[str, ...], split: str | None, root: Path) -> None:
    """Write samples of another dataset (the synthetic phantom by default) in the layout of dataset NAME."""
    from .scaffold import write_layout

    count = write_layout(catalog(), name, source, settings, split, root)
    click.echo(f"wrote {count} samples of {source} in the layout of {name} to {root}")


def _dataset(name: str, root: Path | None) -> Any:
    known = catalog()
    return known.create("dataset", name, {} if root is None else {"root": str(root)}, Path())


def main() -> None:
    """The entry point: a mistake of the user is one sentence and a non-zero exit, never a traceback."""
    debug = "--debug" in sys.argv
    try:
        cli(prog_name="salix")
    except SalixError as error:
        if debug:
            raise
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
