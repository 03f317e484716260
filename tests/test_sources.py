"""The source in an identity: what of a class's code counts, where it comes from a file, a function or a notebook."""

import functools
import importlib
import logging
import os
import pickle
import re
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from heatproof import source_files
from heatproof.component import Component, Params
from heatproof.errors import PluginError
from heatproof.model import Model
from heatproof.source_files import refresh
from heatproof.sources import source
from heatproof.testing.toys import Linear


def cell(text: str, **names: Any) -> Any:
    """The class ``Mine`` of a notebook cell, which has no file."""
    names = {"Component": Component, "Params": Params, "__name__": "__main__"} | names
    exec(compile(textwrap.dedent(text), "<cell>", "exec"), names)
    return names["Mine"]


METHOD = """
class Mine(Component):
    def act(self):
        return {}
"""


def of(expression: str, **names: Any) -> str:
    """The source of a class of a notebook whose method returns the value of an expression."""
    return source(cell(METHOD.format(expression), **names))


def test_a_class_of_a_notebook_is_known_by_its_code() -> None:
    assert of("1") == of("1") != ""
    assert len({of(text) for text in ("1", "2", "1.0", "True", "'1'", "(1, 2)", "[n for n in (1, 2)]")}) == 7
    assert source(cell("class Mine(Component):\n    width = 1")) != source(
        cell("class Mine(Component):\n    width = 2")
    )


def test_comments_and_lines_do_not_count() -> None:
    moved = "\n\n# a comment\n" + METHOD.format("1  # one")
    assert source(cell(moved)) == of("1")


@dataclass(frozen=True)
class Pair:
    x: Any


class Point:
    def __init__(self, x: Any):
        self.x = x


def linear(weight: float) -> nn.Module:
    network = nn.Linear(1, 1)
    network.weight.data.fill_(weight)
    network.bias.data.zero_()
    return network


def helper(number: int) -> Any:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(f"def helper(): return {number}", "<cell>", "exec"), names)
    return names["helper"]


@pytest.mark.parametrize("make", [
    lambda n: n, lambda n: str(n), lambda n: [1, n], lambda n: {"a": {n}}, lambda n: frozenset({"a", str(n)}),
    lambda n: Path(str(n)), lambda n: np.full(3, n), lambda n: np.float32(n), lambda n: torch.full((3,), float(n)),
    lambda n: linear(n), lambda n: Point([n]),
    lambda n: Pair({n: 1}), lambda n: helper(n), lambda n: Linear(seed=n), lambda n: lambda: n,
    lambda n: np.array([n, None], dtype=object), lambda n: slice(n), lambda n: [torch.float32, torch.float64][n],
    lambda n: [np.sin, np.cos][n], lambda n: np.dtype(f"f{4 + 4 * n}"), lambda n: re.compile(str(n)),
    lambda n: [len, max][n], lambda n: [torch.relu, torch.sigmoid][n], lambda n: [os, sys][n],
    lambda n: functools.partial(round, n), lambda n: np.random.default_rng(n), lambda n: range(n),
])  # fmt: skip
def test_globals_count_by_value(make: Callable[[int], Any]) -> None:
    assert of("used", used=make(0)) == of("used", used=make(0))
    assert of("used", used=make(0)) != of("used", used=make(1))
    assert of("None", used=make(0)) == of("None", used=make(1)), "it is not used"


def test_globals_count_that_a_global_function_uses_and_cycles_end() -> None:
    text = "def other(): return number\ndef first(): return second()\ndef second(): return first() + other()\n"
    text += METHOD.format("first()")
    assert source(cell(text, number=1)) == source(cell(text, number=1)) != source(cell(text, number=2))
    ring: list[Any] = [1]
    ring.append(ring)
    assert of("ring", ring=ring) == of("ring", ring=ring) != of("ring", ring=[1, [1]])


def test_a_component_that_its_own_class_uses_has_an_identity() -> None:
    names: dict[str, Any] = {"Component": Component, "__name__": "__main__"}
    exec(compile(METHOD.format("instance"), "<cell>", "exec"), names)
    names["instance"] = names["Mine"]()
    assert names["instance"].identity


@pytest.mark.parametrize("value", [logging.getLogger("a"), threading.Lock(), threading.RLock(), threading.Event()])
def test_loggers_and_locks_take_no_part(value: Any) -> None:
    assert of("used", used=value)


@pytest.mark.parametrize("value", [(n for n in ()), sys.stderr, [sys.stderr], weakref.ref(Component)])
def test_what_cannot_be_told_is_refused(value: Any) -> None:
    with pytest.raises(PluginError, match=r"Mine uses used, a \w+ whose content cannot be told.*make it a Param"):
        of("used", used=value)


def fresh(kind: type) -> str:
    """The source of a class as the next plan sees it."""
    refresh()
    return source(kind)


