"""Engine 1: training sets from ensembles of simulations, computed by Dask's workers and merged by all ranks.

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpc_ds.simulate.adaptive import AdaptiveDesign as AdaptiveDesign
    from hpc_ds.simulate.design import make_design as make_design
    from hpc_ds.simulate.parameters import ParameterSpace as ParameterSpace
    from hpc_ds.simulate.parameters import read_space as read_space
    from hpc_ds.simulate.python_function import declare as declare
    from hpc_ds.simulate.run import generate as generate
    from hpc_ds.simulate.run import merge_folder as merge_folder
    from hpc_ds.simulate.settings import ClusterSettings as ClusterSettings
    from hpc_ds.simulate.settings import Settings as Settings
    from hpc_ds.simulate.simulator import Retry as Retry
    from hpc_ds.simulate.simulator import Simulator as Simulator
    from hpc_ds.simulate.simulator import Skip as Skip
    from hpc_ds.simulate.simulator import Stop as Stop
    from hpc_ds.simulate.simulators import load_simulator as load_simulator

_WHERE = {
    "AdaptiveDesign": "adaptive",
    "ParameterSpace": "parameters",
    "declare": "python_function",
    "load_simulator": "simulators",
    "make_design": "design",
    "read_space": "parameters",
    "ClusterSettings": "settings",
    "Retry": "simulator",
    "Settings": "settings",
    "Simulator": "simulator",
    "Skip": "simulator",
    "Stop": "simulator",
    "generate": "run",
    "merge_folder": "run",
}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
