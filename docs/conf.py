"""Sphinx settings of the documentation: MyST notebooks are executed, and built pages load nothing from the network."""

import os
import re
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

# The tutorials call the command `heatproof`, which is installed next to the Python that builds the site.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
# A notebook's kernel forces colours; the pages show plain text, as a log file would.
os.environ["TTY_COMPATIBLE"] = "0"

project = "heatproof"
author = "the authors of heatproof"
project_copyright = "the authors of heatproof, Apache-2.0"
version = release = version_of("heatproof")

extensions = ["myst_nb", "sphinx.ext.autodoc"]
exclude_patterns = ["_build", "**/.jupyter_cache", "benchmarks", "robustness"]

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3

nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_execution_in_temp = True
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100

html_theme = "pydata_sphinx_theme"
html_title = "heatproof"
html_static_path = ["_static"]
html_css_files = ["heatproof.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "heatproof"},
    "navbar_end": ["theme-switcher"],
    "navigation_with_keys": False,
    "show_nav_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars: dict[str, list[str]] = {"index": []}


def escape_asterisks(app: Sphinx, kind: str, name: str, member: Any, options: Any, lines: list[str]) -> None:
    """Escape the asterisk in shapes such as (n, c, *space), which is emphasis in reStructuredText."""
    lines[:] = [re.sub(r"(?<![`*\\])\*(?=\w+[,)\]])", r"\\*", line) for line in lines]


def setup(app: Sphinx) -> None:
    """Connect the function that adapts docstrings."""
    app.connect("autodoc-process-docstring", escape_asterisks)
