"""Tables and progress: their content, their width in a terminal, and text that looks like markup."""

import io
import itertools
import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field
from rich.console import Console

from heatproof.cli.display import plan_table, ranking_tables, settings_table, subgroup_table, type_text
from heatproof.cli.progress import Live
from heatproof.cli.tables import show, table
from heatproof.component import Location, Params
from heatproof.explainer import Explainer
from heatproof.plan.task import Combination, Source
from heatproof.records import Verdict
from heatproof.results.divisions import Division, Group, Member
from heatproof.results.subgroups import FLAG
from heatproof.run.work import Work
from heatproof_gradient.gradient import Gradient
from heatproof_phantom.phantom import Phantom
from heatproof_resnet50.resnet50 import ResNet50

HOSTILE = "[red]x[/red] \x1b[2J\r\n\\[b"
ESCAPED = r"[red]x[/red] \x1b[2J\r\n\[b"


def printed(*tables: Any, width: int = 80, **settings: Any) -> str:
    """Return the output of a console of this width."""
    console = Console(file=io.StringIO(), width=width, highlight=False, **settings)
    for group in tables:
        show(console, group)
    return console.file.getvalue()  # type: ignore[attr-defined]


def cells(text: str) -> list[list[str]]:
    return [re.split(r"  +", line.strip()) for line in text.splitlines() if line.strip()]


# tables


def test_text_in_cells_is_no_markup() -> None:
    text = printed(table(HOSTILE, ("a",), [(HOSTILE,), (0.12345,), (None,), (float("nan"),), (12,)]))
    assert ESCAPED in text.splitlines()[-6]
    assert [line.strip() for line in text.splitlines()][-5:] == ["0.123", "", "", "12", ""]
    assert "\x1b" not in printed(table("x", ("a",), [(HOSTILE,)]), force_terminal=True, color_system=None)


def test_columns_with_equal_values_move_to_the_title() -> None:
    rows = [("x", "same", "", 1), ("y", "same", "", 2)]
    text = printed(table("Two", ("name", "kind", "note", "count"), rows, fold=("kind", "note")))
    assert cells(text)[0] == ["Two (kind same)"]
    assert cells(text)[1] == ["name", "count"]
    assert cells(text)[3:] == [["x", "1"], ["y", "2"]]


def test_columns_that_differ_stay() -> None:
    text = printed(table("Two", ("name", "kind"), [("x", "a"), ("y", "b")], fold=("kind",)))
    assert cells(text)[0] == ["Two"]
    assert cells(text)[1] == ["name", "kind"]


def test_a_table_without_rows() -> None:
    assert cells(printed(table("None", ("name",), [], fold=("name",))))[0] == ["None"]


class Settings(Params):
    """Fields of all types."""

    count: int = Field(default=3, ge=1, le=9)
    share: Annotated[float, Field(gt=0)] | None = None
    path: Location
    base: Explainer = Gradient()
    names: tuple[str, ...] = ("a", "b")
    weights: Mapping[str, float] = {}
    mode: Literal["area", "floor"] = "area"
    flag: bool = Field(default=False, description="whether it is on")


def test_settings_are_described_as_in_a_config() -> None:
    component = SimpleNamespace(Params=Settings)
    rows = {row[0]: row[1:] for row in cells(printed(settings_table(component), width=120))}  # type: ignore[arg-type]
    assert rows["count"] == ["integer ≥ 1 ≤ 9", "3"]
    assert rows["share"] == ["number > 0 or none", "none"]
    assert rows["path"] == ["path", "required"]
    assert rows["base"][0] == "explainer"
    assert "Gradient" in rows["base"][1]
    assert rows["names"] == ["list of text", "['a', 'b']"]
    assert rows["weights"] == ["mapping of text to number", "{}"]
    assert rows["mode"] == ["area | floor", "area"]
    assert rows["flag"] == ["true or false", "False", "whether it is on"]


def test_types_that_are_nested() -> None:
    assert type_text(list[Literal["a", "b"]] | None) == "list of (a | b) or none"
    assert type_text(Any) == "anything"


