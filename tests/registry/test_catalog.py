"""The catalog: discovery, plugins at fault, names, components, hooks, and listing without heavy imports."""

import logging
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from heatproof.config.components import create
from heatproof.errors import HeatproofError, ModelError, PluginError
from heatproof.registry.catalog import Catalog, default
from heatproof.registry.discovery import Announcement, Broken, discover

CLASSES = """
from typing import Any
from heatproof.component import Location, Params
from heatproof.explainer import Explainer
from heatproof.metric import Metric

class PlainParams(Params):
    scale: float = 1.0
    table: Location | None = None

class Plain(Explainer[PlainParams]):
    def explain(self, batch: Any) -> Any: ...

class OverParams(Params):
    base: Explainer = Plain()
    more: list[Explainer] | None = None
    named: dict[str, Explainer] = {}
    free: Explainer | str = "text"

class Over(Explainer[OverParams]):
    def explain(self, batch: Any) -> Any: ...

class Share(Metric):
    def measure(self, case: Any) -> Any: ...

class Stumbling(Metric):
    def __init__(self, **params: Any):
        raise TypeError("cannot walk")
    def measure(self, case: Any) -> Any: ...
"""

Plugin = Callable[..., Announcement]


def hook(name: str, value: str, arguments: str = "") -> str:
    """Return the source of a hook implementation that returns ``value``."""
    return f"@hookimpl\ndef {name}({arguments}):\n    return {value}\n"


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plugin]:
    """Return a function that writes an importable plugin module and returns its announcement."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "toy_classes.py").write_text(CLASSES)

    def write(name: str, source: str, entry: str = "", distribution: str = "") -> Announcement:
        (tmp_path / f"{name}.py").write_text(f"from heatproof.hooks import hookimpl, hookspec\n{source}")
        return Announcement(entry or name, name, distribution or f"heatproof-{name}", "2.0")

    yield write
    for module in [*sys.modules]:
        if str(getattr(sys.modules[module], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[module]


@pytest.fixture
def good(plugin: Plugin) -> Announcement:
    declared = '{"plain": "toy_classes:Plain", "over": "toy_classes:Over"}'
    metrics = '{"share": "toy_classes:Share", "stumbling": "toy_classes:Stumbling"}'
    return plugin("good", hook("heatproof_explainers", declared) + hook("heatproof_metrics", metrics))


def names(catalog: Catalog) -> list[str]:
    return [entry.full for entry in catalog.entries if entry.distribution != "heatproof"]


GOOD = ["heatproof-good/over", "heatproof-good/plain", "heatproof-good/share", "heatproof-good/stumbling"]


def install(folder: Path, name: str, entry_points: str, kind: str = "dist-info", version: str = "1.0") -> Path:
    """Write the metadata of a distribution in the layout of an installer."""
    info = folder / f"{name}.{kind}"
    metadata = "PKG-INFO"
    if kind == "dist-info":
        info = folder / f"{name}-{version}.{kind}"
        metadata = "METADATA"
    info.mkdir(parents=True)
    (info / metadata).write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(textwrap.dedent(entry_points))
    return folder


# discovery


def test_discovers_entry_points(tmp_path: Path) -> None:
    install(tmp_path, "heatproof_b", "[console_scripts]\nb = b:main\n[heatproof]\nsame = heatproof_b\n")
    install(tmp_path, "heatproof_a", "[heatproof]\nsame = heatproof_a:plugin [extra]\n", version="2.3.1")
    assert discover([str(tmp_path)]) == (
        [
            Announcement("same", "heatproof_a:plugin", "heatproof-a", "2.3.1"),
            Announcement("same", "heatproof_b", "heatproof-b", "1.0"),
        ],
        [],
    )


MALFORMED = {
    "duplicate key": "[console_scripts]\na = b:c\na = b:d\n",
    "no section": "a = b:c\n",
    "no equals sign": "[console_scripts]\nnothing\n",
    "malformed target of a plugin": "[heatproof]\nworse = not a module\n",
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_file_hides_nobody_else(tmp_path: Path, text: str) -> None:
    install(tmp_path, "heatproof_good", "[heatproof]\ngood = heatproof_good [extra]\n")
    install(tmp_path, "some_body", text, version="3.0")
    announcements, broken = discover([str(tmp_path)])
    assert announcements == [Announcement("good", "heatproof_good", "heatproof-good", "1.0")]
    (plugin,) = broken
    assert (plugin.distribution, plugin.version, plugin.entry) == ("some-body", "3.0", "")
    assert plugin.reason.startswith(f"its entry_points.txt below {tmp_path} is malformed (")


def test_entries_of_a_malformed_file_that_are_well_formed_are_used(tmp_path: Path) -> None:
    install(tmp_path, "heatproof_half", "[heatproof]\nhalf = heatproof_half\n[console_scripts]\na = b\na = c\n")
    announcements, broken = discover([str(tmp_path)])
    assert announcements == [Announcement("half", "heatproof_half", "heatproof-half", "1.0")]
    assert [plugin.distribution for plugin in broken] == ["heatproof-half"]


@pytest.mark.parametrize("malformed", [False, True], ids=["alone", "beside a malformed file"])
def test_a_distribution_on_the_path_hides_later_ones(tmp_path: Path, malformed: bool) -> None:
    first = install(
        tmp_path / "source", "heatproof_some_thing", "[heatproof]\nx = heatproof_x\n", "egg-info", version="1.1"
    )
    second = install(tmp_path / "site", "heatproof_Some_Thing", "[heatproof]\nx = heatproof_x\n", version="1.0")
    if malformed:
        install(tmp_path / "site", "other", "nonsense\n")
    announcements, _ = discover([str(first), str(second)])
    assert announcements == [Announcement("x", "heatproof_x", "heatproof-some-thing", "1.1")]


def test_discovery_finds_this_workspace() -> None:
    announcements, _ = discover()
    targets = [plugin.target for plugin in announcements if plugin.distribution == "heatproof-baseline"]
    assert "heatproof_baseline" in targets


# plugins at fault


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nowhere_at_all", "bad does not import: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("raise SystemExit(3)", "bad does not import: SystemExit: 3"),
        ("x = = 1", "bad does not import: SyntaxError"),
        ("", "it implements no hook; mark its functions with @hookimpl from heatproof.hooks"),
        ("def heatproof_explainers(): return {}", "it implements no hook"),
        (
            hook("heatproof_explainer", "{}"),
            "hook 'heatproof_explainer' does not exist; did you mean 'heatproof_explainers'",
        ),
        (hook("heatproof_run_started", "None", "foldr"), "Argument(s) {'foldr'} are declared in the hookimpl but"),
        (hook("heatproof_metrics", "1 / 0"), "its hook heatproof_metrics raised ZeroDivisionError: division by zero"),
        (hook("heatproof_metrics", "exit(2)"), "its hook heatproof_metrics raised SystemExit: 2"),
        (
            hook("heatproof_metrics", "None"),
            "its hook heatproof_metrics returned None; it must return a mapping of names to",
        ),
        (hook("heatproof_metrics", "['a']"), "its hook heatproof_metrics returned ['a']; it must return a mapping"),
        (hook("heatproof_metrics", "{'a': int}"), "its hook heatproof_metrics declares 'a' as <class 'int'>; it must"),
        (
            hook("heatproof_metrics", "{'a': 'b'}"),
            "its hook heatproof_metrics declares 'a' as 'b'; it must return a mapping",
        ),
        (
            hook("heatproof_metrics", "{'a/b': 'b:C'}"),
            "declares the name 'a/b'; a name has letters, digits, _ and - only",
        ),
        (
            hook("heatproof_hookspecs", "1 / 0"),
            "its hook heatproof_hookspecs gives no specifications: ZeroDivisionError",
        ),
        (hook("heatproof_hookspecs", "object()"), "its hook heatproof_hookspecs gives no specifications: ValueError"),
        (
            "class Specs:\n    @hookspec(firstresult=True)\n    def heatproof_inspectors(self): ...\n"
            + hook("heatproof_hookspecs", "Specs()"),
            "heatproof_inspectors is firstresult or historic, but plugins are called one by one",
        ),
        (
            "class Specs:\n    @hookspec(historic=True)\n    def heatproof_inspectors(self): ...\n"
            + hook("heatproof_hookspecs", "Specs()"),
            "heatproof_inspectors is firstresult or historic, but plugins are called one by one",
        ),
        (
            "@hookimpl(wrapper=True)\ndef heatproof_run_started(folder):\n    return (yield)\n",
            "its hook heatproof_run_started is a wrapper, but plugins are called one by one",
        ),
        (
            "@hookimpl(hookwrapper=True)\ndef heatproof_metrics():\n    yield\n",
            "its hook heatproof_metrics is a wrapper, but plugins are called one by one",
        ),
    ],
)
def test_a_plugin_at_fault_is_set_apart(plugin: Plugin, good: Announcement, source: str, reason: str) -> None:
    if "hookimpl" in source:
        source = hook("heatproof_datasets", "{'fine': 'toy_classes:Plain'}") + source
    catalog = Catalog([plugin("bad", source), good])
    assert names(catalog) == GOOD
    (broken,) = catalog.broken
    assert (broken.distribution, broken.version, broken.entry) == ("heatproof-bad", "2.0", "bad")
    assert reason in broken.reason
    assert catalog.create("explainer", "plain", {}).name == "heatproof-good/plain"


def test_an_optional_hook_may_be_unknown(plugin: Plugin) -> None:
    source = hook("heatproof_metrics", "{}") + hook("heatproof_inspectors", "[]").replace(
        "@hookimpl", "@hookimpl(optionalhook=True)"
    )
    assert Catalog([plugin("optional", source)]).broken == ()


def test_a_plugin_may_specify_hooks_whatever_the_order(plugin: Plugin) -> None:
    user = plugin("a_user", hook("heatproof_inspectors", "[model]", "model"))
    wrong = plugin("b_wrong", hook("heatproof_inspectors", "[model]", "modle"))
    specs = "class Specs:\n    @hookspec\n    def heatproof_inspectors(self, model): ...\n" + hook(
        "heatproof_hookspecs", "Specs()"
    )
    catalog = Catalog([user, wrong, plugin("c_owner", specs)])
    assert catalog.call("heatproof_inspectors", model="net") == [["net"]]
    assert [broken.distribution for broken in catalog.broken] == ["heatproof-b_wrong"]


def test_two_plugins_of_one_module(good: Announcement) -> None:
    twin = Announcement("twin", "good", "heatproof-twin", "1")
    catalog = Catalog([good, twin])
    assert names(catalog) == GOOD
    reason = "its module good is already the plugin of heatproof-good 2.0; remove one of the two"
    assert catalog.broken == (Broken("heatproof-twin", "1", "twin", reason),)


def test_two_distributions_with_one_entry_name(plugin: Plugin) -> None:
    first = plugin("one", hook("heatproof_metrics", '{"share": "toy_classes:Share"}'), "same")
    second = plugin("two", hook("heatproof_metrics", '{"other": "toy_classes:Share"}'), "same")
    assert names(Catalog([first, second])) == ["heatproof-two/other", "heatproof-one/share"]


# names and classes


def test_names(plugin: Plugin, good: Announcement) -> None:
    other = plugin("other", hook("heatproof_metrics", '{"share": "toy_classes:Share"}'))
    catalog = Catalog([good, other])
    assert catalog.resolve("metric", "heatproof-other/share").distribution == "heatproof-other"
    assert catalog.resolve("metric", "Heatproof_Other/share").distribution == "heatproof-other"
    assert catalog.resolve("explainer", "plain").target == "toy_classes:Plain"
    with pytest.raises(PluginError, match="write 'heatproof-good/share' or 'heatproof-other/share'"):
        catalog.resolve("metric", "share")


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("explainer", "plian", "no explainer is named 'plian'; did you mean 'plain'"),
        ("explainer", "share", "no explainer is named 'share'; 'share' is of kind metric; allowed: over, plain"),
        ("explainer", "heatproof-god/plain", "did you mean 'heatproof-good/plain'"),
        ("explainer", "toy_classes:Plain", "is not a registered name; import paths are not allowed"),
        ("explainer", "toy_classes.Plain", "is not a registered name; import paths are not allowed"),
        ("explainer", "", "is not a registered name"),
        ("explaner", "plain", "there is no kind 'explaner'; did you mean 'explainer'"),
    ],
)
def test_unknown_names(good: Announcement, kind: str, name: str, message: str) -> None:
    with pytest.raises(PluginError) as caught:
        Catalog([good]).resolve(kind, name)
    assert message in str(caught.value)
    assert "broken" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("explainer", "Fancy++", "; here it is plain, see"),
        ("explainer", "fancy", "; allowed: over, plain"),
        ("explainer", "PLA_IN", "; here it is plain"),
        ("metric", "part-whole", "; here it is {use: share, of: 2}"),
        ("explainer", "part_whole", "; allowed: over, plain"),
        ("metric", "lost", "; allowed: share, stumbling"),
    ],
)
def test_names_elsewhere_lead_to_the_name_here(
    plugin: Plugin, good: Announcement, kind: str, name: str, message: str
) -> None:
    synonyms = '{"fancy++": "plain", "PartWhole": {"use": "share", "of": 2}, "lost": "gone"}'
    catalog = Catalog([good, plugin("named", hook("heatproof_synonyms", synonyms)),
                       plugin("odd", hook("heatproof_synonyms", "[3]"))])  # fmt: skip
    with pytest.raises(PluginError, match=re.escape(message)):
        catalog.resolve(kind, name)


def test_every_synonym_of_this_workspace_describes_a_component() -> None:
    catalog = default()
    declared = {name: text for synonyms in catalog.call("heatproof_synonyms") for name, text in synonyms.items()}
    assert {"TopKIntersection", "GradCAM++", "Saliency"} <= declared.keys()
    for name, component in declared.items():
        (entry,) = catalog.entries_of(component if isinstance(component, str) else component["use"])
        if not isinstance(component, str):
            assert catalog.build(entry.kind, component, catalog.context(Path()))
        with pytest.raises(PluginError, match="here it is"):
            catalog.require_entries(name)


def test_an_unknown_name_may_belong_to_a_broken_plugin(plugin: Plugin, good: Announcement) -> None:
    catalog = Catalog([good, plugin("bad", "import nowhere")])
    with pytest.raises(PluginError, match=r"or it belongs to a broken plugin \(heatproof-bad 2.0: bad does not import"):
        catalog.resolve("explainer", "gone")


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("nowhere:Class", "does not load from nowhere:Class: ModuleNotFoundError: No module named 'nowhere'"),
        ("toy_classes:Gone", "AttributeError: module 'toy_classes' has no attribute 'Gone'"),
        ("toy_classes:Share", "it is not a subclass of heatproof.explainer.Explainer"),
        ("json:dumps", "it is not a subclass of heatproof.explainer.Explainer"),
    ],
)
def test_a_class_that_does_not_load_sets_the_plugin_apart(
    plugin: Plugin, good: Announcement, target: str, reason: str
) -> None:
    source = hook("heatproof_explainers", f'{{"wrong": "{target}"}}') + hook(
        "heatproof_metrics", '{"fine": "toy_classes:Share"}'
    )
    catalog = Catalog([good, plugin("bad", source)])
    assert "heatproof-bad/fine" in names(catalog)
    with pytest.raises(PluginError, match=r"^heatproof-bad 2.0 is broken: explainer 'wrong' does not load"):
        catalog.load(catalog.resolve("explainer", "wrong"))
    assert names(catalog) == GOOD
    assert reason in catalog.broken[0].reason


def test_verify_loads_everything(plugin: Plugin, good: Announcement) -> None:
    bad = hook("heatproof_explainers", '{"wrong": "nowhere:A", "other": "nowhere:B"}')
    broken = Catalog([plugin("bad", bad), good]).verify()
    assert [plugin.distribution for plugin in broken] == ["heatproof-bad"]
    assert Catalog([good]).verify() == ()


# components


def test_create(good: Announcement, tmp_path: Path) -> None:
    component = Catalog([good]).create("explainer", "plain", {"scale": 2, "table": "a/b.csv"}, tmp_path)
    assert component.registered == "heatproof-good/plain"
    assert dict(component.params) == {"scale": 2.0, "table": tmp_path / "a/b.csv"}


def test_create_nested(good: Announcement, tmp_path: Path) -> None:
    params: dict[str, Any] = {
        "base": {"use": "plain", "table": "t.csv"},
        "more": ["plain", {"use": "over", "base": "heatproof-good/plain"}],
        "named": {"one": "plain"},
    }
    over = dict(Catalog([good]).create("explainer", "over", params, tmp_path).params)
    assert over["base"].params.table == tmp_path / "t.csv"
    assert [component.registered for component in over["more"]] == ["heatproof-good/plain", "heatproof-good/over"]
    assert over["more"][1].params.base.registered == "heatproof-good/plain"
    assert over["named"]["one"] is over["more"][0]
    assert over["free"] == "text"


def test_components_that_are_defaults_get_their_names(good: Announcement) -> None:
    catalog = Catalog([good])
    over = catalog.create("explainer", "over", {})
    assert over.params.base.registered == "heatproof-good/plain"  # type: ignore[attr-defined]
    params = {name: value for name, value in over.describe().items() if name != "use"}
    again = catalog.create("explainer", "over", params)
    assert again.identity == over.identity


def test_wrong_params(good: Announcement) -> None:
    params = {"base": "plian", "more": [{"use": "plain", "scale": "x"}, 3], "named": {"a": None}}
    with pytest.raises(HeatproofError) as caught:
        create(Catalog([good]), "explainer", "over", params)
    message = str(caught.value)
    for part in (
        "heatproof-good/over: base: no explainer is named 'plian' (seen: 'plian'); did you mean 'plain'",
        "; more.0.scale: should be a number",
        "more.1: should name a registered explainer, or be a mapping",
        "named.a: should name a registered explainer, or be a mapping",
    ):
        assert part in message


def test_a_component_that_raises_when_created(good: Announcement) -> None:
    with pytest.raises(PluginError, match=r"heatproof-good/stumbling cannot be created .*\(TypeError: cannot walk\)"):
        Catalog([good]).create("metric", "stumbling", {})


def test_the_core_registers_chance_a_reader_and_an_executor() -> None:
    catalog = Catalog([])
    assert [(entry.kind, entry.name) for entry in catalog.entries] == [
        ("explainer", "random"),
        ("reader", "raster"),
        ("executor", "serial"),
    ]
    assert catalog.verify() == ()


# hooks


def test_a_hook_that_raises_does_not_stop_the_others(
    plugin: Plugin, good: Announcement, caplog: pytest.LogCaptureFixture
) -> None:
    first = plugin("first", hook("heatproof_run_started", "1 / 0", "folder"))
    second = plugin("second", hook("heatproof_run_started", "folder.name", "folder"))
    catalog = Catalog([first, second, good])
    with caplog.at_level(logging.WARNING, "heatproof"):
        for _ in range(2):
            assert catalog.call("heatproof_run_started", folder=Path("run"), config={}) == ["run"]
    reason = "its hook heatproof_run_started raised ZeroDivisionError: division by zero"
    assert catalog.broken == (Broken("heatproof-first", "2.0", "first", reason),)
    assert caplog.messages == [f"plugin heatproof-first 2.0: {reason}"] * 2
    assert names(catalog) == GOOD


def test_the_first_preparation_is_used(plugin: Plugin, caplog: pytest.LogCaptureFixture) -> None:
    broken = plugin("broken", hook("heatproof_preparation", "1 / 0", "source"))
    unknown = plugin("unknown", hook("heatproof_preparation", "None", "source"))
    known = plugin("known", hook("heatproof_preparation", "source.upper() or None", "source"))
    later = plugin("later", hook("heatproof_preparation", "'later'", "source"))
    with caplog.at_level(logging.WARNING, "heatproof"):
        assert Catalog([broken, unknown, known, later]).first("heatproof_preparation", source="net") == "NET"
    assert caplog.messages == [
        "plugin heatproof-broken 2.0: its hook heatproof_preparation raised ZeroDivisionError: division by zero"
    ]
    assert Catalog([unknown, known]).first("heatproof_preparation", source="") is None


def test_a_plugin_refuses_what_a_user_gave_in_its_own_words(plugin: Plugin) -> None:
    source = hook("heatproof_preparation", "refuse(source)", "source")
    source = f"from heatproof.errors import ModelError\n\ndef refuse(source):\n    raise ModelError(source)\n\n{source}"
    catalog = Catalog([plugin("strict", source), plugin("later", hook("heatproof_preparation", "source", "source"))])
    with pytest.raises(ModelError, match=r"^a random step$"):
        catalog.first("heatproof_preparation", source="a random step")
    assert catalog.broken == ()


def test_a_hook_that_does_not_exist(good: Announcement) -> None:
    with pytest.raises(PluginError, match="hook 'heatproof_run_begun' does not exist; did you mean"):
        Catalog([good]).call("heatproof_run_begun")


def test_tryfirst_and_trylast_order_the_calls(plugin: Plugin) -> None:
    late, plain, early = (
        plugin(name, hook("heatproof_run_started", f"'{name}'").replace("@hookimpl", f"@hookimpl{options}"))
        for name, options in (("late", "(trylast=True)"), ("plain", ""), ("early", "(tryfirst=True)"))
    )
    again = plugin("again", hook("heatproof_run_started", "'again'"))
    catalog = Catalog([late, plain, early, again])
    assert catalog.broken == ()
    assert catalog.call("heatproof_run_started", folder=Path("run"), config={}) == ["early", "plain", "again", "late"]


# the process


def test_there_is_one_default_catalog() -> None:
    assert default() is default()
    assert "heatproof/random" in [entry.full for entry in default().entries]


LISTING = """
import sys, time
start = time.perf_counter()
from heatproof.registry.catalog import default
catalog = default()
entries = [entry for entry in catalog.entries if entry.distribution.startswith("heatproof-fake")]
print(len(entries), time.perf_counter() - start)
assert not catalog.broken, catalog.broken
print(*sorted({"torch", "torchvision", "pydantic", "numpy"} & sys.modules.keys()))
"""


@pytest.mark.slow
def test_forty_plugins_are_listed_without_torch(tmp_path: Path) -> None:
    for number in range(40):
        install(tmp_path, f"heatproof_fake{number}", f"[heatproof]\nfake{number} = heatproof_fake{number}\n")
        source = hook("heatproof_explainers", f'{{"fake{number}": "heatproof_fake{number}.heavy:Fake"}}')
        package = tmp_path / f"heatproof_fake{number}"
        package.mkdir()
        (package / "__init__.py").write_text(f"from heatproof.hooks import hookimpl\n{source}")
        (package / "heavy.py").write_text("import torch\n")
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{LISTING}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    listing, heavy_modules = done.stdout.splitlines()
    count, seconds = listing.split()
    print(f"listing 40 plugins: {seconds} s")
    assert count == "40"
    assert heavy_modules == ""
    assert float(seconds) < 2


OBJECTIVES = """
from heatproof.component import Component, P, Params
from heatproof.explainer import Explainer

