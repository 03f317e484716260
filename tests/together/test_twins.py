"""Each dataset with a layout writes the phantom's samples, reads them back and is checked, by the command line."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from heatproof.cli.commands import cli
from heatproof.dataset import Dataset
from heatproof.records import Label, Sample
from heatproof.registry.catalog import default

SMALL = {"patients": 3, "height": 64}
DRAWN: dict[tuple[str, str], Sample] = {}
SUBJECTS = {
    "chexlocalize": "chest",
    "egd_cxr": "chest",
    "lidc": "thorax",
    "nih_boxes": "chest",
    "reflacx": "chest",
    "vindr_cxr": "chest",
}
"""The subject that the phantom draws for a dataset; eyes by default."""
READ: dict[str, dict[str, Any]] = {
    "lidc": {"crop": "scan"},
    "nih_boxes": {"images": "all", "size": [64, 53]},
    "reflacx": {"phases": [3]},
}
"""Settings to read a twin with, where only a part of the layout is written, or images have another size."""


def last_at_most(label: Label, dataset: Dataset) -> Label:
    """The label that ``class_to_write`` returns: one beyond the classes becomes the last class."""
    assert isinstance(label, int)
    return min(label, len(dataset.classes) - 1)


LABELS: dict[str, Callable[[Label, Dataset], Label]] = {
    "idrid": lambda label, dataset: None,
    "lidc": lambda label, dataset: None,
    "vessels": lambda label, dataset: None,
    "image_folder": lambda label, dataset: dataset.classes.index(f"class_{label}"),
}
"""The label after reading: part A of IDRiD, whole scans and vessels have none, a folder numbers its classes."""


def layouts() -> list[str]:
    """The datasets of this project that write their own layout."""
    entries = [entry for entry in default().entries if entry.kind == "dataset"]
    plugins = [entry for entry in entries if entry.distribution.startswith("heatproof-")]
    return [entry.name for entry in plugins if getattr(default().load(entry), "write") is not Dataset.write]  # noqa: B009


def heatproof(*words: object) -> Result:
    """The command line, with lines long enough for one example."""
    environment = {"COLUMNS": "1000"}
    return CliRunner(env=environment).invoke(cli, [str(word) for word in words], prog_name="heatproof")


def given(settings: dict[str, Any]) -> list[str]:
    """Settings as words of the command line."""
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def phantom(subject: str) -> Dataset:
    """The phantom of a subject."""
    dataset: Dataset = default().create("dataset", "phantom", SMALL | {"subject": subject})  # type: ignore[assignment]
    return dataset


@pytest.fixture(autouse=True)
def _drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cache the drawn samples: drawing takes most of the time, and depends on the settings only."""
    drawing = default().load(default().resolve("dataset", "phantom"))

    def load(self: Any, id: str) -> Sample:
        if (self.params.subject, id) not in DRAWN:
            DRAWN[self.params.subject, id] = draw(self, id)
        return DRAWN[self.params.subject, id]

    draw: Any = drawing.load  # type: ignore[attr-defined]
    monkeypatch.setattr(drawing, "load", load)


@pytest.mark.parametrize("name", layouts())
def test_a_twin(name: str, tmp_path: Path) -> None:
    subject = SUBJECTS.get(name, "eye")
    settings = READ.get(name, {})
    root = tmp_path / "twin"
    origin = phantom(subject)
    labels = [origin.load(id).label for id in origin.ids()]
    written = heatproof("data", "write", name, *given(SMALL | {"subject": subject}), "--root", root)
    assert written.exit_code == 0, written.output
    assert f"wrote {len(labels)} samples" in written.output
    twin: Any = default().create("dataset", name, {"root": str(root)} | settings)
    read = [twin.load(id) for id in twin.ids()]
    expected = LABELS.get(name, last_at_most)
    assert Counter(sample.label for sample in read) == Counter(expected(label, twin) for label in labels)
    checked = heatproof("data", "check", name, *given(settings), "--root", root)
    assert checked.exit_code == 0, checked.output
    rows = [line.split() for line in checked.output.splitlines()]
    for finding in twin.check():
        expected_row = [
            *finding.what.split(),
            str(finding.count),
            *([str(finding.expected)] * (finding.expected is not None)),
        ]
        assert expected_row in [row[: len(expected_row)] for row in rows], checked.output


@pytest.mark.parametrize(("part", "extras"), [
    ("grading", set()), ("localization", {"optic_disc_centre", "fovea_centre"}),
])  # fmt: skip
def test_the_other_parts_of_idrid(part: str, extras: set[str], tmp_path: Path) -> None:
    root = tmp_path / "twin"
    origin = phantom("eye")
    words = (*given(SMALL), "--layout", f"part={part}", "--root", root)
    written = heatproof("data", "write", "idrid", *words)
    assert written.exit_code == 0, written.output
    twin: Any = default().create("dataset", "idrid", {"root": str(root), "part": part})
    read = [twin.load(id) for id in twin.ids()]
    drawn = [origin.load(id) for id in origin.ids()]
    assert len(read) == len(drawn) == 6
    assert all(set(sample.extras) == extras for sample in read)
    if part == "grading":
        assert Counter(sample.label for sample in read) == Counter(sample.label for sample in drawn)
    else:
        centres = [
            np.array([sample.extras[name] for sample in samples]) for samples in (read, drawn) for name in extras
        ]
        for first, second in zip(centres[: len(extras)], centres[len(extras) :]):
            gaps = np.abs(first[:, None] - second).max(2)
            assert gaps.min(1).max() <= 0.5  # the tables hold whole pixels
    checked = heatproof("data", "check", "idrid", "--set", f"part={part}", "--root", root)
    assert checked.exit_code == 0, checked.output


def test_all_datasets_on_files_have_a_layout() -> None:
    """Every dataset but the phantom, which draws its samples, has a twin."""
    names = {entry.name for entry in default().entries if entry.kind == "dataset"}
    assert names - set(layouts()) == {"phantom"}
