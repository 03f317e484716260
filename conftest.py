"""Settings of all tests: one thread per process, since several share the cores, a temporary cache, slow laws.

The variables are set before heatproof is imported.
"""

import atexit
import os
import shutil
import tempfile
from collections import Counter
from urllib.error import URLError

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("UV_RUN_RECURSION_DEPTH", None)  # by which messages would tell that uv started the tests
os.environ["HEATPROOF_CACHE"] = tempfile.mkdtemp(prefix="heatproof-cache-")
atexit.register(shutil.rmtree, os.environ["HEATPROOF_CACHE"], ignore_errors=True)


@pytest.fixture
def passed(monkeypatch):
    """Return a function that starts to count forwards of views and calls of ``autograd.grad`` for a batch.

    It builds the view of the batch before it starts.
    """
    import torch

    from heatproof.network.views import View

    counts = Counter()
    forward = View.__call__
    backward = torch.autograd.grad

    def counted_forward(self, *arguments, **settings):
        counts["forward"] += 1
        return forward(self, *arguments, **settings)

    def counted_backward(*arguments, **settings):
        counts["backward"] += 1
        return backward(*arguments, **settings)

    def batch_view_first(batch):
        assert isinstance(batch.view, View)
        counts.clear()
        return counts

    monkeypatch.setattr(View, "__call__", counted_forward)
    monkeypatch.setattr(torch.autograd, "grad", counted_backward)
    return batch_view_first


@pytest.fixture
def verdicts():
    """Return a function: a model → the verdicts of all installed explainers, by name.

    Explainers with required settings, such as a further network, are left out.
    """
    from heatproof.registry.catalog import default

    def of_all(model):
        catalog = default()
        methods = {entry.name: catalog.load(entry) for entry in catalog.entries if entry.kind == "explainer"}
        return {
            name: method().verdict(model)
            for name, method in methods.items()
            if not any(setting.is_required() for setting in method.Params.model_fields.values())
        }

    return of_all


@pytest.fixture
def gained():
    """Return a function: a batch, its network and a gain per sample → the batch with outputs times the gains."""
    from heatproof.batch import Batch
    from heatproof.model import Model
    from heatproof.testing.toys import Gained

    def with_gains(plain, network, gain, rows):
        model = Model.of(Gained(network), "ab")
        return Batch(model, plain.ids, plain.images, plain.targets, inputs={"gain": gain}, rows=rows)

    return with_gains


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The folder of torchvision's downloads, empty, on a machine without network."""
    import torch

    def unreachable(*arguments, **keywords):
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "urlopen", unreachable)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


WHOLE_RUNS = {
    "tests/together", "tests/run/test_choosing.py", "tests/results/test_subgroups.py",
    "plugins/tools/reproduce/tests/test_command.py",
}  # fmt: skip
"""Folders and modules whose tests run whole configs, most of them several times."""


def pytest_collection_modifyitems(items):
    """Mark as slow the laws on memory, which call their explainer up to 200 times, and those of further settings.

    Of the components of one class that a module checks, the first one is fast. ``WHOLE_RUNS`` are slow, too.
    """
    first_benches = {}
    for item in items:
        module = item.path.relative_to(item.config.rootpath)
        if WHOLE_RUNS & {module.as_posix(), module.parent.as_posix()}:
            item.add_marker(pytest.mark.slow)
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        bench = getattr(parameters.get("check"), "bench", None)
        component = getattr(bench, "component", None)
        first_bench = first_benches.setdefault((item.path, type(component)), bench)
        if "memory does not grow" in item.name or (component is not None and bench is not first_bench):
            item.add_marker(pytest.mark.slow)
