"""The phantom's eyes on LesionNet's grid as arrays, prepared once and stored in a cache folder."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from heatproof.digests import digest
from heatproof.records import Sample
from heatproof_fundus.photograph import Fundus
from heatproof_phantom.phantom import LESIONS, Phantom

PREPARATION = Fundus(size=448, channels=3)
"""LesionNet's preparation. The packaged checkpoint was trained on eyes prepared with ``centre="picture"``."""
POOLED = 4
"""Rows of the images per row of the arrays of lesions."""


@dataclass(frozen=True)
class Eyes:
    """Images (n, 3, 448, 448), numbers of lesion pixels per finding in 4 × 4 pixels (n, 4, 112, 112), grades (n,)."""

    images: NDArray[np.float16]
    lesions: NDArray[np.float16]
    grades: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.grades)


def prepared(patients: int, split: str, cache: Path, workers: int) -> Eyes:
    """All eyes of a split of the phantom, generated and prepared by ``workers`` processes unless the cache has them."""
    dataset = Phantom(patients=patients)
    folder = cache / digest([dataset.identity, PREPARATION.identity, split])
    if not (folder / "grades.npy").exists():
        _write(dataset, split, folder, workers)
    return Eyes(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("images", "lesions", "grades")))


def _write(dataset: Phantom, split: str, folder: Path, workers: int) -> None:
    """Write all arrays; the file of grades is last and marks the others as complete."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = dataset.ids(split)
    images = _empty(folder / "images.npy", (len(ids), 3, 448, 448))
    lesions = _empty(folder / "lesions.npy", (len(ids), len(LESIONS), 448 // POOLED, 448 // POOLED))
    with ProcessPoolExecutor(workers, initializer=partial(torch.set_num_threads, 1)) as pool:
        for row, (image, cells) in enumerate(pool.map(partial(_eye, dataset), ids, chunksize=4)):
            images[row] = image
            lesions[row] = cells
    np.save(folder / "grades.npy", np.array([dataset.grade(id) for id in ids]))


def _empty(path: Path, shape: tuple[int, ...]) -> Any:
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)


def _eye(dataset: Phantom, id: str) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    sample = PREPARATION(dataset.load(id))
    masks = np.stack([_visible(sample, finding) for finding in LESIONS])
    cells = masks.reshape(len(masks), 448 // POOLED, POOLED, 448 // POOLED, POOLED).sum(axis=(2, 4))
    return sample.image.astype(np.float16), cells.astype(np.float16)


def _visible(sample: Sample, finding: str) -> NDArray[np.float32]:
    """The mask of a finding (448, 448) inside the field of view."""
    mask = sample.mask(finding)
    assert mask is not None, f"the phantom examines {finding} in every eye"
    return np.asarray(mask * sample.field, dtype=np.float32)
