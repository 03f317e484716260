"""Every law of datasets catches a planted fault, and lets a sound dataset pass."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from heatproof.records import Geometry, Sample
from heatproof.testing import ConformanceError, checks, conforms, toys
from heatproof.testing.check import run
from heatproof.testing.toys import Blobs

FAR = Geometry.identity((9, 9))
WHOLE = np.ones((2, 2), bool)


class Changed(Blobs):
    """Blobs with samples that are changed after loading."""

    def load(self, id: str) -> Sample:
        return self.changed(super().load(id))

    def changed(self, sample: Sample) -> Sample:
        raise NotImplementedError


def changing(name: str, change: object) -> Changed:
    """A dataset that changes its samples by a function."""
    return type(name, (Changed,), {"changed": lambda self, sample: change(sample)})()


def annotated(sample: Sample, **changes: object) -> Sample:
    """The sample with its first annotation changed."""
    first, *others = sample.annotations
    return replace(sample, annotations=(replace(first, **changes), *others))


class Repeating(Blobs):
    def ids(self, split: str | None = None) -> list[str]:
        return super().ids(split) * 2


class Shuffling(Blobs):
    def ids(self, split: str | None = None) -> list[str]:
        ids = super().ids(split)
        return random.sample(ids, len(ids))


class Overlapping(Blobs):
    def ids(self, split: str | None = None) -> list[str]:
        return super().ids({"test": None}.get(split, split))


class Incomplete(Blobs):
    def ids(self, split: str | None = None) -> list[str]:
        ids = super().ids(split)
        return ids[:4] if split else ids


class Leaking(Blobs):
    """The first and the last image belong to one patient."""

    def patient(self, id: str) -> str:
        return "patient-000" if id == "blob-011" else super().patient(id)


class Accepting(Blobs):
    def load(self, id: str) -> Sample:
        return super().load(id if id in self.ids() else "blob-000")


class Splitless(Blobs):
    def ids(self, split: str | None = None) -> list[str]:
        return super().ids(split if split in self.splits else None)


class Attributed(Blobs):
    """Blobs with attributes, all or some of which are declared."""

    attributes = ("eye", "age", "ratio")
    values: dict[str, object] = {"eye": "left", "age": 30, "ratio": 0.5}  # noqa: RUF012

    def attributes_of(self, id: str) -> dict[str, object]:
        return self.values


class Reserved(Attributed):
    attributes = ("eye", "age", "ratio", "finding")


class Undeclaring(Attributed):
    attributes = ("eye", "age")


class Listing(Attributed):
    values: dict[str, object] = {"eye": ["left", "right"]}  # noqa: RUF012


class Infinite(Attributed):
    values: dict[str, object] = {"age": float("inf")}  # noqa: RUF012


class OnDisk(Blobs):
    """Blobs of which each has a file, which is opened or only named as a source."""

    opens = True
    named = (Path(__file__),)

    def root(self) -> Path:
        return Path(__file__).parent

    def files(self) -> tuple[Path, ...]:
        return self.named

    def files_of(self, id: str) -> tuple[Path, ...] | None:
        return self.named

    def load(self, id: str) -> Sample:
        sample = super().load(id)
        if not self.opens:
            return replace(sample, geometry=Geometry.identity(sample.space, __file__))
        Path(__file__).read_bytes()
        return sample


class Unknown(OnDisk):
    """Where no files of a sample are named, those of all samples count."""

    def files_of(self, id: str) -> None:
        return None


class Forgetful(OnDisk):
    named = (Path(__file__).with_name("conftest.py"),)


class Sourced(Forgetful):
    opens = False


class Lost(Unknown):
    named = ()


def resized(sample: Sample, step: int = 1, factor: float = 1) -> Sample:
    """The sample with every ``step``-th row of its first mask, multiplied by ``factor``."""
    return annotated(sample, values=sample.annotations[0].values[::step] * factor)


def grained(sample: Sample) -> Sample:
    """The sample with unseeded noise."""
    return replace(sample, image=sample.image + np.random.default_rng().integers(9, dtype=np.uint8))


ATTRIBUTES = "attributes are declared texts and numbers"
FAULTS = (
    (Repeating(), "ids are unique and in a fixed order"),
    (Shuffling(), "ids are unique and in a fixed order"),
    (Overlapping(), "splits divide the ids"),
    (Incomplete(), "splits divide the ids"),
    (Leaking(), "no patient is in two splits"),
    (changing("Renamed", lambda sample: replace(sample, id="blob")), "samples are the ones asked for"),
    (changing("Misattributed", lambda sample: replace(sample, patient="patient")), "samples are the ones asked for"),
    (changing("Floating", lambda sample: replace(sample, image=sample.image / 25)), "images are as decoded"),
    (changing("Signed", lambda sample: replace(sample, image=sample.image.astype(int))), "images are as decoded"),
    (changing("Grey", lambda sample: replace(sample, image=sample.image[0])), "images are as decoded"),
    (changing("Half", lambda sample: resized(sample, step=2)), "annotations lie on their image"),
    (changing("Undeclared", lambda sample: annotated(sample, finding="middle")), "annotations lie on their image"),
    (changing("Bytes", lambda sample: resized(sample, factor=255)), "annotations lie on their image"),
    (changing("Graded", lambda sample: replace(sample, label=4)), "labels are among the classes"),
    (changing("Worded", lambda sample: replace(sample, label="left")), "labels are among the classes"),
    (changing("Gazing", lambda sample: replace(sample, extras={"gaze": 1})), "labels are among the classes"),
    (
        changing("Whole", lambda sample: replace(sample, field=np.ones((2, 2), bool))),
        "fields and geometries fit their image",
    ),
    (changing("Far", lambda sample: replace(sample, geometry=FAR)), "fields and geometries fit their image"),
    (changing("Grainy", grained), "loading twice gives the same bits"),
    *((fault, ATTRIBUTES) for fault in (Reserved(), Undeclaring(), Listing(), Infinite())),
    (Accepting(), "what is unknown is refused"),
    (Splitless(), "what is unknown is refused"),
    (Forgetful(), "files of names the files that load opens"),
    (Sourced(), "files of names the files that load opens"),
    (Lost(), "files of names the files that load opens"),
)


@conforms(Blobs(), Blobs(size=32, dimensions=3, count=8), OnDisk(), Unknown(), Attributed())
def test_sound_datasets_pass_every_check(check):
    check()


@pytest.mark.parametrize(("fault", "law"), FAULTS, ids=[f"{fault.short}: {law}" for fault, law in FAULTS])
def test_a_planted_fault_is_caught(fault, law):
    with pytest.raises(ConformanceError):
        run(fault.short, [check for check in checks(fault) if check.name == law])


def test_every_law_of_its_own_has_a_planted_fault():
    shared = {check.name for check in checks(toys.Residual())}
    assert {law for _, law in FAULTS} == {check.name for check in checks(Blobs())} - shared
