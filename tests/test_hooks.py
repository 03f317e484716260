"""The hooks: every one is specified, described and reachable, and plugins may ask for fewer arguments."""

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import pluggy
import pytest

from salix import builtin, hooks

SPECIFIED = {name: member for name, member in vars(hooks).items() if hasattr(member, "salix_spec")}


def manager(*plugins: object) -> pluggy.PluginManager:
    made = pluggy.PluginManager("salix")
    made.add_hookspecs(hooks)
    for plugin in plugins:
        made.register(plugin)
    made.check_pending()
    return made


def test_all_hooks_are_there() -> None:
    assert set(SPECIFIED) == {
        "salix_datasets", "salix_models", "salix_explainers", "salix_metrics", "salix_executors", "salix_exporters",
        "salix_commands", "salix_report_sections", "salix_run_started", "salix_unit_finished", "salix_run_finished",
        "salix_hookspecs",
    }  # fmt: skip


@pytest.mark.parametrize("hook", SPECIFIED.values(), ids=SPECIFIED)
def test_every_hook_says_what_it_is_for(hook: Callable[..., Any]) -> None:
    assert (inspect.getdoc(hook) or "").endswith(".")
    assert "return" in inspect.get_annotations(hook)


@pytest.mark.parametrize("kind", hooks.KINDS)
def test_every_kind_has_a_hook_without_arguments_and_an_interface(kind: str) -> None:
    hook, target = hooks.KINDS[kind]
    module, _, name = target.partition(":")
    interface = getattr(importlib.import_module(module), name)
    assert inspect.isabstract(interface)
    assert not inspect.signature(SPECIFIED[hook]).parameters


def test_an_implementation_may_ask_for_fewer_arguments() -> None:
    class Listener:
        @hooks.hookimpl
        def salix_unit_finished(self, unit: Any) -> Any:
            return unit["key"]

    assert manager(Listener()).hook.salix_unit_finished(folder=None, unit={"key": "k"}) == ["k"]


def test_a_misspelt_hook_is_noticed() -> None:
    class Misspelt:
        @hooks.hookimpl
        def salix_unit_finishd(self) -> None: ...

    with pytest.raises(pluggy.PluginValidationError, match="salix_unit_finishd"):
        manager(Misspelt())


def test_the_core_is_a_plugin_too() -> None:
    (declared,) = manager(builtin).hook.salix_executors()
    assert set(declared) == {"serial", "processes"}
