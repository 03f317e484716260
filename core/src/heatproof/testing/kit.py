"""The kit: all laws of a component as checks, run with or without pytest."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..component import Component
from ..config.components import create
from ..dataset import Dataset
from ..errors import HeatproofError, PluginError, near
from ..explainer import Explainer
from ..imaging.reader import Reader
from ..metric import Metric
from ..model import Model
from ..records import Sample
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
"""Interface → what its components are tried on, and its laws."""


def checks(subject: Component, **settings: Any) -> list[Check]:
    """The checks of a component, not yet run; ``settings`` as in ``check_explainer`` and its siblings."""
    for interface, (bench, laws) in KINDS.items():
        if isinstance(subject, interface):
            tried = bench(subject, **settings)
            return [Check(law, tried) for law in (*laws, *component.LAWS)]
    raise PluginError(f"{type(subject).__name__} is no dataset, model, explainer, metric or reader.")


def check_explainer(
    subject: Explainer,
    model: Model | None = None,
    samples: Sequence[Sample] | None = None,
    expected: Expected = None,
) -> list[Result]:
    """Try an explainer; on ``model`` with four prepared ``samples`` where the toys do not suit it.

    ``expected`` maps names of checks that are known to fail to the reason. Raises ``ConformanceError``.
    """
    return _checked(Explainer, subject, expected, model=model, samples=samples)


def check_model(subject: Model, sample: Sample | None = None, expected: Expected = None) -> list[Result]:
    """Try a model, on ``sample`` (as a dataset loads it) where generated images do not suit it."""
    return _checked(Model, subject, expected, sample=sample)


def check_metric(subject: Metric, expected: Expected = None) -> list[Result]:
    """Try a metric on toy cases."""
    return _checked(Metric, subject, expected)


def check_dataset(subject: Dataset, expected: Expected = None) -> list[Result]:
    """Try a dataset; a few samples of each split are loaded."""
    return _checked(Dataset, subject, expected)


def check_reader(subject: Reader, file: Path | None = None, expected: Expected = None) -> list[Result]:
    """Try a reader, on a ``file`` of its format; most laws do not apply without one."""
    return _checked(Reader, subject, expected, file=file)


def check_plugin(name: str, settings: Mapping[str, Mapping[str, Any]] | None = None) -> list[Result]:
    """Try everything that an installed distribution, or one registered component, brings.

    ``settings`` gives Params by component name; what cannot be made without is listed as skipped. Raises
    ``PluginError`` for a name that nobody registers, ``ConformanceError`` at the end when a check failed.
    """
    from ..registry.catalog import default

    catalog = default()
    for broken in catalog.broken:
        if broken.distribution == name:
            raise PluginError(f"{name} is broken: {broken.reason}")
    entries = [entry for entry in catalog.entries if name in (entry.distribution, entry.name, entry.full)]
    if not entries:
        names = {known for entry in catalog.entries for known in (entry.distribution, entry.name)}
        raise PluginError(f"no plugin or component is called {name!r}; {near(name, names)}")
    results = [
        Result(f"{entry.kind} {entry.name}: {result.name}", result.outcome, result.reason)
        for entry in entries
        for result in _results_of(catalog, entry, (settings or {}).get(entry.name, {}))
    ]
    if not all(result.passed for result in results):
        raise ConformanceError(name, results)
    return results


def conforms(*subjects: Component, expected: Expected = None, **settings: Any) -> Any:
    """A pytest decorator: the test runs once per check, which it receives as ``check`` and calls.

    ::

        @conforms(MyExplainer())
        def test_conformance(check):
            check()
    """
    import pytest

    made = [(subject, check) for subject in subjects for check in checks(subject, **settings)]
    require_known(expected or {}, [check for _, check in made])
    parameters = [
        pytest.param(check, id=f"{subject.short}: {check.name}", marks=_marks(check, expected or {}))
        for subject, check in made
    ]
    return pytest.mark.parametrize("check", parameters)


def _checked(interface: type[Component], subject: Component, expected: Expected, **settings: Any) -> list[Result]:
    if not isinstance(subject, interface):
        raise PluginError(f"{type(subject).__name__} is no {interface.__name__.lower()}.")
    return run(subject.short, checks(subject, **settings), expected)


def _marks(check: Check, expected: Mapping[str, str]) -> list[Any]:
    import pytest

    return [pytest.mark.xfail(reason=expected[check.name], strict=True)] if check.name in expected else []


def _results_of(catalog: Any, entry: Any, params: Mapping[str, Any]) -> list[Result]:
    """The results of one registered component; one line where it has no laws or cannot be made."""
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
