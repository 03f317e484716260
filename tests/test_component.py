"""Components: Params from the type argument of a base at any depth, and typed defaults of interfaces."""

import pickle
import re
import runpy
import subprocess
import sys
from typing import Generic, TypeVar

import pytest

from heatproof.component import Component, Params
from heatproof.errors import HeatproofError, PluginError
from heatproof.executor import Executor, Serial
from heatproof.explainer import Explainer
from heatproof_processes.processes import Processes, ProcessesParams


class WidthParams(Params):
    width: int = 3


class DepthParams(WidthParams):
    depth: int = 5


W = TypeVar("W", bound=WidthParams, covariant=True)
Unit = TypeVar("Unit")


class Wide(Component[W]):
    """Passes a type variable with a bound."""


class Wider(Wide[W]):
    """Passes the type variable on."""


class Deep(Wider[DepthParams]):
    """Passes a class of Params."""


class Deeper(Deep):
    """Inherits the class of Params."""


class Labelled(Component[WidthParams], Generic[Unit]):
    """Has a second type argument, which is no class of Params."""


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        (Component, Params),
        (Explainer, Params),
        (Wide, WidthParams),
        (Wider, WidthParams),
        (Wide[DepthParams], DepthParams),
        (Deep, DepthParams),
        (Deeper, DepthParams),
        (Labelled, WidthParams),
        (Executor, Params),
        (Serial, Params),
        (Processes, ProcessesParams),
    ],
)
def test_params_follow_from_the_type_argument(kind, params):
    class Last(kind):
        pass

    assert Last.Params is params


def test_a_further_type_argument_is_no_setting():
    class Metres(Labelled[DepthParams]):
        pass

    assert Metres.Params is WidthParams


def test_settings_are_validated_by_the_named_class():
    assert Deeper(depth=7).params == DepthParams(width=3, depth=7)
    with pytest.raises(HeatproofError, match="width: should be an integer"):
        Deeper(width="broad")
    with pytest.raises(HeatproofError, match="depth: unknown name"):
        Wide(depth=7)


def test_a_component_can_be_pickled_and_changed():
    deep = Deep(depth=7)
    copy = pickle.loads(pickle.dumps(deep))
    assert (type(copy), copy.params, copy.identity) == (Deep, deep.params, deep.identity)
    assert deep.with_(width=4).params == DepthParams(width=4, depth=7)
    assert Deep.create({"depth": 7}, {}, "here/deep").params == deep.params


def test_params_in_the_body_are_refused():
    with pytest.raises(
        PluginError, match=r"Odd sets Params in its body; give them to its base, as in Explainer\[OddParams\]"
    ):

        class Odd(Explainer):
            Params = WidthParams


@pytest.mark.parametrize("argument", [int, "WidthParams", Unit])
def test_a_type_argument_that_is_no_class_of_params_is_refused(argument):
    with pytest.raises(PluginError, match=r"Odd gives its base no Params; give a class derived from Params"):

        class Odd(Explainer[argument]):
            pass


DECLARED = """
from torch import nn

from heatproof.component import P, Params
from heatproof.model import Head, Model


class GradesParams(Params):
    grades: int = 5


class Flat(Model[P]):
    def build(self) -> nn.Module:
        return nn.Flatten()


class Named(Flat):
    classes = ("absent", "present")
    head = "sigmoid"


class Set(Flat[GradesParams]):
    def __init__(self, **params: int) -> None:
        super().__init__(**params)
        self.classes = tuple(map(str, range(self.params.grades)))
        self.head = "ordinal"


class Derived(Flat[GradesParams]):
    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(map(str, range(self.params.grades)))

    @property
    def head(self) -> Head:
        return "ordinal"
"""
"""Attributes of an interface as class attributes, set in ``__init__``, and as properties."""
MISTAKES = {
    'head = "sigmoid"': 'head = "sigmod"',
    'self.head = "ordinal"': 'self.head = "ordnal"',
    "self.params.grades)))\n        self": "self.params.grade)))\n        self",
    "def classes(self) -> tuple[str, ...]:": "def classes(self) -> list[str]:",
}
"""Line of ``DECLARED`` → the same line with a mistake that a type checker must report."""


def test_attributes_of_an_interface_in_three_forms(tmp_path):
    path = tmp_path / "declared.py"
    path.write_text(DECLARED)
    kinds = runpy.run_path(str(path))
    named = kinds["Named"]()
    assert (named.classes, named.head, named.outputs) == (("absent", "present"), "sigmoid", ("logits",))
    for kind in (kinds["Set"], kinds["Derived"]):
        model = kind(grades=3)
        assert (model.classes, model.head, model.outputs) == (("0", "1", "2"), "ordinal", ("logits",))


@pytest.mark.slow
def test_a_strict_type_checker_accepts_all_three_and_reports_mistakes(tmp_path):
    (tmp_path / "right.py").write_text(DECLARED)
    for number, (line, mistake) in enumerate(MISTAKES.items()):
        assert DECLARED.count(line) == 1
        (tmp_path / f"wrong_{number}.py").write_text(DECLARED.replace(line, mistake))
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--config-file=", str(tmp_path)]
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert set(re.findall(r"^(\w+)\.py:\d+: error", checked.stdout, re.MULTILINE)) == {
        f"wrong_{number}" for number in range(len(MISTAKES))
    }, checked.stdout
