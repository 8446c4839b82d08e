"""Built-in models: each builds the hypotheses that a command compares, from data and options."""

BUILT_IN = {
    "spectrum": "sum of peaks on a background: how many, where, how wide, how strong",
    "linear": "straight lines and other sums of regressors, with their closed forms",
}
"""Names that `hpc-ds infer` knows, with what they are for."""
