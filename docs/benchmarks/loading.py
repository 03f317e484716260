"""Time to load a fundus photograph of 4288 × 2848 pixels, compared with the usual code by Pillow and OpenCV.

Run it with ``python docs/benchmarks/loading.py [ROOT]`` on a machine with nothing else to do; ROOT is a download of
IDRiD. It loads three images with all their masks on one thread and prints milliseconds: decoding and Graham's
preparation by heatproof and in the usual way (decode by Pillow, resize by area, subtract the blurred image, cut out
the disc; decode masks and resize them by area), and reading a prepared sample from the cache. The aims are at most half
of the usual time for an image with five masks, and under 5 ms from the cache. These times are CPU times, on which other
work on the machine has less effect. Then it runs a small config over 16 images: decoded one by one, two at a time, and
from the cache. It prints the seconds of all tasks and the seconds spent waiting for samples.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from heatproof.config.settings import from_plain
from heatproof.dataset import Dataset
from heatproof.imaging.images import READERS
from heatproof.model import Model
from heatproof.plan.sample_cache import Cache, Prepared
from heatproof.records import Sample
from heatproof.registry.catalog import default
from heatproof.run import samples
from heatproof.run.runner import run
from heatproof_fundus.photograph import Fundus

Array = NDArray[Any]
ROOT = Path(__file__).resolve().parents[3] / "shared" / "data" / "idrid"
IMAGES = ("IDRiD_03", "IDRiD_08", "IDRiD_09")
ROUNDS = 7
SIZE = 448


def main() -> None:
    """Time both ways in turn, so that other work on the machine affects both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="?", type=Path, default=ROOT)
    root = parser.parse_args().root
    if not root.is_dir():
        print(f"nothing is measured, since there is no folder {root}; pass the folder of an IDRiD download.")
        return
    cv2.setNumThreads(1)
    dataset = default().create("dataset", "idrid", {"root": root, "optic_disc": True})
    assert isinstance(dataset, Dataset)
    print(f"milliseconds per photograph of 4288 × 2848 pixels, one thread, best (median) of {ROUNDS}")
    for id in IMAGES:
        compare(dataset, id)
    with tempfile.TemporaryDirectory() as folder:
        cached(dataset, Path(folder))
        runs(root, Path(folder))


def cached(dataset: Dataset, folder: Path) -> None:
    """Print how long a prepared sample of the first image takes from the cache."""
    model = default().create("model", "resnet50", {})
    assert isinstance(model, Model)
    samples = Prepared(Cache(folder / "one"))
    samples.sample(dataset, model, IMAGES[0])
    times = timed({"cache": lambda: samples.sample(dataset, model, IMAGES[0])})["cache"]
    print(f"{IMAGES[0]} prepared, from the cache: {min(times):.2f} ({np.median(times):.2f}) ms (aim 5)")


def runs(root: Path, folder: Path) -> None:
    """Print the seconds of runs over 16 images with two threads; the first warms up."""
    data = {"use": "idrid", "root": str(root), "optic_disc": True, "limit": 16}
    entries = {"datasets": [data], "models": ["lesionnet"], "explainers": ["gradient"], "metrics": ["pointing"]}
    ways: dict[str, tuple[int, str | bool]] = {
        "(warming up)": (1, False),
        "one after the other": (1, False),
        "two at a time": (READERS, False),
        "likewise, filling the cache": (READERS, str(folder / "cache")),
        "from the cache": (READERS, str(folder / "cache")),
    }
    for number, (name, (readers, cache)) in enumerate(ways.items()):
        output = {"output": str(folder / str(number)), "rows": 2, "device": "cpu", "statistics": {"resamples": 10}}
        config = from_plain({**entries, **output, "threads": 2, "cache": cache}, default())
        with patch.object(samples, "READERS", readers):
            seconds = run(config, default()).seconds
        print(f"{name}: {seconds['all']:.2f} s, of which {seconds['decoding']:.2f} s waiting for samples")


