"""Words that the core must not contain: diseases, organs, datasets, methods; and numbers of unpublished papers."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from heatproof.hooks import KINDS
from heatproof.registry.catalog import default

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "core/src/heatproof"
ALLOWED = {"random", "raster"}
"""Components of the core: chance, and the reader of raster images."""
ENGLISH = {"gradient", "occlusion", "clear", "centre", "iterative", "gaze", "new", "data", "grading", "insertion",
           "deletion", "iou", "auc", "road", "report", "localization", "cam", "processes", "pointing",
           "rise", "attention", "anomaly", "ordinal", "regression", "words", "segmentation", "filters",
           "neighbours", "projection"}  # fmt: skip
"""Names of components that are also ordinary words; only their quoted forms are forbidden."""
MEDICINE = (
    "lesion", "retina", "retinopathy", "fundus", "diabetic", "diabetes", "exudate", "haemorrhage", "hemorrhage",
    "microaneurysm", "aneurysm", "glaucoma", "optic disc", "macula", "fovea", "nodule", "lung", "chest", "thorax",
    "pneumonia", "tumour", "tumor", "cancer", "melanoma", "heart", "cardiac", "liver", "kidney", "brain", "breast",
    "skin", "bone", "blood", "radiograph", "x-ray", "mammogram", "ophthalm", "hounsfield",
)  # fmt: skip
METHODS = (
    "guided backprop", "deconvnet", "grad-cam", "gradcam", "smoothgrad", "vargrad", "deeplift", "integrated gradients",
    "layer-wise relevance", "lrp", "lime", "occlusion map", "explainability consistency", "froc", "doctor", "zennit",
    "captum", "quantus",
)  # fmt: skip
DATA_SETS = ("idrid", "kaggle", "mimic", "reflacx", "egd-cxr", "lidc", "covid", "ham10000", "phantom", "imagenet")
NUMBERING = re.compile(r"[Ss]pecification \d|[Pp]aper 00\d|\bV-[A-Z]{2,}")
"""Private numbers of papers and specifications, which readers cannot look up."""

QUOTED = {"data", "new", "gradient", "report", "ordinal", "regression", "attention", "segmentation"}
"""English names that the core quotes: commands, what a model can do, heads, and columns of tables."""


def texts() -> Iterator[tuple[Path, str]]:
    for path in sorted(CORE.rglob("*.py")):
        if "testing" not in path.parts:
            yield path, path.read_text(encoding="utf-8")


def registered() -> set[str]:
    """Return the names that the plugins of this repository register."""
    folders = {f"heatproof-{path.parent.name}" for path in ROOT.glob("plugins/*/*/pyproject.toml")}
    entries = [entry for entry in default().entries if entry.distribution in folders]
    assert {entry.kind for entry in entries} >= set(KINDS) - {"executor"}
    # The core names readers in messages about files that need them.
    return {entry.name for entry in entries if entry.kind != "reader"} - ALLOWED - ENGLISH


def occurrences(words: set[str]) -> list[str]:
    """List the lines of the core with one of these words, upper or lower case."""
    pattern = re.compile("|".join(rf"(?<![a-z]){re.escape(word)}s?(?![a-z])" for word in sorted(words)), re.IGNORECASE)
    return [
        f"{path.relative_to(CORE)}:{number}: {line.strip()}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


@pytest.mark.parametrize("words", [MEDICINE, METHODS, DATA_SETS], ids=["medicine", "methods", "data sets"])
def test_the_core_names_none_of_these(words: tuple[str, ...]) -> None:
    assert occurrences(set(words)) == []


def test_the_core_names_no_component_of_a_plugin() -> None:
    assert occurrences(registered()) == []


def test_the_core_quotes_no_name_of_a_component() -> None:
    quoted = re.compile("|".join(rf"""["']{name}["'/(]""" for name in sorted(ENGLISH - QUOTED)))
    lines = [f"{path.relative_to(CORE)}: {line}" for path, text in texts() for line in text.splitlines()]
    assert [line for line in lines if quoted.search(line)] == []


def test_no_public_text_cites_by_our_own_numbering() -> None:
    pages = [*ROOT.glob("docs/**/*.md"), *ROOT.glob("plugins/*/*/README.md"), *ROOT.glob("*.md")]
    sources = [path for folder in ("core", "plugins", "docs", "tests") for path in ROOT.glob(f"{folder}/**/*.py")]
    sources.remove(Path(__file__).resolve())
    lines = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in (*pages, *sources)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if NUMBERING.search(line)
    ]
    assert lines == []
