"""Evaluates the packaged LesionNet on new eyes: the phantom's test patients and IDRiD's fundus photographs.

python docs/training/evaluate_lesionnet.py --idrid ../shared/data/idrid
"""

import tempfile
from pathlib import Path

import click
import numpy as np
import torch
from arrays import prepared
from evaluation import REFERABLE, Grades, graded

from heatproof_idrid.idrid import Idrid
from heatproof_lesionnet.lesionnet import LesionNet

FOLDER = click.Path(path_type=Path, file_okay=False)
CHECKPOINT = click.Path(path_type=Path, exists=True)


def phantom(model: LesionNet, patients: int, cache: Path, workers: int) -> list[str]:
    """The results on the phantom's test patients, and the confusion matrix (rows: true grades)."""
    eyes = prepared(patients, "test", cache, workers)
    grades = Grades(graded(model.network, eyes.images), np.asarray(eyes.grades))
    return [f"phantom test patients: {grades}", *(" ".join(f"{count:4d}" for count in row) for row in grades.confusion)]


def idrid(model: LesionNet, root: Path) -> list[str]:
    """The predicted grades of IDRiD's images with lesion masks; all show lesions, but no true grade is public."""
    dataset = Idrid(root=root)
    return [shares(model, dataset, split) for split in dataset.splits if dataset.ids(split)]


def shares(model: LesionNet, dataset: Idrid, split: str) -> str:
    """The number of images of a split per predicted grade."""
    images = np.stack([model.prepare(dataset.load(id)).image for id in dataset.ids(split)])
    predicted = Grades(graded(model.network, images), np.zeros(len(images), dtype=np.int64)).predicted
    counts = ", ".join(f"grade {grade}: {count}" for grade, count in enumerate(np.bincount(predicted, minlength=5)))
    return f"IDRiD {split}: n {len(images)}, {counts}; referable {(predicted >= REFERABLE).mean():.3f}"


@click.command()
@click.option("--patients", default=600, show_default=True, help="Patients of the phantom; 2 of 10 are for testing.")
@click.option("--idrid", "root", type=FOLDER, help="A download of IDRiD; by default it is left out.")
@click.option("--weights", type=CHECKPOINT, help="Use this checkpoint instead of the packaged one.")
@click.option("--threads", default=2, show_default=True)
@click.option("--cache", type=FOLDER, default=Path(tempfile.gettempdir(), "heatproof-lesionnet"))
def main(patients: int, root: Path | None, weights: Path | None, threads: int, cache: Path) -> None:
    """Evaluate LesionNet on eyes that it was not trained on."""
    torch.set_num_threads(threads)
    model = LesionNet(weights=weights)
    lines = phantom(model, patients, cache, threads)
    if root is not None:
        lines += idrid(model, root)
    for line in lines:
        click.echo(line)


if __name__ == "__main__":
    main()
