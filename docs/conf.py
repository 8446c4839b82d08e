"""Settings of the manual: Markdown pages by MyST, the reference from the docstrings."""

from hpc_ds import __version__

project = "hpc-ds"
author = "the hpc-ds developers"
project_copyright = "2026, the hpc-ds developers"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "hpc-ds"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings state types together with shapes and units
