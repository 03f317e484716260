"""The documentation site: Sphinx with executed MyST notebooks; no built page asks the network for anything."""

import os
import re
import sys
from importlib.metadata import version as version_of
from pathlib import Path

# The tutorials call `heatproof` as a reader does; it lies beside the Python that builds the site.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
# A notebook's kernel forces colours; what the pages show is what a reader's log file would hold.
os.environ["TTY_COMPATIBLE"] = "0"

project = "heatproof"
author = "the authors of heatproof"
project_copyright = "the authors of heatproof, Apache-2.0"
version = release = version_of("heatproof")

extensions = ["myst_nb", "sphinx.ext.autodoc"]
exclude_patterns = ["_build", "**/.jupyter_cache", "training", "benchmarks"]

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
html_sidebars = {"index": []}


def as_python(app, what, name, obj, options, lines):
    """Escape the asterisk of shapes such as (n, c, *space), which reStructuredText takes for emphasis."""
    lines[:] = [re.sub(r"(?<![`*\\])\*(?=\w+[,)\]])", r"\\*", line) for line in lines]


def setup(app):
    """Connect what adapts docstrings."""
    app.connect("autodoc-process-docstring", as_python)
