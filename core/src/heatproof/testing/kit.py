"""The functions of the kit: they run the laws of a component as checks, with or without pytest."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..component import Component
from ..config.components import create
from ..dataset import Dataset
from ..errors import HeatproofError, PluginError
from ..explainer import Explainer
from ..imaging.reader import Reader
from ..metric import Metric
from ..model import Model
from ..records import Sample
from ..registry.catalog import Catalog, default
from . import component, dataset, evidence, explainer, metric, model, reader
from .bench import ExplainerBench
from .check import Check, ConformanceError, Result, require_known, run

Expected = Mapping[str, str] | None
KINDS: Mapping[type[Component], tuple[Callable[..., Any], tuple[Callable[[Any], None], ...]]] = {
    Explainer: (ExplainerBench, explainer.LAWS + evidence.LAWS),
    Model: (model.ModelBench, model.LAWS),
    Metric: (metric.MetricBench, metric.LAWS),
    Dataset: (dataset.DatasetBench, dataset.LAWS),
    Reader: (reader.ReaderBench, reader.LAWS),
}
"""Interface → its bench and its laws."""


def checks(subject: Component, **settings: Any) -> list[Check]:
    """The checks of a component, not yet run; ``settings`` as in ``check_explainer`` and its siblings."""
    for interface, (bench, laws) in KINDS.items():
        if isinstance(subject, interface):
            subject_bench = bench(subject, **settings)
            return [Check(law, subject_bench) for law in (*laws, *component.LAWS)]
    raise PluginError(f"{type(subject).__name__} is not a dataset, model, explainer, metric or reader.")


def check_explainer(
    subject: Explainer,
    model: Model | None = None,
    samples: Sequence[Sample] | None = None,
    expected: Expected = None,
) -> list[Result]:
    """Check an explainer; on ``model`` with four prepared ``samples`` if the toys do not fit it.

    ``expected`` maps names of checks that are known to fail to the reason. Raises ``ConformanceError``.
    """
    return _checked(Explainer, subject, expected, model=model, samples=samples)


def check_model(subject: Model, sample: Sample | None = None, expected: Expected = None) -> list[Result]:
    """Check a model, on ``sample`` (as a dataset loads it) if generated images do not fit it."""
    return _checked(Model, subject, expected, sample=sample)


def check_metric(subject: Metric, expected: Expected = None) -> list[Result]:
    """Check a metric on toy cases."""
    return _checked(Metric, subject, expected)


def check_dataset(subject: Dataset, expected: Expected = None) -> list[Result]:
    """Check a dataset; a few samples of each split are loaded."""
    return _checked(Dataset, subject, expected)


def check_reader(subject: Reader, file: Path | None = None, expected: Expected = None) -> list[Result]:
    """Check a reader, on a ``file`` of its format; without a file most laws do not apply."""
    return _checked(Reader, subject, expected, file=file)


def check_plugin(
    name: str, settings: Mapping[str, Mapping[str, Any]] | None = None, catalog: Catalog | None = None
) -> list[Result]:
    """Check all components of an installed distribution, or one registered component.

    ``settings`` holds settings by component name; components that lack required settings are skipped. The
    installed plugins are those of ``catalog``. Raises ``PluginError`` for an unknown name, ``ConformanceError`` at the
    end if a check failed.
    """
    catalog = catalog or default()
    results = []
    for entry in catalog.require_entries(name):
        for result in _results_of(catalog, entry, (settings or {}).get(entry.name, {})):
            results.append(replace(result, name=f"{entry.kind} {entry.name}: {result.name}"))
    if not all(result.passed for result in results):
        raise ConformanceError(name, results)
    return results


def checked_lines(catalog: Catalog, name: str, settings: Mapping[str, Any]) -> Iterator[str]:
    """Check a component or distribution; yield a line per check, then the counts.

    Raises ``HeatproofError`` after the last line if a check failed, or none could be done.
    """
    try:
        results = check_plugin(name, {entry.name: settings for entry in catalog.require_entries(name)}, catalog)
    except ConformanceError as error:
        results = error.results
    for result in results:
        yield f"{result.outcome:<8} {result.name}: {result.reason}".removesuffix(": ")
    counts = Counter(result.outcome for result in results)
    if counts["failed"]:
        raise HeatproofError(f"{name} fails {counts['failed']} of {len(results)} checks; see above.")
    if not counts["passed"]:
        raise HeatproofError(f"{name} was not checked, see above; give settings as --set NAME=VALUE.")
    yield f"{name} passes: {counts['passed']} of {len(results)} checks hold, {counts['skipped']} do not apply."


def conforms(*subjects: Component, expected: Expected = None, **settings: Any) -> Any:
    """A pytest decorator: the test runs once per check and receives it as ``check``.

    ::

        @conforms(MyExplainer())
        def test_conformance(check):
            check()
    """
    import pytest

    expected = expected or {}
    all_checks = []
    parameters = []
    for subject in subjects:
        for check in checks(subject, **settings):
            all_checks.append(check)
            parameters.append(pytest.param(check, id=f"{subject.short}: {check.name}", marks=_marks(check, expected)))
    require_known(expected, all_checks)
    return pytest.mark.parametrize("check", parameters)


def _checked(interface: type[Component], subject: Component, expected: Expected, **settings: Any) -> list[Result]:
    if not isinstance(subject, interface):
        raise PluginError(f"{type(subject).__name__} is not of kind {interface.__name__.lower()}.")
    return run(subject.short, checks(subject, **settings), expected)


def _marks(check: Check, expected: Mapping[str, str]) -> list[Any]:
    import pytest

    if check.name not in expected:
        return []
    return [pytest.mark.xfail(reason=expected[check.name], strict=True)]


def _results_of(catalog: Any, entry: Any, params: Mapping[str, Any]) -> list[Result]:
    """The results of one registered component; a single result if it has no laws or cannot be built."""
    if entry.kind not in {interface.__name__.lower() for interface in KINDS}:
        return [Result("has laws", "skipped", f"there are no laws of {entry.kind}s")]
    missing = _required(catalog.load(entry)) - params.keys()
    if missing:
        return [Result("can be made", "skipped", f"needs settings: {', '.join(sorted(missing))}")]
    try:
        return _checked(Component, create(catalog, entry.kind, entry.full, params, Path.cwd()), None)
    except ConformanceError as error:
        return error.results
    except (HeatproofError, ValueError) as error:
        return [Result("can be made", "failed", str(error))]


def _required(kind: type[Component]) -> set[str]:
    return {name for name, field in kind.Params.model_fields.items() if field.is_required()}
