"""A model of a straight line; PAUSE names the seconds that one likelihood takes, so that jobs last on any machine."""

import os
import time

import numpy as np

from hpc_ds.infer import Model, log_uniform, normal, uniform

PRIORS = {"slope": normal(0.0, 5.0), "intercept": uniform(-10.0, 10.0), "noise": log_uniform(0.01, 10.0)}


def log_likelihood(theta, data):
    """Return the logarithm of the likelihood of data (2, points) at theta (3,)."""
    time.sleep(float(os.environ.get("PAUSE", "0")))
    residual = data[1] - theta[0] * data[0] - theta[1]
    return -0.5 * float(residual @ residual) / theta[2] ** 2 - residual.size * np.log(theta[2])


model = Model("line", PRIORS, log_likelihood)
