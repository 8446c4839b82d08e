"""A network's gradients and moving buffers as one flat vector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hpc_ds.learn.tree import Partial
from hpc_ds.runtime.errors import InputError

_ALIGNED = 16
"""Numbers to whose multiples every parameter's place is rounded up: 64 bytes in single precision."""


class Layout:
    """Where each trainable parameter's gradient, and then a tail of `tail` numbers, lies in a flat vector.

    Parameters go in reverse order of registration, which is about the order in which gradients become ready.
    Complex parameters are pairs of real numbers.

    Parameters
    ----------
    parameters : sequence of Parameter
        The trainable ones, all on one device and of one precision.
    tail : int
        Numbers after the gradients.
    multiple : int
        The vector's length is a multiple of this.

    Raises
    ------
    InputError
        Parameters of several precisions, or none at all.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], tail: int, multiple: int) -> None:
        self.parameters = list(reversed(parameters))
        self.dtype = _one_precision(self.parameters)
        self.device = self.parameters[0].device
        ends = [0]
        for parameter in self.parameters:
            ends.append(_up(ends[-1] + parameter.numel() * (2 if parameter.is_complex() else 1), _ALIGNED))
        self.offsets = ends[:-1]
        self.gradients = slice(0, ends[-1])
        self.tail = slice(ends[-1], ends[-1] + tail)
        self.length = _up(ends[-1] + tail, multiple)

    def new(self) -> Partial:
        """Return a vector of zeros, with views of the parameters' shapes and strides and one of the tail."""
        flat = torch.zeros(self.length, dtype=self.dtype, device=self.device)
        places = zip(self.parameters, self.offsets)
        return Partial(flat, [*(_view(flat, *place) for place in places), flat[self.tail]])

    def norm(self, flat: Tensor) -> float:
        """Return the Euclidean norm of the gradients, summed in double precision."""
        return float(torch.linalg.vector_norm(flat[self.gradients], dtype=torch.float64))


class MovingBuffers:
    """The persistent buffers that forward passes move, such as the running statistics of BatchNorm.

    Each piece of a batch starts from the values of the step's start, and the step ends with their mean over
    pieces, weighted by samples: value + sum(share * movement), so that what no piece moves stays as it is, bit
    for bit. Integers, which count, move as the first piece of the whole batch moves them. Buffers that are not
    saved with the network (``persistent=False``) are constants.

    Attributes
    ----------
    size : int
        Length of the vector of movements.
    """

    def __init__(self, network: nn.Module) -> None:
        places = [place for place in _persistent(network) if getattr(*place).numel()]
        self._real = [place for place in places if getattr(*place).is_floating_point()]
        self._whole = [place for place in places if not _has_fractions(getattr(*place))]
        self._sizes = [getattr(*place).numel() for place in self._real + self._whole]
        self._reals = sum(self._sizes[: len(self._real)])
        self.size = sum(self._sizes)
        self._start: tuple[Tensor, Tensor] | None = None

    def begin(self) -> None:
        """Remember the values, at the start of a step."""
        if self.size:
            self._start = self._values()

    def rewind(self) -> None:
        """Go back to the values of the step's start."""
        if self._start is not None:
            self._set(*self._start)

    def collect(self, movement: Tensor, share: float, is_first: bool) -> None:
        """Add to `movement` (size,) how a piece moved the values; integers only where the piece `is_first`."""
        if self._start is None:
            return
        (real, whole), (real_start, whole_start) = self._values(), self._start
        if self._reals:
            # Infinite constants (masks of attention) have not moved either, though inf - inf is not 0.
            moved = torch.where(real == real_start, 0.0, real - real_start)
            movement[: self._reals].add_(moved.to(movement.dtype), alpha=share)
        if is_first and self._whole:
            movement[self._reals :].copy_(whole - whole_start)

    def finish(self, movement: Tensor) -> None:
        """Set the values to those of the step's start, moved by `movement`, the sum over all pieces."""
        if self._start is not None:
            real, whole = self._start
            real_moved, whole_moved = movement.split([self._reals, self.size - self._reals])
            self._set(real + real_moved.to(real), whole + whole_moved.round().to(whole))
            self._start = None

    def _values(self) -> tuple[Tensor, Tensor]:
        return _joined(self._real, torch.get_default_dtype()), _joined(self._whole, torch.int64)

    @torch.no_grad()
    def _set(self, real: Tensor, whole: Tensor) -> None:
        buffers = [getattr(*place) for place in self._real + self._whole]
        values = [*real.split(self._sizes[: len(self._real)]), *whole.split(self._sizes[len(self._real) :])]
        torch._foreach_copy_(buffers, [value.view_as(buffer) for value, buffer in zip(values, buffers)])


def trainable(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that are not frozen, each once."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _one_precision(parameters: Sequence[nn.Parameter]) -> torch.dtype:
    if not parameters:
        raise InputError("network: it has no trainable parameters (are all of them frozen?)")
    found = {parameter.dtype.to_real() for parameter in parameters}
    if len(found) > 1:
        names = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in found))
        raise InputError(f"network: its parameters are of several precisions ({names}): they must be of one")
    return found.pop()


def _view(flat: Tensor, parameter: Tensor, offset: int) -> Tensor:
    """Return the parameter's place in `flat`; with its own strides, because autograd gives gradients those."""
    if parameter.is_complex():
        flat, offset = torch.view_as_complex(flat[: len(flat) // 2 * 2].view(-1, 2)), offset // 2
    return flat.as_strided(parameter.shape, torch.empty_like(parameter).stride(), offset)


def _persistent(network: nn.Module) -> list[tuple[nn.Module, str]]:
    """Return (module, name) of every buffer that is saved with the network, each buffer once."""
    found: dict[int, tuple[nn.Module, str]] = {}
    for module in network.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if name not in module._non_persistent_buffers_set:
                found.setdefault(id(buffer), (module, name))
    return list(found.values())


def _has_fractions(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _joined(places: Sequence[tuple[nn.Module, str]], dtype: torch.dtype) -> Tensor:
    """Return the buffers one after the other; of `dtype` where there are none, or where they are integers."""
    buffers = [getattr(*place).detach().flatten() for place in places]
    if not buffers:
        return torch.zeros(0, dtype=dtype)
    return torch.cat([buffer if _has_fractions(buffer) else buffer.to(dtype) for buffer in buffers])