@pytest.fixture(scope="module")
def plan() -> Any:
    """Return a plan of two models and two verdicts, without weights."""
    phantom = Phantom(patients=40)
    models = [ResNet50(), ResNet50(seed=1, size=64)]
    source = Source(phantom, "test", tuple(phantom.ids("test")))
    verdicts = [Verdict("exact"), Verdict("approximate", "one path has no rule")]
    combinations = [
        Combination(source, model, "logit", Gradient(), "max", 0, verdict, layers=(), requests=())
        for model, verdict in itertools.product(models, verdicts)
    ]
    return SimpleNamespace(combinations=combinations, skipped=[], choices=())


def test_a_plan_fits_eighty_columns(plan: Any) -> None:
    rows = cells(printed(plan_table(plan)))
    assert rows[0] == ["4 combinations (dataset Phantom, split test, samples 16, target logit, reduction"]
    assert rows[1] == ["max)"]
    assert rows[2] == ["model", "explainer", "verdict", "because"]
    assert ["ResNet50(seed=1, size=64)", "Gradient", "approximate", "one path has no rule"] in rows


def entry(name: str, value: float, **others: float) -> Any:
    row = {
        "value": value, "low": value - 0.1, "high": value + 0.1, "n_valid": 8, "n_excluded": 2, "n_failed": 1,
        "n_invalid": 0, "p_random_holm": 0.01, "combination": name,
    }  # fmt: skip
    rows = {"combined": row, **{measure: {"value": number} for measure, number in others.items()}}
    return SimpleNamespace(name=name, value=value, row=row, rows=rows, baseline=name == "random")


def test_subgroups() -> None:
    rows = {
        "good": {"value": 0.5, "low": 0.4, "high": 0.6, "n_valid": 12, "n_patients": 11, "flag": ""},
        "poor": {"value": 0.2, "low": float("nan"), "high": float("nan"), "n_valid": 2, "n_patients": 1, "flag": FLAG},
    }
    members = [Member(name, row) for name, row in rows.items()]
    ranking: Any = SimpleNamespace(metric="ecs", dataset="eyes", split="test", standard=SimpleNamespace(primary="all"))
    division = Division(ranking, "grade", (Group("mild", tuple(members)), Group("[b]", (members[1],))))
    lines = cells(printed(subgroup_table(division)))
    assert lines[0] == ["ecs on eyes, split test, by grade: all"]
    assert lines[1] == ["group", "combination", "value", "interval", "valid", "patients"]
    assert lines[3:] == [
        ["mild", "good", "0.500", "0.400 – 0.600", "12", "11"], ["mild", "poor", "0.200", "2", "1, few"],
        ["[b]", "poor", "0.200", "2", "1, few"],
    ]  # fmt: skip


def test_a_ranking() -> None:
    entries = [entry("net × gradcam(layer=layer4.2.conv3)", 0.5, soft_exudates=0.25), entry("random", 0.15)]
    ranking = SimpleNamespace(
        entries=entries, measures=("combined", "soft_exudates"), metric="ecs", dataset="phantom", split="test",
        standard=SimpleNamespace(primary="combined", expected=0.15), correction="holm", flag="", common_flag="",
        comparisons=(), alpha=0.05, benchmarks=(),
    )  # fmt: skip
    text = printed(*ranking_tables(ranking), width=90)  # type: ignore[arg-type]
    first, second = (cells(part) for part in text.split("\n\n")[:2])
    assert " ".join([*first[0], *first[1]]) == (
        "ecs on phantom, split test, by combined; chance is expected to reach 0.15 (excluded 2, failed 1)"
    )
    assert first[2] == ["combination", "value", "group", "interval", "valid", "p vs random"]
    assert first[4] == ["net × gradcam(layer=layer4.2.conv3)", "0.500", "a", "0.400 – 0.600", "8", "0.010"]
    assert second[1] == ["combination", "soft_exudates"]
    ranking.flag = "parity"
    assert "reach 0.15; parity" in " ".join(printed(*ranking_tables(ranking)).split())  # type: ignore[arg-type]
    assert second[3:] == [["net × gradcam(layer=layer4.2.conv3)", "0.250"], ["random"]]


