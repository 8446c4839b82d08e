"""Settings of the manual: Markdown pages by MyST, tables and the reference from the code itself."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

from hpc_ds import __version__
from hpc_ds.infer import diagnostics, ladder
from hpc_ds.runtime import deadline, lock
from hpc_ds.simulate import dispatch

project = "hpc-ds"
author = "the hpc-ds developers"
project_copyright = "2026, the hpc-ds developers"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "mathml",
    "plain_docstrings",
    "tables_from_code",
]
exclude_patterns = ["_build", "_extensions"]
html_theme = "furo"
html_title = "hpc-ds"
html_math_renderer = "mathml"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "substitution"]
myst_heading_anchors = 3
# Thresholds that pages quote: the code's own values.
myst_substitutions = {
    "enough_round_trips": str(diagnostics.ENOUGH_ROUND_TRIPS),
    "enough_draws": str(diagnostics.ENOUGH_DRAWS),
    "largest_r_hat": str(diagnostics.LARGEST_R_HAT),
    "largest_error": str(diagnostics.LARGEST_ERROR),
    "largest_gap": f"{diagnostics.LARGEST_GAP:g}",
    "replicas_a_barrier": f"{ladder.REPLICAS_A_BARRIER:g}",
    "most_replicas": str(ladder.MOST_REPLICAS),
    "margin": f"{deadline.MARGIN:g}",
    "stale": f"{lock.STALE:g}",
    "lost": str(dispatch.LOST),
    "hopeless": str(dispatch.HOPELESS),
}

napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings state types together with shapes and units
# Types are prose with shapes: "(samples, times) array" refers to nothing that happens to have the name of a word in it.
suppress_warnings = ["ref.python"]
