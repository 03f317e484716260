"""The page of messages: one example of every error that tests provoke, from modules that are there."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/messages.md"
MESSAGES = runpy.run_path(str(ROOT / "docs/messages.py"))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("unknown metric 'ecz'; did you mean 'ecs'?", "unknown metric 'a'; did you mean 'b', 'c' or 'd'?"),
        ("/data/a.png has 3 channels", "b/c.tif has 1 channels"),
        ("the shape is (1, 3); give (2, 4)", "the shape is (7,); give ()"),
    ],
)
def test_messages_that_differ_in_names_and_numbers_share_a_template(first: str, second: str) -> None:
    assert MESSAGES["template"](first) == MESSAGES["template"](second)


def test_other_words_make_another_template() -> None:
    assert MESSAGES["template"]("unknown metric 'a'") != MESSAGES["template"]("unknown model 'a'")


def test_a_message_is_collected_once_with_the_shortest_example(tmp_path: Path) -> None:
    for number, names in enumerate((["heatmap", "map"], ["long_name"])):
        lines = [f'{{"site": "heatproof.a", "kind": "DataError", "text": "no {name!r} there"}}\n' for name in names]
        (tmp_path / f"{number}.jsonl").write_text("".join(lines), encoding="utf-8")
    assert MESSAGES["collected"](tmp_path) == {"heatproof.a": {"DataError": ["no 'map' there"]}}
    assert "- no 'map' there" in MESSAGES["page"](MESSAGES["collected"](tmp_path))


def test_paths_of_a_test_run_are_left_out() -> None:
    text = f"/tmp/pytest-of-me/pytest-7/popen-gw1/test_a0/run is full, see {ROOT}/docs/a.md at 0x7f00"
    assert MESSAGES["_settled"](text) == "…/run is full, see docs/a.md at 0x…"


def test_every_module_of_the_page_is_there() -> None:
    """Elsewhere than in `python docs/messages.py` nobody notices that a module was renamed."""
    text = PAGE.read_text(encoding="utf-8")
    modules = re.findall(r"^## `([\w.]+)`$", text, re.MULTILINE)
    assert len(modules) > 50
    folders = [ROOT / "core/src", *ROOT.glob("plugins/*/*/src")]
    paths = [module.replace(".", "/") + ".py" for module in modules]
    assert [path for path in paths if not any((folder / path).is_file() for folder in folders)] == []


def test_the_page_names_no_folder_of_a_machine() -> None:
    assert re.findall(r"/tmp/|/home/|/work/|pytest-of", PAGE.read_text(encoding="utf-8")) == []
