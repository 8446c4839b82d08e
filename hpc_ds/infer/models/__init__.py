"""Models by name: built-in ones build the hypotheses that a command compares; packages may add more.

An entry point ``infer.NAME`` of another package (see `hpc_ds.runtime.plugins`) adds the model NAME.
"""

from __future__ import annotations

BUILT_IN = {
    "spectrum": "sum of peaks on a background: how many, where, how wide, how strong",
    "linear": "straight lines and other sums of regressors, with their closed forms",
    "neutron-star": "equations of state of dense matter, from masses and radii of neutron stars",
}
"""Names that `hpc-ds infer` knows, with what they are for."""
