"""Loops over activations that torch would run through memory several times."""