def compare(dataset: Dataset, id: str) -> None:
    """Print the times of one image, part by part, and the difference of the results."""
    sample = dataset.load(id)
    prepare = Fundus(size=SIZE)
    assert sample.geometry is not None
    image = Path(sample.geometry.source)
    masks = [Path(annotation.source) for annotation in sample.annotations if annotation.source]
    turns = {
        "heatproof decodes": lambda: dataset.load(id),
        "heatproof prepares": lambda: prepare(sample),
        "heatproof": lambda: prepare(dataset.load(id)),
        "usual": lambda: usual(image, masks),
    }
    times = timed(turns)
    print(f"{id} with {len(masks)} masks: " + "  ".join(f"{name} {summary(row)}" for name, row in times.items()))
    shares = [statistic(times["heatproof"]) / statistic(times["usual"]) for statistic in (min, np.median)]
    print(f"  heatproof takes {shares[0]:.2f} ({shares[1]:.2f}) of the usual time (aim 0.5)")
    print(f"  {difference(prepare(sample), usual(image, masks))}")


def usual(path: Path, masks: list[Path]) -> tuple[Array, list[Array]]:
    """Graham's script as it is commonly published, by area: image (3, size, size) and masks as float32."""
    opened = Image.open(path).convert("RGB")
    pixels = np.asarray(opened)
    row = pixels[len(pixels) // 2].sum(axis=1)
    scale = SIZE / 2 / ((row > row.mean() / 10).sum() / 2)
    size = (round(opened.width * scale), round(opened.height * scale))
    small = np.asarray(opened.resize(size, Image.Resampling.BOX))
    sharp = cv2.addWeighted(small, 4, cv2.GaussianBlur(small, (0, 0), SIZE / 60), -4, 128)
    disc = np.zeros((SIZE, SIZE, 1))
    cv2.circle(disc, (SIZE // 2, SIZE // 2), int(0.45 * SIZE), (1,), -1)
    image = (canvas(sharp, 128) * disc + 128 * (1 - disc) - 128) / 128
    return image.transpose(2, 0, 1).astype(np.float32), [usual_mask(mask, size) for mask in masks]


def usual_mask(path: Path, size: tuple[int, int]) -> Array:
    mask = Image.fromarray((np.asarray(Image.open(path)) > 0) * np.uint8(255))
    return canvas(np.asarray(mask.resize(size, Image.Resampling.BOX)), 0).astype(np.float32) / 255


def canvas(values: Array, fill: int) -> Array:
    """The values in the centre of a square of ``SIZE`` pixels; cropped if they are larger."""
    result = np.full((SIZE, SIZE, *values.shape[2:]), fill, dtype=values.dtype)
    top = (SIZE - values.shape[0]) // 2
    left = (SIZE - values.shape[1]) // 2
    rows = slice(max(top, 0), max(top, 0) + values.shape[0])
    columns = slice(max(left, 0), max(left, 0) + values.shape[1])
    target = result[rows, columns]
    target[...] = values[max(-top, 0) :, max(-left, 0) :][: target.shape[0], : target.shape[1]]
    return result


def difference(sample: Sample, other: tuple[Array, list[Array]]) -> str:
    """The mean difference of the images, and the largest difference between the sums of two masks."""
    image = np.abs(sample.image - other[0]).mean() * 128
    masks = [annotation.values for annotation in sample.annotations if annotation.source]
    mask = max(abs(float(ours.sum() / theirs.sum()) - 1) for ours, theirs in zip(masks, other[1]))
    return f"images are {image:.2f} grey levels apart on average, masses of masks at most {100 * mask:.1f} %"


def timed(turns: dict[str, Callable[[], Any]]) -> dict[str, list[float]]:
    """The milliseconds of every call; all are called in turn, after a round that warms up."""
    times: dict[str, list[float]] = {name: [] for name in turns}
    for round_ in range(ROUNDS + 1):
        for name, call in turns.items():
            start = time.process_time()
            call()
            if round_:
                times[name].append(1000 * (time.process_time() - start))
    return times


def summary(times: list[float]) -> str:
    """The least and the median time."""
    return f"{min(times):.0f} ({np.median(times):.0f})"


if __name__ == "__main__":
    main()
