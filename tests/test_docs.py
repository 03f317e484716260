"""The documentation agrees with the code: hooks, commands, keys, columns and laws; its examples run."""

import re
import runpy
import shlex
import subprocess
import sys
from itertools import chain
from pathlib import Path

import click
import duckdb
import pluggy
import pytest
from ruamel.yaml import YAML
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

from heatproof import hooks
from heatproof.cli import commands as cli
from heatproof.config import entries
from heatproof.config import settings as config
from heatproof.registry.catalog import default
from heatproof.run.runner import run
from heatproof.testing.toys import Blobs, Regions, Slope
from heatproof_inspection import settings as inspection
from heatproof_reproduce import paper
from heatproof_training import settings as training

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
GENERATED = runpy.run_path(str(DOCS / "generated.py"))
VERDICTS = runpy.run_path(str(DOCS / "verdicts.py"))
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
TEXTS = [*PAGES, ROOT / "README.md", *sorted(ROOT.glob("plugins/*/*/README.md"))]
COMPLETE = {"datasets": ["phantom"], "models": ["lesionnet"], "explainers": ["gradient"], "metrics": ["ecs"]}
ASSET = re.compile(r"""<(?:script|img|iframe|source|embed|link)\b[^>]*\b(?:src|href)=["'](?:https?:)?//[^>]*>""")
STYLE = re.compile(r"""(?:url\(|@import)\s*["']?(?:https?:)?//[^)"']*""")


def name(path):
    return path.relative_to(ROOT).as_posix()


def snippets(path, language):
    """The code blocks of a page in one language, with their lines."""
    parsed = Sybil([CodeBlockParser(language, lambda example: None)]).parse(path)
    return [(example.line, str(example.parsed)) for example in parsed.examples()]


def section(page, heading):
    """The text below a heading, up to the next heading of its level or above."""
    level = heading.split(" ")[0]
    text = f"\n{(DOCS / page).read_text(encoding='utf-8')}"
    body = text.split(f"\n{heading}\n")[1]
    return re.split(rf"\n#{{1,{len(level)}}} ", body)[0]


def rows(text):
    """The rows of all tables in a text without their heads, as cells; code marks are kept."""
    lines = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("|")]
    heads = {index - 1 for index, line in enumerate(lines) if set("".join(line)) <= set("-| ")}
    return [[cell.strip() for cell in line] for index, line in enumerate(lines) if not {index, index - 1} & heads]


