"""The hooks of salix: ``hookimpl`` for plugins, and every specification (pluggy).

A plugin is a module named by one entry point of group ``salix``. Registration hooks *return* declarations, name →
``"module:Class"``, so that listing plugins imports none of their classes.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from pathlib import Path

    import click

hookspec = pluggy.HookspecMarker("salix")
hookimpl = pluggy.HookimplMarker("salix")

KINDS: Mapping[str, tuple[str, str]] = {
    "dataset": ("salix_datasets", "salix.dataset:Dataset"),
    "model": ("salix_models", "salix.model:Model"),
    "explainer": ("salix_explainers", "salix.explainer:Explainer"),
    "metric": ("salix_metrics", "salix.metric:Metric"),
    "executor": ("salix_executors", "salix.executors:Executor"),
}
"""Kind → the hook that registers it and the interface that its classes implement."""


@hookspec
def salix_datasets() -> Mapping[str, str]:
    """Datasets: name → ``"module:Class"`` of a ``salix.dataset.Dataset``."""


@hookspec
def salix_models() -> Mapping[str, str]:
    """Models: name → ``"module:Class"`` of a ``salix.model.Model``."""


@hookspec
def salix_explainers() -> Mapping[str, str]:
    """Explainers: name → ``"module:Class"`` of a ``salix.explainer.Explainer``."""


@hookspec
def salix_metrics() -> Mapping[str, str]:
    """Metrics: name → ``"module:Class"`` of a ``salix.metric.Metric``."""


@hookspec
def salix_executors() -> Mapping[str, str]:
    """Executors: name → ``"module:Class"`` of a ``salix.executors.Executor``."""


@hookspec
def salix_exporters() -> Mapping[str, str]:
    """Exporters: name → ``"module:function"``, called as ``function(run_folder, target_path)``."""


@hookspec
def salix_commands(cli: "click.Group") -> None:
    """Add commands to the command line; called once, when the command line starts."""


@hookspec
def salix_report_sections(run: Any) -> list[tuple[str, str]]:
    """Further sections of the HTML report, as (heading, HTML); escape every text that is not yours."""


@hookspec
def salix_run_started(folder: "Path", config: Mapping[str, Any]) -> None:
    """A run starts or resumes in ``folder``."""


@hookspec
def salix_unit_finished(folder: "Path", unit: Mapping[str, Any]) -> None:
    """A unit (one combination over one chunk) was committed; ``unit`` is the content of its ``unit.json``."""


@hookspec
def salix_run_finished(folder: "Path", summary: Mapping[str, Any]) -> None:
    """All units of a run are there and its tables are written."""


@hookspec
def salix_hookspecs() -> Any:
    """Specifications of the plugin's own: a module or object with ``@hookspec`` functions named ``salix_…``."""
