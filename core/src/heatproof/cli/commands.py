"""The commands list, show, check, plan, run and report; plugins add further ones."""

import json
import logging
import os
import sys
from contextlib import redirect_stdout
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import HeatproofError, PluginError
from ..limits import exits_are_errors
from .terminal import INTERRUPTED, Cli, add_plugins, broken_named, catalog, console, setting, working

if TYPE_CHECKING:
    from ..config.settings import RunConfig
    from ..plan.plan import Plan

COMPONENT = ("kind", "name", "distribution", "version")
BROKEN = ("distribution", "version", "reason")


@click.group(cls=Cli, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
@click.option(
    "--plugin", multiple=True, metavar="FILE", type=click.Path(path_type=Path), is_eager=True, expose_value=False,
    callback=add_plugins, help="Use the components of a Python file; may follow the command.",
)  # fmt: skip
@click.version_option(package_name="heatproof")
def cli(debug: bool) -> None:
    """How far can a heatmap be trusted for this model on this data?"""


@cli.command("list", short_help="List what is installed, and the plugins that are broken.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: kind, name, distribution, version, broken plugins.")
@click.option("--verify", is_flag=True, help="Also load every class; exit with an error when a plugin is broken.")
def list_(as_json: bool, verify: bool) -> None:
    """List the installed components of every kind, and the plugins that are broken."""
    from .tables import show, table

    with redirect_stdout(sys.stderr):  # what plugins print is no part of the table
        if verify:
            catalog().verify()
        components = [{name: getattr(entry, name) for name in COMPONENT} for entry in catalog().entries]
        broken = [{name: getattr(plugin, name) for name in BROKEN} for plugin in catalog().broken]
    if as_json:
        click.echo(json.dumps({"components": components, "broken": broken}, indent=1))
    else:
        show(console(), table("Installed", COMPONENT, [[*row.values()] for row in components]))
        if broken:
            show(console(), table("Broken plugins, set apart", BROKEN, [[*row.values()] for row in broken]))
    if verify and broken:
        raise PluginError(f"broken plugins: {len(broken)}; update or remove them.")


@cli.command("show", short_help="Show what a component is and which settings it takes.")
@click.argument("name")
def show_(name: str) -> None:
    """Show what NAME (a component or a distribution) is and which settings it takes."""
    from .display import about, settings_table
    from .tables import show

    out = console()
    for entry in catalog().require_entries(name):
        component = catalog().load(entry)
        click.echo(f"{entry.kind} {entry.name} ({entry.distribution} {entry.version})")
        click.echo(f"{entry.statement}\n")
        click.echo(about(component, out.width))
        if component.Params.model_fields:
            click.echo(about(component.Params, out.width))
            show(out, settings_table(component))


@cli.command(short_help="Check a config, or a component against the laws of its kind.")
@click.argument("target")
@setting("Change a setting of the config (a.b=c) or of the component.")
@click.option("--strict", is_flag=True, help="Fail if a dataset rejects samples, as run --strict does.")
@exits_are_errors()
@broken_named()
def check(target: str, overrides: tuple[str, ...], strict: bool) -> None:
    """Check a config, or an installed component against the laws of its kind.

    TARGET is a config file, or the name of a component or distribution. A config is validated and its combinations are
    listed with their costs; whatever a run would refuse before its first pass is refused. Nothing is run.
    """
    if _is_config(target):
        from ..config.settings import load
        from ..run.runner import ready

        with working("planning"):
            plan = ready(load(Path(target), catalog(), overrides), catalog(), strict)
        _show_plan(plan, costs=True)
        click.echo(f"{target} is valid.")
    else:
        from ..config.components import settings_of
        from ..testing.kit import checked_lines

        for line in checked_lines(catalog(), target, settings_of(overrides)):
            click.echo(line)


def _is_config(target: str) -> bool:
    path = Path(target)
    if path.suffix == ".py":
        return False
    named_as_file = path.is_file() or path.suffix in (".yaml", ".yml")
    return named_as_file or (not catalog().entries_of(target) and (path.exists() or os.sep in target))


@cli.command(short_help="Show the combinations of a config, run and skipped.")
@click.argument("config", type=click.Path(path_type=Path))
@setting("Change a setting of the config (a.b=c).")
def plan(config: Path, overrides: tuple[str, ...]) -> None:
    """Show the combinations of CONFIG that will run, and those that will be skipped."""
    from ..config.settings import load
    from ..plan.plan import make_plan

    with working("planning"):
        plan = make_plan(load(config, catalog(), overrides), catalog())
    _show_plan(plan, costs=False)


def _show_plan(plan: "Plan", costs: bool) -> None:
    from ..run.memory import most_rows
    from .display import plan_table, skipped_table
    from .tables import show

    show(console(), plan_table(plan))
    if plan.skipped:
        show(console(), skipped_table(plan))
    for notice in plan.notices:
        click.echo(notice)
    if costs:
        with working("estimating costs"):
            most_rows(plan)  # refuses a bound that is too small, as a run does
            tables, faults = catalog().answers("heatproof_plan_tables", plan=plan)
        for table in chain(*tables):
            show(console(), table)
        if faults:
            raise PluginError("; ".join(faults))


@cli.command(short_help="Run a config, or continue an earlier run of it.")
@click.argument("config", type=click.Path(path_type=Path))
@setting("Change a setting of the config (a.b=c).")
@click.option("--name", metavar="NAME", help="The name of the run's folder, in place of the last part of output.")
@click.option("--shard", default="1/1", metavar="I/N", help="Run part I of N; all parts share the output folder.")
@click.option("--strict", is_flag=True, help="Fail if a dataset rejects samples or a case fails.")
@click.option("--retry-failed", is_flag=True, help="Compute units with invalid or failed cases again.")
@click.option("--verify-data", is_flag=True, help="Read all files of the samples, also those that look unchanged.")
@exits_are_errors()
@broken_named()
def run(
    config: Path, overrides: tuple[str, ...], name: str | None, shard: str, strict: bool, retry_failed: bool,
    verify_data: bool,
) -> None:  # fmt: skip
    """Run CONFIG, or continue an earlier run of it."""
    part = _shard(shard)
    from ..config.settings import load
    from ..executor import keep_freed_memory
    from ..results.finished import Results
    from ..run.runner import run as run_
    from .display import ending, refuse_faults, show_results, stopped
    from .progress import Live

    keep_freed_memory()
    loaded = _named(load(config, catalog(), overrides), name)
    live = Live(console(stderr=True))
    try:
        with live, redirect_stdout(sys.stderr):
            finished = run_(loaded, catalog(), live, part, retry_failed, strict, verify_data)
    except KeyboardInterrupt:
        # Nobody awaits the reads and writes that the interrupt cut off, and asyncio would print their errors.
        logging.getLogger("asyncio").disabled = True
        click.echo(stopped(live, loaded.output), err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    show_results(console(), Results(finished.folder, catalog()))
    for remark in finished.remarks:
        click.echo(remark)
    click.echo(ending(finished))
    refuse_faults(finished.folder, finished.faults)
    if finished.complete and finished.validity.nothing:
        raise HeatproofError(f"nothing is valid: {finished.validity.nothing}. Tables: {finished.folder}")
    if strict and finished.failures:
        raise HeatproofError(f"invalid or failed cases: {finished.failures} (--strict); scores.parquet says why.")


def _named(config: "RunConfig", name: str | None) -> "RunConfig":
    """A config whose run has a folder of this name, beside the one that its output names."""
    if name is None:
        return config
    if name in ("", "..") or Path(name).name != name:
        raise HeatproofError(f"--name must be the name of one folder, without a path (got {name!r}).")
    return config.model_copy(update={"output": config.output.with_name(name)})


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise HeatproofError(f"--shard must be I/N with 1 ≤ I ≤ N, such as 2/8 (got {text}).")
    return int(index), int(count)


@cli.command(short_help="Show the results of one or several runs and write their HTML page.")
@click.argument("folders", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", metavar="FOLDER", type=click.Path(path_type=Path), help="Where several runs are joined.")
def report(folders: tuple[Path, ...], output: Path | None) -> None:
    """Show the results of the run in folder RUN and write its HTML page.

    Several runs on the same cases by the same metrics are compared with each other, in a folder of their own: --output,
    or one beside the first run that is named after them. Their combinations are named after the folders.
    """
    from ..results.finished import Results
    from ..results.joined import join
    from .display import NO_PAGE, refuse_faults, show_results

    folder = folders[0]
    results = Results(folder, catalog())
    if len(folders) > 1 or output is not None:
        folder = output or folder.absolute().parent / "+".join(path.absolute().name for path in folders)
        with working("comparing the runs"):
            results = join([results, *(Results(path, catalog()) for path in folders[1:])], folder)
        for row in results.skipped:
            click.echo(f"skipped: {row['explainer']} on {row['model']} ({row['dataset']}): {row['reason']}")
    show_results(console(), results)
    with working("writing the report"):
        pages, faults = results.announce()
    for page in pages:
        click.echo(f"wrote {page}")
    refuse_faults(folder, faults)
    if not pages:
        click.echo(NO_PAGE)


def main() -> None:
    """Run the command line; the entry point of the script ``heatproof``."""
    cli(prog_name="heatproof")