class Objective(Component[P]): ...

class SumParams(Params):
    parts: list[Objective]
    explainer: Explainer

class Plain(Objective): ...

class Sum(Objective[SumParams]): ...
"""


def test_a_plugin_adds_a_kind_of_components(plugin: Plugin, good: Announcement, tmp_path: Path) -> None:
    (tmp_path / "toy_objectives.py").write_text(OBJECTIVES)
    kinds = '{"objective": ("heatproof_objectives", "toy_objectives:Objective")}'
    specified = "@hookspec\ndef heatproof_objectives(): ...\n"
    source = "import sys\n" + hook("heatproof_kinds", kinds) + hook("heatproof_hookspecs", "sys.modules[__name__]")
    training = plugin("training", source + specified)
    declared = '{"some": "toy_objectives:Plain", "sum": "toy_objectives:Sum", "other": "toy_classes:Plain"}'
    basic = plugin("basic", hook("heatproof_objectives", declared))
    catalog = Catalog([basic, good, training])
    assert not catalog.broken
    assert [entry.name for entry in catalog.entries if entry.kind == "objective"] == ["other", "some", "sum"]
    params = {"parts": ["some", {"use": "heatproof-basic/some"}], "explainer": {"use": "plain", "scale": 2}}
    component: Any = create(catalog, "objective", "sum", params)
    assert [part.name for part in component.params.parts] == ["heatproof-basic/some"] * 2
    assert component.params.explainer.params.scale == 2
    with pytest.raises(HeatproofError, match=r"parts\.0: no objective is named 'sam'"):
        create(catalog, "objective", "sum", params | {"parts": ["sam"]})
    with pytest.raises(PluginError, match=r"it is not a subclass of toy_objectives\.Objective"):
        create(catalog, "objective", "other", {})


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ('{"metric": ("heatproof_metrics", "toy_classes:Share")}', "declares the kind 'metric', which exists already"),
        ('{"objective": ("heatproof_goals", "toy_classes:Share")}', "hook 'heatproof_goals' does not exist"),
    ],
)
def test_a_kind_at_fault_sets_its_plugin_apart(plugin: Plugin, good: Announcement, kinds: str, message: str) -> None:
    catalog = Catalog([good, plugin("bad", hook("heatproof_kinds", kinds))])
    assert [broken.distribution for broken in catalog.broken] == ["heatproof-bad"]
    assert message in catalog.broken[0].reason
    assert "heatproof-good/share" in names(catalog)
