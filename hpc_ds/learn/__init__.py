"""Engine 2: networks trained on training sets by all ranks together, with the same result on any number of them.

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpc_ds.learn.attention import grad_cam as grad_cam
    from hpc_ds.learn.export import export_network as export_network
    from hpc_ds.learn.network_file import load_network as load_network
    from hpc_ds.learn.networks import build_network as build_network
    from hpc_ds.learn.prediction import load_run as load_run
    from hpc_ds.learn.prediction import predict as predict
    from hpc_ds.learn.run import train as train
    from hpc_ds.learn.settings import Settings as Settings

_WHERE = {
    "Settings": "settings",
    "build_network": "networks",
    "export_network": "export",
    "grad_cam": "attention",
    "load_network": "network_file",
    "load_run": "prediction",
    "predict": "prediction",
    "train": "run",
}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
