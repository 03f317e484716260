"""Absolute paths in texts lose their folders, and nothing else changes."""

import pytest
from markupsafe import Markup

from heatproof_report.paths import Shortened

SETTINGS = {"output": "/runs/my run", "datasets": [{"root": "/data/IDRiD (v1)/A. Segmentation", "split": "a/b"}]}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/anna/scans/7.png is damaged.", "7.png is damaged."),
        ("'/home/anna/scans/7.png'", "'7.png'"),
        ("/data/IDRiD (v1)/A. Segmentation/b/7.png", "A. Segmentation/b/7.png"),
        ("output: /runs/my run\nseed: 0", "output: my run\nseed: 0"),
        (r"C:\Users\anna\7.png", "7.png"),
        ("~/scans/7.png", "7.png"),
        ("images/a/7.png and 1/2/3", "images/a/7.png and 1/2/3"),
        ("https://doi.org/10.1/x/y", "https://doi.org/10.1/x/y"),
        ("<b>x</b></i>", "<b>x</b></i>"),
        ("data:image/webp;base64,/a/b/c", "data:image/webp;base64,/a/b/c"),
        ("/runs/my runs/x", "my runs/x"),
    ],
)
def test_only_folders_of_absolute_paths_go(text: str, shown: str) -> None:
    assert Shortened(SETTINGS)(text) == shown


def test_nested_values_and_html() -> None:
    shortened = Shortened({})
    assert shortened([{"a": ("/x/y/z", 3)}]) == [{"a": ["z", 3]}]
    assert shortened(Markup("/x/y/z")) == "/x/y/z"
