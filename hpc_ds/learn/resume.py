"""What a snapshot of a training holds, and how a training goes on from it, in the middle of an epoch too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from hpc_ds.learn.ema import WeightMean
from hpc_ds.learn.group import Group
from hpc_ds.learn.history import History
from hpc_ds.learn.recovery import Watch
from hpc_ds.learn.reduction import Reducer
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.snapshot import Snapshots

FORMAT = 1

Arrays = dict[str, NDArray[Any]]

_NETWORK, _OPTIMISER, _MEAN = "network/", "optimiser/", "mean/"


@dataclass
class Weights:
    """The tensors of a training, as plain arrays by name, whatever the reduction makes of them."""

    reducer: Reducer
    optimiser: Optimizer
    mean: WeightMean | None
    group: Group

    def network(self) -> Arrays:
        """Return copies of the weights that are validated and kept (those of the mean where there is one); collective.

        Whole at least on rank 0.
        """
        return _copied(self._validated())

    def all(self) -> Arrays:
        """Return weights, the optimiser's state and the mean, whole at least on rank 0; collective.

        The arrays may lie on the memory of the tensors: they are to be written, or copied, before the next step.
        """
        whole = self.reducer.state(self.optimiser)
        arrays = {f"{_NETWORK}{name}": _array(tensor) for name, tensor in whole["network"].items()}
        arrays |= {f"{_OPTIMISER}{name}": array for name, array in _moments(whole).items()}
        if self.mean is not None:
            arrays |= {f"{_MEAN}{name}": array for name, array in _copied(self._validated()).items()}
        return arrays

    def load_all(self, arrays: Arrays, updates: int) -> None:
        """Set everything to what `all` returned on rank 0, after so many updates of the mean; collective."""
        arrays = broadcast(self.group, arrays)
        if self.mean is not None:
            self._load(_beginning(_MEAN, arrays), {})
            self.mean.begin(updates)
        self._load(_beginning(_NETWORK, arrays), _beginning(_OPTIMISER, arrays))

    def load_network(self, network: Arrays) -> None:
        """Set the network's weights alone to what `network` returned on rank 0; collective."""
        moments = broadcast(self.group, _moments(self.reducer.state(self.optimiser)))
        self._load(broadcast(self.group, network), moments)

    def _validated(self) -> dict[str, Tensor]:
        if self.mean is None:
            return self._own()
        with self.mean.in_place():
            # Copies: the memory is given back to the weights themselves at the end of the block.
            return {name: tensor.clone() for name, tensor in self._own().items()}

    def _own(self) -> dict[str, Tensor]:
        return self.reducer.state(self.optimiser)["network"]

    def _load(self, network: Arrays, moments: Arrays) -> None:
        own = self.reducer.state(self.optimiser)["optimiser"]
        groups = self.group.world.bcast(own.get("param_groups", []))
        owners = {str(owner): owner for group in groups for owner in group["params"]}
        state: dict[Any, dict[str, Tensor]] = {}
        for name, tensor in _tensors(moments).items():
            owner, _, quantity = name.rpartition("/")
            state.setdefault(owners[owner], {})[quantity] = tensor
        whole = {"network": _tensors(network), "optimiser": {"state": state, "param_groups": groups}}
        self.reducer.load_state(self.optimiser, whole)


@dataclass
class State:
    """What moves in a training beside its tensors."""

    known: NDArray[np.float64]
    """(samples,) losses that the training samples had when they were last seen in an epoch that is over; NaN before."""
    epoch: int = 1
    """The one that is under way, counted from 1."""
    step: int = 0
    """Steps of it that are done."""
    losses: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    """Of the samples that were seen in this epoch, in their order."""
    norms: list[float] = field(default_factory=list)
    """Of the gradients of its steps."""
    seconds: float = 0.0
    """That the epoch has taken so far."""
    elapsed: float = 0.0
    """That all epochs before it have taken."""
    factor: float = 1.0
    """Of the learning rate, halved by each roll-back."""
    watch: Watch = field(default_factory=Watch)
    history: History = field(default_factory=History)
    best: Arrays = field(default_factory=dict)
    """Weights of the best epoch; on rank 0."""
    start: Arrays = field(default_factory=dict)
    """Everything of `Weights` at the beginning of the epoch, for a roll-back; on rank 0."""
    start_updates: int | None = None
    """Updates of the mean by then; None where `start` is not kept."""

    def begin_epoch(self, epoch: int) -> None:
        """Turn to the beginning of an epoch."""
        self.epoch, self.step, self.losses, self.norms, self.seconds = epoch, 0, np.empty(0), [], 0.0


