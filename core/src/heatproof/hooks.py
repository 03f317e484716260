"""The hooks of heatproof: ``hookimpl`` for plugins, and every specification (pluggy).

A plugin is a module named by one entry point of group ``heatproof``. Registration hooks *return* declarations, name →
``"module:Class"``, so that listing plugins imports none of their classes.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from pathlib import Path

    import click


hookspec = pluggy.HookspecMarker("heatproof")
hookimpl = pluggy.HookimplMarker("heatproof")

KINDS: Mapping[str, tuple[str, str]] = {
    "dataset": ("heatproof_datasets", "heatproof.dataset:Dataset"),
    "model": ("heatproof_models", "heatproof.model:Model"),
    "explainer": ("heatproof_explainers", "heatproof.explainer:Explainer"),
    "metric": ("heatproof_metrics", "heatproof.metric:Metric"),
    "reader": ("heatproof_readers", "heatproof.imaging.reader:Reader"),
    "executor": ("heatproof_executors", "heatproof.executor:Executor"),
}
"""Kind → the hook that registers it and the interface that its classes implement."""


@hookspec
def heatproof_datasets() -> Mapping[str, str]:
    """Datasets: name → ``"module:Class"`` of a ``heatproof.dataset.Dataset``."""


@hookspec
def heatproof_models() -> Mapping[str, str]:
    """Models: name → ``"module:Class"`` of a ``heatproof.model.Model``."""


@hookspec
def heatproof_explainers() -> Mapping[str, str]:
    """Explainers: name → ``"module:Class"`` of a ``heatproof.explainer.Explainer``."""


@hookspec
def heatproof_metrics() -> Mapping[str, str]:
    """Metrics: name → ``"module:Class"`` of a ``heatproof.metric.Metric``."""


@hookspec
def heatproof_readers() -> Mapping[str, str]:
    """Readers of file formats: name → ``"module:Class"`` of a ``heatproof.imaging.reader.Reader``."""


@hookspec
def heatproof_executors() -> Mapping[str, str]:
    """Executors: name → ``"module:Class"`` of a ``heatproof.executor.Executor``."""


@hookspec
def heatproof_exporters() -> Mapping[str, str]:
    """Exporters: name → ``"module:function"``, called as ``function(run_folder, target_path)``."""


@hookspec
def heatproof_commands(cli: "click.Group") -> None:
    """Add commands to the command line; called once, when the command line starts."""


@hookspec
def heatproof_plan_tables(plan: Any) -> list[Any]:
    """Tables of ``heatproof.cli.tables.table`` that ``heatproof check CONFIG`` shows below a plan: costs."""


@hookspec
def heatproof_report_sections(run: Any) -> list[tuple[str, str]]:
    """Further sections of a run's HTML page, as (heading, HTML); escape every text that is not yours."""


@hookspec
def heatproof_run_started(folder: "Path", config: Mapping[str, Any]) -> None:
    """A run starts or resumes in ``folder``."""


@hookspec
def heatproof_unit_finished(folder: "Path", unit: Mapping[str, Any]) -> None:
    """A unit (one combination over one chunk) was committed; ``unit`` is the content of its ``unit.json``."""


@hookspec
def heatproof_run_finished(folder: "Path", summary: Mapping[str, Any], results: Any) -> "Path | None":
    """All units of a run are there and its tables are written; a page that is made of them is returned by its path."""


@hookspec
def heatproof_hookspecs() -> Any:
    """Specifications of the plugin's own: a module or object with ``@hookspec`` functions named ``heatproof_…``."""
