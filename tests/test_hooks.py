"""The hooks: all are specified and documented, and implementations may take fewer arguments."""

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import pluggy
import pytest

from heatproof import hooks
from heatproof.registry import builtin

SPECIFIED = {name: member for name, member in vars(hooks).items() if hasattr(member, "heatproof_spec")}


def manager(*plugins: object) -> pluggy.PluginManager:
    plugin_manager = pluggy.PluginManager("heatproof")
    plugin_manager.add_hookspecs(hooks)
    for plugin in plugins:
        plugin_manager.register(plugin)
    plugin_manager.check_pending()
    return plugin_manager


def test_the_list_of_hooks() -> None:
    assert set(SPECIFIED) == {
        "heatproof_kinds",
        "heatproof_datasets",
        "heatproof_models",
        "heatproof_explainers",
        "heatproof_metrics",
        "heatproof_readers",
        "heatproof_executors",
        "heatproof_synonyms",
        "heatproof_figures",
        "heatproof_folder",
        "heatproof_preparation",
        "heatproof_commands",
        "heatproof_plan_tables",
        "heatproof_plan_costs",
        "heatproof_report_sections",
        "heatproof_run_started",
        "heatproof_unit_finished",
        "heatproof_run_finished",
        "heatproof_hookspecs",
    }  # fmt: skip


@pytest.mark.parametrize("hook", SPECIFIED.values(), ids=SPECIFIED)
def test_every_hook_is_documented(hook: Callable[..., Any]) -> None:
    assert (inspect.getdoc(hook) or "").endswith(".")
    assert "return" in inspect.get_annotations(hook)


@pytest.mark.parametrize("kind", hooks.KINDS)
def test_every_kind_has_a_hook_without_arguments_and_an_interface(kind: str) -> None:
    hook, target = hooks.KINDS[kind]
    module, _, name = target.partition(":")
    interface = getattr(importlib.import_module(module), name)
    assert inspect.isabstract(interface)
    assert not inspect.signature(SPECIFIED[hook]).parameters


def test_an_implementation_may_take_fewer_arguments() -> None:
    class Listener:
        @hooks.hookimpl
        def heatproof_unit_finished(self, unit: Any) -> Any:
            return unit["key"]

    assert manager(Listener()).hook.heatproof_unit_finished(folder=None, unit={"key": "k"}) == ["k"]


def test_a_misspelt_hook_is_an_error() -> None:
    class Misspelt:
        @hooks.hookimpl
        def heatproof_unit_finishd(self) -> None: ...

    with pytest.raises(pluggy.PluginValidationError, match="heatproof_unit_finishd"):
        manager(Misspelt())


def test_the_core_implements_hooks_as_a_plugin_does() -> None:
    (declared,) = manager(builtin).hook.heatproof_executors()
    assert set(declared) == {"serial"}
