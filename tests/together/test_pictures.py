"""Photographs and masks from many tools give the scores of clean copies, and what is passed over is said."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from heatproof.config.components import create
from heatproof.config.settings import DatasetEntry, RunConfig
from heatproof.imaging.transforms import Resize
from heatproof.imaging.turning import turned
from heatproof.model import Model
from heatproof.registry.catalog import default
from heatproof.results.parquet import read_table
from heatproof.run.execution import Observer
from heatproof.run.runner import Finished, run
from heatproof.testing.toys import Residual
from heatproof_image_folder.image_folder import ImageFolder

RANDOM = np.random.default_rng(8)
SHAPE = (48, 64)
SIDE = 32
ORIENTATIONS = {"left/f": 6, "left/g": 8, "right/h": 5, "right/i": 7, "right/j": 3}
"""Photographs that EXIF turns → their orientation."""
FORMATS = {"left/a": ".png", "left/b": ".bmp", "right/c": ".tif", "right/d": ".ppm", "right/e": ".webp"}
"""Photographs that are stored as shown → their format."""
EXPLAINERS = ("gradient",)
METHODS = (
    "cam", "centre", "clear", "deconvnet", "deeplift", "gradcam", "gradcam_plus_plus", "gradient", "guided_backprop",
    "guided_gradcam", "input_edges", "input_x_gradient", "integrated_gradients", "lime", "lrp", "occlusion",
    "respond_cam", "smoothgrad", "smoothgrad_squared", "vargrad",
)  # fmt: skip
METRICS = ("relevance_mass", "relevance_rank", "pointing", "iou")
METRIC = METRICS[:1]


class Notices(Observer):
    """Collects the remarks of a run."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def notice(self, text: str) -> None:
        self.texts.append(text)


