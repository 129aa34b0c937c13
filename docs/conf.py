"""Sphinx configuration: a guide that is executed when it is built, and a reference made from docstrings."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

# Before flax is imported: else its metaclass shows every layer as (*args, **kwargs).
os.environ["FLAX_DOC_BUILD"] = "1"
# A page is run by its own kernel, which draws figures into the page unless this says otherwise.
os.environ.pop("MPLBACKEND", None)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))

import equijax  # noqa: E402

del os.environ["FLAX_DOC_BUILD"]  # pages run as a user's program does

project = "equijax"
author = "The equijax authors"
project_copyright = "The equijax authors"
version = release = equijax.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "public_api",
]
smartquotes_action = "De"  # dashes and dots; quotes stay straight, they may be code
exclude_patterns = ["_build", "_ext", "**.ipynb_checkpoints"]

# The public folders, each with a page in docs/api; _ext/public_api.py reads this.
public_api_modules = [
    "equijax.groups",
    "equijax.reps",
    "equijax.graphs",
    "equijax.actions",
    "equijax.sharing",
    "equijax.nn",
    "equijax.audit",
    "equijax.testing",
]

# Pages that start with a jupytext header are executed, from scratch; an exception in one fails the build.
nb_execution_mode = "force"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_render_markdown_format = "myst"  # tables that a cell makes
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autosummary_generate = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

html_theme = "sphinx_book_theme"
html_title = "equijax"
html_theme_options = {"show_toc_level": 2, "use_download_button": False}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
