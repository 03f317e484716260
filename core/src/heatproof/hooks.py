"""The hooks of heatproof: ``hookimpl`` for plugins, and all specifications (pluggy).

A plugin is a module named by one entry point of group ``heatproof``. Registration hooks return mappings of names to
``"module:Class"``; listing plugins therefore imports none of their classes.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from pathlib import Path

    import click

    from heatproof.dataset import Dataset
    from heatproof.imaging.transforms import Preparation


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
"""Kind of the core → the hook that registers its components and the interface of their classes."""


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
def heatproof_synonyms() -> Mapping[str, str | Mapping[str, Any]]:
    """Names elsewhere: such a name → the component as a config describes it, ``"name"`` or ``{"use": "name", …}``.

    They advise a user who writes the name of another library; a config does not accept them. Case, hyphens and
    underscores do not count.
    """


@hookspec
def heatproof_figures() -> Mapping[str, str]:
    """Figures: name → ``"module:function"``; ``function(results, **options)`` returns a matplotlib figure."""


@hookspec
def heatproof_folder(folder: "Path") -> "Dataset | None":
    """Return the dataset that reads this folder of a user's own images; None for a folder that it does not read.

    Raise ``HeatproofError`` for a folder whose layout is known and faulty: the user reads its message.
    """


@hookspec
def heatproof_preparation(source: Any) -> "Preparation | None":
    """Return how images are prepared for ``source``, a network or a transform; None for one that is not known.

    Raise ``HeatproofError`` for one that is known and cannot be converted: the user reads its message.
    """


@hookspec
def heatproof_commands(cli: "click.Group") -> None:
    """Add commands to the command line; called at most once per process."""


@hookspec
def heatproof_plan_tables(plan: Any) -> list[Any]:
    """Return tables of ``heatproof.cli.tables.table``, such as costs, to show below a plan in ``heatproof check``."""


@hookspec
def heatproof_plan_costs(plan: Any) -> Mapping[str, Any]:
    """Return the costs of a plan: ``forward`` and ``backward`` passes, ``seconds``, and bytes on ``disk``."""


@hookspec
def heatproof_report_sections(run: Any) -> list[tuple[str, str]]:
    """Return further sections of a run's HTML page as (heading, HTML); escape every text from elsewhere."""


@hookspec
def heatproof_run_started(folder: "Path", config: Mapping[str, Any]) -> None:
    """React to a run that starts or resumes in ``folder``."""


@hookspec
def heatproof_unit_finished(folder: "Path", unit: Mapping[str, Any]) -> None:
    """React to a committed unit (one combination over one chunk); ``unit``: its ``unit.json`` without digests."""


@hookspec
def heatproof_run_finished(folder: "Path", summary: Mapping[str, Any], results: Any) -> "Path | None":
    """React to a complete run with its tables written; return the path of a page made from them, or None."""


@hookspec
def heatproof_kinds() -> Mapping[str, tuple[str, str]]:
    """Further kinds of components: kind → the plugin's hook that registers them, and their interface.

    The hook is specified by ``heatproof_hookspecs``; the interface is ``"module:Class"`` of a class in a kit.
    """


@hookspec
def heatproof_hookspecs() -> Any:
    """Return the plugin's specifications: a module or object with ``@hookspec`` functions named ``heatproof_…``."""