# progress


class Clock:
    """A clock for a console, set by hand."""

    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_plain_lines() -> None:
    clock = Clock()
    console = Console(file=io.StringIO(), width=40, get_time=clock)
    with Live(console) as live:
        live.stage("planning")
        live.begin(12, 2)
        clock.seconds += 60
        live.advance(4, 0, HOSTILE)
        clock.seconds += 60
        live.advance(2, 3, "phantom × net, 8 samples")
        live.advance(4, 0, "phantom × net, 8 samples")
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "planning",
        "12 units, 2 already there",
        f"6/12 units, 4/min, 0:01:30 left, 0 failed: {ESCAPED}",
        "8/12 units, 3/min, 0:01:20 left, 3 failed: phantom × net, 8 samples",
        "12/12 units, 5/min, 3 failed: phantom × net, 8 samples",
    ]


def test_long_silence_outside_a_terminal() -> None:
    clock = Clock()
    console = Console(file=io.StringIO(), width=40, get_time=clock)
    live = Live(console)

    def wait(seconds: int) -> None:
        for _ in range(seconds):
            clock.seconds += 1
            live.tick()

    live.stage("writing the report")
    wait(65)
    live.stage("filling open settings")
    for number in range(1, 28):
        live.step(f"filling open settings: {number} of 27 {HOSTILE}")
        wait(2)
    live.begin(4, 1)
    wait(29)
    live.advance(1, 0, "phantom × net, 8 samples")
    wait(30)
    live.step("running phantom × net")
    wait(59)
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "writing the report",
        "still writing the report, 30 s",
        "still writing the report, 60 s",
        "filling open settings",
        f"still filling open settings: 15 of 27 {ESCAPED}, 30 s",
        "4 units, 1 already there",
        "2/4 units, 2.07/min, 0:00:58 left, 0 failed: phantom × net, 8 samples",
        "2/4 units, 2.07/min, 0:00:58 left, 0 failed: still running, 30 s",
        "2/4 units, 2.07/min, 0:00:58 left, 0 failed: still running phantom × net, 60 s",
    ]


def test_the_ticker_ends_with_the_run() -> None:
    with Live(Console(file=io.StringIO())) as live:
        assert live.ticker.is_alive()
    assert not live.ticker.is_alive()


def test_a_live_line() -> None:
    clock = Clock()
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None, get_time=clock)
    with Live(console) as live:
        assert not live.ticker.is_alive()
        live.stage(HOSTILE)
        live.step(f"{HOSTILE}: 1 of 2")
        assert live.progress.tasks[0].description == f"{ESCAPED}: 1 of 2"
        live.begin(800, 0)
        clock.seconds += 6
        live.advance(20, 1, "[bold]phantom × resnet50 and a name that is longer than the line")
        clock.seconds += 1
        frame = live.progress.get_renderable()
    console.print(frame)
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue()).splitlines()[-1]  # type: ignore[attr-defined]
    assert len(last) <= 80
    assert "[bold]phantom ×" in last
    assert "20/800 units, 200/min, 0:03:54 left, 1 failed" in last


def test_no_time_has_passed() -> None:
    live = Live(Console(file=io.StringIO(), get_time=Clock()))
    live.begin(0, 0)
    live.begin(2, 0)
    live.advance(2, 0, "at once")
    assert live.state == "2/2 units, 0 failed"


def test_outside_a_terminal_a_run_says_what_runs_in_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    console = Console(file=io.StringIO(), width=400, get_time=clock)
    live = Live(console)
    monkeypatch.setattr(Work, "activity", "slope")
    live.begin(8, 3)
    clock.seconds += 30
    live.tick()
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "8 units, 3 already there",
        "3/8 units, 0 failed: still running slope, 30 s",
    ]