_ARRAYS = ("known", "losses")
_TABLES = ("best", "start")


def save(snapshots: Snapshots, state: State, weights: Weights) -> None:
    """Write a snapshot; collective, rank 0 writes.

    Raises
    ------
    StorageError
        The disk refuses: on all ranks. Older snapshots are untouched.
    """
    arrays = weights.all()
    for table in _TABLES:
        arrays |= {f"{table}/{name}": array for name, array in getattr(state, table).items()}
    arrays |= {name: getattr(state, name) for name in _ARRAYS}
    meta = {name: value for name, value in vars(state).items() if name not in (*_ARRAYS, *_TABLES)}
    meta |= {"watch": asdict(state.watch), "history": state.history.to_plain(), "format": FORMAT}
    meta["updates"] = weights.mean.updates if weights.mean is not None else 0
    weights.group.world.root_first(_write, snapshots, arrays, meta)


def load(snapshots: Snapshots, weights: Weights) -> State | None:
    """Read the newest sound snapshot on rank 0 and go back to it on all ranks; collective. None where there is none.

    Raises
    ------
    InputError
        One of a later format, or of another network; on all ranks.
    """
    found: list[Arrays] = []
    meta = weights.group.world.root_first(_read, snapshots, found)
    if meta is None:
        return None
    arrays = found[0] if found else {}
    tables = {table: _beginning(f"{table}/", arrays) for table in _TABLES}
    numbers = broadcast(weights.group, {name: arrays[name] for name in _ARRAYS if name in arrays})
    updates = meta.pop("updates")
    weights.load_all({name: array for name, array in arrays.items() if name.startswith(_WHOLE)}, updates)
    meta |= {"watch": Watch(**meta["watch"]), "history": History.from_plain(meta["history"])}
    return State(**meta | numbers | tables)


def broadcast(group: Group, arrays: Arrays) -> Arrays:
    """Return rank 0's arrays on all ranks; collective."""
    if group.size == 1:
        return arrays
    table = group.world.bcast([(name, array.dtype.str, array.shape) for name, array in arrays.items()])
    received = {}
    for name, dtype, shape in table:
        own = arrays[name] if group.rank == 0 else np.empty(shape, dtype)
        size = own.nbytes
        if size:
            data = torch.from_numpy(np.ascontiguousarray(own).reshape(-1).view(np.uint8)).to(group.device)
            group.broadcast_(data)
            own = data.cpu().numpy().view(dtype).reshape(shape)
        received[name] = own
    return received


_WHOLE = (_NETWORK, _OPTIMISER, _MEAN)


def _write(snapshots: Snapshots, arrays: Arrays, meta: Mapping[str, Any]) -> None:
    snapshots.save(arrays, meta)


def _read(snapshots: Snapshots, found: list[Arrays]) -> dict[str, Any] | None:
    loaded = snapshots.load()
    if loaded is None:
        return None
    arrays, meta = loaded
    version = meta.pop("format", None)
    if not isinstance(version, int) or version > FORMAT:
        raise InputError(
            f"{snapshots.directory}: a snapshot of training of format {version}, this version reads up to {FORMAT}: "
            "update hpc_ds"
        )
    found.append(arrays)
    return meta


def _beginning(prefix: str, arrays: Arrays) -> Arrays:
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}


def _moments(whole: Mapping[str, Any]) -> Arrays:
    """Return the optimiser's tensors by ``parameter/quantity``."""
    return {
        f"{owner}/{quantity}": _array(value)
        for owner, values in whole["optimiser"]
        .get("state", {})
        .items()  # nothing but on rank 0, where sharded
        for quantity, value in values.items()
        if isinstance(value, Tensor)
    }


def _array(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().cpu().numpy()


def _copied(tensors: Mapping[str, Tensor]) -> Arrays:
    return {name: np.array(_array(tensor)) for name, tensor in tensors.items()}


def _tensors(arrays: Arrays) -> dict[str, Tensor]:
    # Copies: optimisers take what they are given as their own, and what is rolled back to must stay as it is.
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