def photograph() -> tuple[np.ndarray, np.ndarray]:
    """A photograph (h, w, 3) of noise with a bright lesion, and the mask of the lesion."""
    top, left = RANDOM.integers(4, 28, 2)
    mask = np.zeros(SHAPE, dtype=bool)
    mask[top : top + 9, left : left + 14] = True
    return RANDOM.integers(0, 120, (*SHAPE, 3), dtype=np.uint8) + 100 * mask[..., None].astype(np.uint8), mask


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def save_mask(mask: np.ndarray, path: Path, tool: int, **options: Any) -> None:
    """Save a mask as one of five tools does: colour PNG, palette PNG, GIF, TIFF, BMP."""
    path.parent.mkdir(parents=True, exist_ok=True)
    white_first = Image.fromarray((~mask).astype(np.uint8))
    white_first.putpalette([255, 255, 255, 0, 0, 0])
    blue_and_opaque = Image.fromarray(np.dstack([0 * mask, 0 * mask, 9 * mask, 0 * mask + 255]).astype(np.uint8))
    grey = Image.fromarray(mask.astype(np.uint8) * 255)
    image = (blue_and_opaque, white_first, grey, Image.fromarray(mask), grey.convert("RGB"))[tool]
    image.save(path.with_suffix((".png", ".png", ".gif", ".tif", ".bmp")[tool]), **options)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same photographs and masks as PNG of eight bits, and as many tools save them, beside other files."""
    clean = tmp_path_factory.mktemp("clean")
    mixed = tmp_path_factory.mktemp("mixed")
    for number, (id, suffix) in enumerate({**FORMATS, **dict.fromkeys(ORIENTATIONS, ".jpg")}.items()):
        pixels, mask = photograph()
        path = mixed / f"{id}{suffix}"
        path.parent.mkdir(exist_ok=True)
        orientation = ORIENTATIONS.get(id, 1)
        options = {"exif": oriented(orientation)} if orientation != 1 else {"lossless": True, "exact": True}
        Image.fromarray(pixels).save(path, **options)
        with Image.open(path) as image:
            shown = ImageOps.exif_transpose(image).convert("RGB")
        as_shown = turned(mask, orientation)
        for name, values in (("", shown), ("masks/lesion/", Image.fromarray(as_shown.astype(np.uint8) * 255))):
            (clean / name / id).parent.mkdir(parents=True, exist_ok=True)
            values.save(clean / f"{name}{id}.png")
        if id == "right/j":  # half a turn: the mask says itself how it is shown
            save_mask(mask, mixed / "masks/lesion" / id, 0, exif=oriented(orientation))
        else:
            save_mask((as_shown, mask)[number % 2], mixed / "masks/lesion" / id, number % 5)
    for name in ("left/notes.docx", "left/f.xcf", "masks/lesion/left/a.psd", "masks/readme.txt"):
        (mixed / name).write_bytes(b"something else")
    return clean, mixed


@pytest.fixture
def scored(tmp_path: Path) -> Callable[..., tuple[Finished, list[tuple[str, ...]], list[str]]]:
    """Run explainers over a folder: what finished, the scores in order, and the remarks."""

    def score(root: Path, explainers: Sequence[str] = EXPLAINERS, metrics: Sequence[str] = METRIC) -> Any:
        images = ImageFolder(root=root, shares={"train": 0, "tuning": 0, "test": 1})
        catalog = default()
        config = RunConfig(
            output=tmp_path / root.name, datasets=[DatasetEntry(component=images, split="test")], threads=1, rows=4,
            models=[Model.of(Residual().build(), ("left", "right", "other"), Resize(size=SIDE, channels=3))],
            explainers=[create(catalog, "explainer", name, {}) for name in explainers], device="cpu", cache=False,
            metrics=[create(catalog, "metric", name, {}) for name in metrics], report={"examples": 0},
            statistics={"resamples": 20, "permutations": 20},
        )  # fmt: skip
        notices = Notices()
        finished = run(config, catalog, notices)
        table = read_table(finished.folder / "scores.parquet")
        columns = ("case", "explainer", "metric", "measure", "status", "value")
        return finished, sorted(zip(*(map(str, table[name]) for name in columns))), notices.texts

    return score


@pytest.mark.parametrize(
    ("explainers", "metrics"),
    [(EXPLAINERS, METRIC), pytest.param(METHODS, METRICS, marks=pytest.mark.slow)],
    ids=["gradient", "every method"],
)
def test_scores_are_those_of_clean_copies(
    folders: tuple[Path, Path], scored: Callable[..., Any], explainers: Sequence[str], metrics: Sequence[str]
) -> None:
    clean, mixed = folders
    _, expected, silence = scored(clean, explainers, metrics)
    finished, scores, notices = scored(mixed, explainers, metrics)
    assert {row[4] for row in expected} <= {"valid", "excluded"}
    assert len({row[0] for row in expected}) == 10
    skipped = {entry.explainer for entry in finished.skipped}
    assert {label.partition("(")[0] for label in {row[1] for row in expected} | skipped} == {*explainers, "random"}
    assert scores == expected
    assert (finished.rejected, finished.empty) == ((), ())
    assert [text for text in silence if "passed over" in text] == []
    passed = [text.partition(", such as ")[0] for text in notices if "passed over" in text]
    kinds = (".docx", ".psd", ".txt", ".xcf")
    assert sorted(passed) == [f"files passed over ({kind}) in ImageFolder: 1" for kind in kinds]
    assert all(text in (finished.folder / "log.txt").read_text() for text in notices)


def test_data_check_says_what_it_passes_over(folders: tuple[Path, Path]) -> None:
    tallies = ImageFolder(root=folders[1]).check()
    assert [tally for tally in tallies if tally.expected == 0 and tally.count] == []
    passed = {tally.what: (tally.count, Path(tally.example).name) for tally in tallies if "passed over" in tally.what}
    assert passed == {
        "files passed over (.docx)": (1, "notes.docx"),
        "files passed over (.xcf)": (1, "f.xcf"),
        "files passed over (.psd)": (1, "a.psd"),
        "files passed over (.txt)": (1, "readme.txt"),
    }
    assert [tally.what for tally in ImageFolder(root=folders[0]).check() if "passed over" in tally.what] == []


def test_a_run_says_which_finding_no_annotation_shows(tmp_path: Path, scored: Callable[..., Any]) -> None:
    for number in range(2):
        pixels, mask = photograph()
        (tmp_path / "data/left").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / f"data/left/{number}.png")
        for finding, values in (("lesion", mask), ("scar", 0 * mask)):
            path = tmp_path / f"data/masks/{finding}/left/{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values.astype(np.uint8) * 255).save(path)
    finished, _, _ = scored(tmp_path / "data", ["gradient"])
    (sentence,) = finished.empty
    assert sentence.startswith("every annotation of scar in ImageFolder is empty (2 samples)")
    assert sentence in (finished.folder / "log.txt").read_text()