def test_what_a_notebook_puts_into_a_class_of_a_file_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fresh(Linear)
    monkeypatch.setattr(Linear, "weights", helper(1))
    patched = fresh(Linear)
    monkeypatch.setattr(Linear, "weights", helper(2))
    assert len({before, patched, fresh(Linear)}) == 3
    monkeypatch.undo()
    monkeypatch.setattr(Linear, "dataset_size", {2: 32})
    assert fresh(Linear) != before
    monkeypatch.undo()
    assert fresh(Linear) == before


def made(factor: float, default: int = 0) -> type[Component]:
    class Made(Component):
        def act(self, default: int = default) -> float:
            return factor

    return Made


def test_classes_that_a_function_makes_differ_by_its_closure_and_defaults() -> None:
    assert source(made(1.0)) == source(made(1.0))
    assert len({source(made(1.0)), source(made(2.0)), source(made(1.0, 1))}) == 3


def test_released_classes_have_no_source() -> None:
    assert source(nn.Linear) == source(dict) == source(logging.Logger) == source(type(np.float32(1))) == ""


# files

PLUGIN = """
from heatproof.explainer import Explainer

from heatproof_edited_helper import factor

class Mine(Explainer):
    def explain(self, batch):
        return batch.images * factor
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with a module that imports another one."""
    (tmp_path / "heatproof_edited.py").write_text(PLUGIN)
    (tmp_path / "heatproof_edited_helper.py").write_text("factor = 1\n")
    (tmp_path / "heatproof_edited_other.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("heatproof_edited", "heatproof_edited_helper"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def edit(path: Path, text: str) -> None:
    """Edit a file so that its time changes, and let the compiled file not hide it."""
    time.sleep(0.02)
    path.write_text(text)
    importlib.invalidate_caches()


def loaded(*names: str) -> ModuleType:
    """The plugin, after these modules were loaded again."""
    refresh()
    for name in names:
        importlib.reload(importlib.import_module(name))
    return importlib.import_module("heatproof_edited")


def test_an_edit_of_the_file_or_of_one_that_it_imports_counts(plugin: Path) -> None:
    identities = [loaded().Mine().identity, loaded("heatproof_edited").Mine().identity]
    assert identities[0] == identities[1]
    edit(plugin / "heatproof_edited.py", PLUGIN.replace("images *", "images +"))
    identities.append(loaded("heatproof_edited").Mine().identity)
    edit(plugin / "heatproof_edited_helper.py", "factor = 2\n")
    identities.append(loaded("heatproof_edited_helper", "heatproof_edited").Mine().identity)
    assert len(set(identities)) == 3
    edit(plugin / "heatproof_edited_other.py", "changed = True")
    assert loaded("heatproof_edited").Mine().identity == identities[-1]


def test_an_edit_that_is_not_loaded_gets_an_identity_of_its_own(plugin: Path) -> None:
    """The code in memory is the old one: its numbers do not belong to the new files, nor to any other process."""
    mine = loaded().Mine()
    before = mine.identity
    edit(plugin / "heatproof_edited_helper.py", "factor = 2\n")
    refresh()
    mine.renew()
    assert mine.identity == type(mine)().identity != before
    after = loaded("heatproof_edited_helper", "heatproof_edited").Mine().identity
    assert len({before, mine.identity, after}) == 3


SHOW = "import heatproof_edited, pickle, sys; mine = heatproof_edited.Mine(); "


def python(folder: Path, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = os.environ | {"PYTHONPATH": str(folder)} | environment
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=variables)


@pytest.mark.slow
def test_the_identity_is_the_same_in_every_process(plugin: Path) -> None:
    expected = loaded().Mine().identity
    for seed in ("1", "2"):
        assert python(plugin, SHOW + "print(mine.identity)", PYTHONHASHSEED=seed).stdout.strip() == expected
    text = f"""
class Component: pass
exec({METHOD.format("used")!r}, globals())
from heatproof.sources import source
import numpy, torch.nn.functional as F
used = [{{"a", "b", "c", 1, (2, "x")}}, numpy.sin, F.conv2d, F.max_pool2d, torch.no_grad, {{"x": numpy.arange(3)}}]
print(source(Mine))
"""
    text = "import torch\n" + text
    first, second = (python(plugin, text, PYTHONHASHSEED=seed) for seed in ("1", "2"))
    assert first.stdout == second.stdout != "", first.stderr


@pytest.mark.slow
def test_a_worker_compares_the_source(plugin: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.pickle"
    path.write_bytes(pickle.dumps(loaded().Mine()))
    read = f"import pickle; print(pickle.load(open({str(path)!r}, 'rb')).identity)"
    assert python(plugin, read).stdout.strip() == loaded().Mine().identity
    edit(plugin / "heatproof_edited_helper.py", "factor = 2\n")
    result = python(plugin, read)
    assert "PluginError: heatproof_edited:Mine was edited since the run started" in result.stderr


def test_files_are_looked_at_once_per_plan_and_read_when_they_changed(
    plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source(loaded().Mine)
    looked: list[str] = []
    read: list[Path] = []
    look = source_files._text
    read_bytes = Path.read_bytes
    monkeypatch.setattr(source_files, "_text", lambda path: looked.append(path) or look(path))
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path) or read_bytes(path))
    kind = loaded().Mine
    source(kind)
    assert len(looked) == len(set(looked)) > 3
    source(kind)
    assert len(looked) == len(set(looked))
    assert read == []
    edit(plugin / "heatproof_edited_helper.py", "factor = 2\n")
    refresh()
    source(kind)
    assert read == [plugin / "heatproof_edited_helper.py"]


def test_what_a_constructor_takes_besides_params_counts() -> None:
    class Given(Component):
        def __init__(self, function: Any, **params: Any):
            super().__init__(**params)
            self._function = function

    assert Given(len).identity == Given(len).identity != Given(max).identity
    assert len({Given(helper(number)).identity for number in (1, 1, 2)}) == 2


def test_a_forward_of_a_single_module_counts() -> None:
    def model(change: Any) -> Model:
        network: Any = linear(1.0)
        if change is not None:
            network.forward = change.__get__(network)
        return Model.of(network, "abc")

    identities = [model(change).identity for change in (None, helper(1), helper(1), helper(2))]
    assert len(set(identities)) == 3


def test_the_network_of_a_model_counts_with_its_code_and_settings() -> None:
    text = """
    class Mine(nn.Module):
        def __init__(self, slope):
            super().__init__()
            self.slope = slope

        def forward(self, images):
            return images.mean((2, 3)) * {}
    """
    identities = [
        Model.of(cell(text.format(factor), nn=nn)(slope), "abc").identity
        for factor, slope in ((1, 0.1), (1, 0.1), (2, 0.1), (1, 0.2))
    ]
    assert identities[0] == identities[1]
    assert len(set(identities)) == 3


class Held(nn.Module):
    """A network with settings that are no numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.scales = [1.0]
        self.table = {"gain": 1.0}
        self.activation: Callable[..., Any] = torch.relu
        self.weight_map = torch.ones(2)
        self.array = np.ones(2)
        self.attention: Any = None

    def forward(self, images: Any) -> Any:
        """The mean of the images."""
        self.attention = images * 2
        return images.mean((2, 3))


@pytest.mark.parametrize(
    "change",
    [
        lambda network: network.scales.append(2.0),
        lambda network: network.table.update(gain=2.0),
        lambda network: setattr(network, "activation", torch.sin),
        lambda network: network.weight_map.mul_(2),
        lambda network: network.array.__setitem__(0, 3),
        lambda network: network.register_forward_hook(lambda module, inputs, output: output * 2),
    ],
)
def test_everything_that_a_network_holds_counts(change: Callable[[Any], Any]) -> None:
    network = Held()
    identity = Model.of(network, "abc").identity
    assert Model.of(Held(), "abc").identity == identity
    change(network)
    assert Model.of(network, "abc").identity != identity


def _nothing(module: nn.Module, inputs: Any, output: Any) -> None:
    """A hook."""


def test_what_passes_leave_in_a_network_and_the_numbers_of_hooks_do_not_count() -> None:
    networks = Held(), Held()
    for network in networks:
        network.register_forward_hook(_nothing)
    with torch.inference_mode():
        networks[0](torch.ones(1, 3, 2, 2))
    assert len({Model.of(network, "abc").identity for network in networks}) == 1


def test_a_network_with_what_cannot_be_told_is_refused_but_recurrent_and_traced_ones_are_not() -> None:
    network = Held()
    network.attention = sys.stderr
    with pytest.raises(PluginError, match=r"Held uses attention, a .* whose content cannot be told.*remove it"):
        _ = Model.of(network, "abc").identity
    assert Model.of(nn.LSTM(3, 4), "abc").identity
    assert Model.of(torch.fx.symbolic_trace(nn.Sequential(nn.ReLU())), "abc").identity


def test_a_method_that_a_class_gets_from_its_own_file_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    methods = [lambda self, images: images.sum((2, 3)), lambda self, images: images.amax((2, 3))]
    identities = [Model.of(Held(), "abc").identity]
    for method in methods:
        with monkeypatch.context() as patched:
            patched.setattr(Held, "forward", method)
            refresh()
            identities.append(Model.of(Held(), "abc").identity)
    refresh()
    assert len(set(identities)) == 3


def test_attributes_that_a_component_gets_later_count_and_travel() -> None:
    plain: Any = Linear()
    changed: Any = Linear()
    changed.gain = 2.0
    changed._cache = 3.0
    assert plain.identity != changed.identity
    for copy in (changed.with_(), pickle.loads(pickle.dumps(changed))):
        assert copy.gain == 2.0
        assert not hasattr(copy, "_cache")
        copy.renew()
        assert copy.identity == changed.identity


def test_a_file_beside_the_code_of_a_package_counts_but_not_what_runs_write(tmp_path: Path) -> None:
    package = tmp_path / "mine"
    (package / "runs").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    digests = []
    for name in ("runs/log.txt", "table.json", "table.json"):
        digests.append(source_files.code_digest(str(package / "__init__.py")))
        (package / name).write_text(f"import numpy{len(digests)}")
        refresh()
    assert digests[0] == digests[1] != digests[2]