def named(text):
    """The words in code marks in the first cells of all tables in a text."""
    return {word for row in rows(text) for word in re.findall(r"`([^`]+)`", row[0])}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small run on toys, in the folder that the examples read."""
    folder = tmp_path_factory.mktemp("docs")
    settings = config.RunConfig(
        output=folder / "runs/first",
        datasets=[config.DatasetEntry(component=Blobs(), split="test")],
        models=[Regions()],
        explainers=[Slope()],
        metrics=[default().create("metric", "ecs", {})],
        statistics={"resamples": 100, "permutations": 100},
    )
    run(settings, default())
    return folder


def test_every_hook_has_a_heading_with_its_exact_signature_and_every_heading_a_hook():
    manager = pluggy.PluginManager("heatproof")
    manager.add_hookspecs(hooks)
    specified = {
        f"{hook}({', '.join(caller.spec.argnames)})" for hook, caller in vars(manager.hook).items() if caller.has_spec()
    }
    assert "heatproof_run_started(folder, config)" in specified
    assert set(re.findall(r"^### (.*)$", (DOCS / "hooks.md").read_text(), re.MULTILINE)) == specified


def test_every_path_of_the_architecture_exists_and_its_image_shows_every_package():
    paths = [path.strip("`") for _, path in rows(section("architecture.md", "## Where to find it"))]
    assert len(paths) == 12
    assert [path for path in paths if not (ROOT / path).exists()] == []
    image = (DOCS / "house.svg").read_text(encoding="utf-8")
    packages = {path.parent.name for path in (ROOT / "core/src/heatproof").glob("*/__init__.py")}
    assert [package for package in sorted(packages) if f">{package}</text>" not in image] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_generated_parts_are_up_to_date(page):
    text = page.read_text(encoding="utf-8")
    assert GENERATED["filled"](text) == text, "run: python docs/generated.py"


def test_every_model_of_the_box_has_a_section_of_verdicts():
    page = (DOCS / "verdicts.md").read_text(encoding="utf-8")
    registered = VERDICTS["registered"]("model", default())
    assert list(VERDICTS["sections"](page)) == registered, "run: python docs/verdicts.py NAMES"


@pytest.mark.slow
def test_verdicts_are_as_documented():
    page = (DOCS / "verdicts.md").read_text(encoding="utf-8")
    methods = VERDICTS["explainers"](default())
    assert VERDICTS["needs"](methods) in page
    assert VERDICTS["section"]("lesionnet", default(), methods).strip() in page


def test_the_page_of_commands_shows_every_command_of_the_core_and_of_the_tools():
    headings = re.findall(r"^## `(.*)`$", (DOCS / "cli.md").read_text(), re.MULTILINE)
    assert {f"heatproof {command}" for command in cli.cli.commands} <= set(headings)
    assert {"heatproof new", "heatproof data check", "heatproof data write"} <= set(headings)


@pytest.mark.parametrize(
    ("heading", "model", "prefix"),
    [
        ("## Keys", config.RunConfig, ""),
        ("## Explicit combinations", config.CombinationEntry, ""),
        ("## Statistics and report", config.StatisticsSettings, "statistics."),
        ("## Statistics and report", config.ReportSettings, "report."),
    ],
)
def test_every_key_of_a_config_is_explained_and_none_besides(heading, model, prefix):
    explained = {key for key in named(section("config.md", heading)) if key.startswith(prefix)}
    assert explained == {f"{prefix}{key}" for key in model.model_fields}


def test_what_is_taken_of_a_dataset_is_explained():
    assert named(section("config.md", "## The samples of a dataset")) == set(entries.SELECTION)


@pytest.mark.parametrize(
    ("heading", "model", "prefix"),
    [
        ("## Keys", config.RunConfig, ""),
        ("## Statistics and report", config.StatisticsSettings, "statistics."),
        ("## Statistics and report", config.ReportSettings, "report."),
    ],
)
def test_defaults_of_a_config_are_as_documented(heading, model, prefix):
    documented = {row[0].strip("`"): row[1] for row in rows(section("config.md", heading))}
    required = {"output": "x", **COMPLETE} if model is config.RunConfig else {}
    parsed = model.model_validate(required, context=context())
    for key, field in model.model_fields.items():
        text = documented[f"{prefix}{key}"]
        if text.startswith("`") and not field.is_required():
            expected = getattr(parsed, key)
            if key == "executor":
                expected = field.default
            if isinstance(expected, tuple):
                expected = list(expected)
            assert YAML(typ="safe").load(text.strip("`")) == expected, key


def context():
    return default().context(Path())


@pytest.mark.parametrize("table", ["scores.parquet", "summary.csv", "comparisons.csv", "ranks.csv"])
def test_every_column_of_a_table_is_explained_and_none_besides(table, finished):
    read = duckdb.sql(f"select * from '{finished}/runs/first/{table}'")
    assert named(section("run_folder.md", f"## {table}")) == set(read.columns)


def test_every_column_of_the_predictions_is_explained_and_none_besides(finished):
    read = duckdb.sql(f"select * from '{finished}/runs/first/predictions/*/predictions.parquet'")
    assert named(section("run_folder.md", "## predictions.parquet")) == set(read.columns)


def test_every_file_of_a_run_is_explained(finished):
    text = section("run_folder.md", "# The run's folder")
    listed = set(re.findall(r"[├└]── ([\w.]+)", text))
    assert {path.name for path in (finished / "runs/first").iterdir()} <= listed


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_configs_in_the_texts_are_valid(path, tmp_path):
    if path.name == "own_explainer.md":
        pytest.skip("its config names a plugin that the reader installs")
    for line, text in snippets(path, "yaml"):
        if "\nobjective:" in text:
            (tmp_path / "training.yaml").write_text(text)
            assert training.load(tmp_path / "training.yaml", default()).objective
            continue
        if "\ninspectors:" in text:
            (tmp_path / "inspection.yaml").write_text(text)
            assert inspection.load(tmp_path / "inspection.yaml", default()).inspectors
            continue
        if "\nsteps:" in text:
            (tmp_path / "paper.yaml").write_text(text)
            assert paper.load(tmp_path, default()).steps
            continue
        merged = COMPLETE | YAML(typ="safe").load(text)
        with open(tmp_path / f"line_{line}.yaml", "w") as stream:
            YAML().dump(merged, stream)
        assert config.load(tmp_path / f"line_{line}.yaml", default()).metrics


@pytest.mark.parametrize(
    "path",
    sorted([*ROOT.glob("examples/*.yaml"), *DOCS.glob("trainings/*/*.yaml"), *DOCS.glob("papers/*/*.yaml")]),
    ids=name,
)
def test_configs_of_the_repository_are_valid(path, monkeypatch, tmp_path):
    text = path.read_text(encoding="utf-8")
    for variable in re.findall(r"\$\{(\w+)\}", text):
        monkeypatch.setenv(variable, str(tmp_path))
    if "\nobjective:" in text:
        assert training.load(path, default()).epochs
    else:
        loaded = config.load(path, default())
        assert loaded.models or loaded.combinations
        assert loaded.metrics or "trainings" in path.parts


@pytest.mark.slow
@pytest.mark.parametrize("path", [page for page in PAGES if "tutorials" not in page.parts], ids=name)
def test_python_in_the_pages_runs(path, finished, monkeypatch):
    monkeypatch.chdir(finished)
    for example in Sybil([PythonCodeBlockParser()]).parse(path).examples():
        example.evaluate()


def test_one_liners_of_the_readme_read_a_run(finished):
    (finished / "runs/main").symlink_to(finished / "runs/first")
    lines = [
        line for _, text in snippets(ROOT / "README.md", "sh") for line in text.splitlines() if "python -c" in line
    ]
    assert len(lines) >= 2
    for line in lines:
        words = [sys.executable, *shlex.split(line)[1:]]
        assert subprocess.run(words, cwd=finished, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_commands_in_the_texts_exist_with_their_options(path):
    for line, text in snippets(path, "sh"):
        for words in re.findall(r"(?:^|&& |--all-packages )heatproof ([^|&\n]+)", text, re.MULTILINE):
            _require_command(shlex.split(words, comments=True), f"{name(path)}:{line}")


def _require_command(words, path):
    command = GENERATED["group"]()
    while isinstance(command, click.Group):
        assert set(words[:1]) < set(command.commands), f"{path}: heatproof has no command {words[:1]}"
        command = command.commands[words.pop(0)]
    parameters = [*command.params, *cli.cli.params]  # the options of the group may follow the command
    options = set(chain.from_iterable(parameter.opts for parameter in parameters))
    assert {word.split("=")[0] for word in words if word.startswith("--")} <= options, path


def test_what_asks_the_network_is_found():
    assert ASSET.search('<script defer src="https://cdn.example/x.js"></script>')
    assert ASSET.search("<link rel='stylesheet' href='//fonts.example/css'>")
    assert STYLE.search('@import "https://fonts.example/css"')
    assert not ASSET.search('<a href="https://doi.org/10">paper</a><img src="_images/a.png">')


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_site_builds_without_warnings_runs_its_tutorials_and_needs_no_network(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(DOCS), str(tmp_path)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    pages = sorted(tmp_path.rglob("*.html"))
    styles = sorted(tmp_path.rglob("*.css"))
    assert len(pages) > len(PAGES)
    requests = [(page.name, match.group()) for page in pages for match in ASSET.finditer(page.read_text("utf-8"))]
    requests += [(style.name, match.group()) for style in styles for match in STYLE.finditer(style.read_text("utf-8"))]
    assert not requests
    page = (tmp_path / "tutorials/first_comparison.html").read_text("utf-8")
    assert page.count("<img ") >= 2
    assert "did you mean" in page
    assert not re.search("Traceback|nanobind", page)
