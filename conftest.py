"""For all tests: one thread per process, since several share the cores; no user's cache; a count of passes.

The variables are set before anything of ours is imported.
"""

import atexit
import os
import shutil
import tempfile
from collections import Counter

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HEATPROOF_CACHE"] = tempfile.mkdtemp(prefix="heatproof-cache-")
atexit.register(shutil.rmtree, os.environ["HEATPROOF_CACHE"], ignore_errors=True)


@pytest.fixture
def passed(monkeypatch):
    """Counts forwards of views and calls of autograd.grad from when a batch is given, whose view is built before."""
    import torch

    from heatproof.network.views import View

    counts = Counter()
    forward, backward = View.__call__, torch.autograd.grad

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
