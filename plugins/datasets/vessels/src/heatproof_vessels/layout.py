"""Finds the files of CHASE_DB1 and DRIVE by name, at any depth below a folder."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from heatproof.errors import DataError
from heatproof_cohorts.folders import file_paths

IMAGE = "image"
FIELD = "field"
READERS = ("first", "second")
SUFFIX = r"\.(?:gif|jpe?g|png|tiff?|bmp|ppm)"


@dataclass(frozen=True)
class Names:
    """How a dataset names its files.

    ``patterns`` has a pattern of whole file names for the image, each reader and the field of view; the group ``id``
    is common to all files of an image, ``patient`` is that of its patient, and ``part`` the published split.
    ``templates`` are the paths below root to which such files are written, and ``example`` is that of an image.
    """

    example: str
    patterns: Mapping[str, re.Pattern[str]]
    templates: Mapping[str, str]


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text + SUFFIX, re.IGNORECASE)


NAMES = {
    "chase_db1": Names(
        "Image_01L.jpg",
        {
            IMAGE: _pattern(r"Image_(?P<id>(?P<patient>\d{2,})[LR])"),
            "first": _pattern(r"Image_(?P<id>\d{2,}[LR])_1stHO"),
            "second": _pattern(r"Image_(?P<id>\d{2,}[LR])_2ndHO"),
            FIELD: _pattern(r"Image_(?P<id>\d{2,}[LR])_(?:mask|fov)"),
        },
        {
            IMAGE: "Image_{id}.jpg",
            "first": "Image_{id}_1stHO.png",
            "second": "Image_{id}_2ndHO.png",
            FIELD: "Image_{id}_mask.png",
        },
    ),
    "drive": Names(
        "test/images/01_test.tif",
        {
            IMAGE: _pattern(r"(?P<id>(?P<patient>\d{2,}))_(?P<part>training|test)"),
            "first": _pattern(r"(?P<id>\d{2,})_manual1"),
            "second": _pattern(r"(?P<id>\d{2,})_manual2"),
            FIELD: _pattern(r"(?P<id>\d{2,})_(?:training|test)_mask"),
        },
        {
            IMAGE: "{part}/images/{id}_{part}.tif",
            "first": "{part}/1st_manual/{id}_manual1.gif",
            "second": "{part}/2nd_manual/{id}_manual2.gif",
            FIELD: "{part}/mask/{id}_{part}_mask.gif",
        },
    ),
}


@dataclass(frozen=True)
class Layout:
    """The files by (id, role), the match of each image's name, and the files that belong to no image."""

    files: Mapping[tuple[str, str], Path]
    matches: Mapping[str, re.Match[str]]
    stray: tuple[Path, ...]


def find(root: Path, names: Names) -> Layout:
    """Find the files below a folder; raises ``DataError`` where a file exists twice."""
    files: dict[tuple[str, str], Path] = {}
    matches: dict[str, re.Match[str]] = {}
    for path in file_paths(root):
        for role, pattern in names.patterns.items():
            match = pattern.fullmatch(path.name)
            if match is None:
                continue
            key = (match["id"].upper(), role)
            if key in files:
                raise DataError(f"{files[key]} and {path} are the same file of one image; keep one of them.")
            files[key] = path
            if role == IMAGE:
                matches[key[0]] = match
    stray = [path for (id, _), path in files.items() if id not in matches]
    return Layout(files, matches, tuple(stray))
