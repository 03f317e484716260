"""Descriptions of papers: mistakes are told all at once, and every declared paper is sound."""

import re
from pathlib import Path

import pytest

from heatproof.errors import ConfigError
from heatproof.registry.catalog import default
from heatproof_reproduce.library import folder_of, names
from heatproof_reproduce.paper import load
from heatproof_reproduce.published import published
from heatproof_reproduce.reproduction import Reproduction


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    (tmp_path / "paper.yaml").write_text(
        "title: t\ncitation: c\ndata: []\nsteps: [{name: A, train: a.yaml, run: b.yaml}]\n"
        "profiles: {smoke: {data: fake}}\n"
    )
    with pytest.raises(ConfigError) as error:
        load(tmp_path, default())
    text = str(error.value)
    assert "paper.yaml:4" in text
    assert "paper.yaml:5" in text
    assert "profiles.smoke.data" in text


def test_a_profile_changes_only_steps_and_data_that_there_are(toy: Path) -> None:
    path = toy / "paper.yaml"
    path.write_text(path.read_text().replace("set: {net:", "set: {nett:"))
    with pytest.raises(ConfigError, match=r"profiles\.smoke changes 'nett', which is neither a step nor a variable"):
        load(toy, default())


@pytest.mark.parametrize("name", names(default()))
def test_declared_papers_are_sound(name: str) -> None:
    folder = folder_of(default(), name)
    paper = load(folder, default())
    profiles = {"smoke", "twin", "real"}
    if name == "huff-2021":
        profiles.remove("real")  # a review has no data of its own
    assert profiles <= set(paper.profiles)
    assert published(folder, tuple(step.name for step in paper.steps))
    for step in paper.steps:
        assert (folder / step.config).is_file()
        config = (folder / step.config).read_text(encoding="utf-8")
        assert re.search(rf'^output: "\$\{{RUNS(:-runs)?\}}/{step.name}"$', config, re.MULTILINE)


def test_a_step_has_the_data_of_the_steps_that_it_reads(reproduction: Reproduction) -> None:
    (reproduction.source / "scores.yaml").write_text('weights: "${RUNS:-runs}/net/checkpoint"\n')
    assert [entry.variable for entry in reproduction.data_of["scores"]] == ["TOY_DATA"]


def test_variables_are_set_while_a_block_runs_only(reproduction: Reproduction, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("RUNS", "before")
    monkeypatch.delenv("TOY_DATA", raising=False)
    with reproduction.environment():
        assert os.environ["RUNS"] == str(reproduction.output)
        assert os.environ["TOY_DATA"] == str(reproduction.roots["TOY_DATA"])
    assert os.environ["RUNS"] == "before"
    assert "TOY_DATA" not in os.environ
