"""Feed a network: a thread reads and augments ahead what the next steps need, into buffers that are used again."""

from __future__ import annotations

import functools
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpc_ds.learn.augment import Augment
from hpc_ds.learn.dataset import Dataset

Pieces = Sequence[NDArray[np.int64]]
"""The pieces of one step: sample numbers of each, in order; a piece may be empty."""

Pairs = list[tuple[Tensor, Tensor]]
"""Inputs and targets of each piece."""


class Feeder:
    r"""Reads the samples of coming steps in the background.

    Parameters
    ----------
    dataset : Dataset
        What is read.
    device : torch.device or str
        Where the tensors are to be. For CUDA, they travel from pinned memory on a stream of their own.
    prefetch : int
        Steps that are read ahead; 0 reads each when it is asked for, without a thread.
    augment : Augment, optional
        Random symmetries.
    dtype : torch.dtype
        Of inputs and targets, float32 or float64; classes are int64.

    Examples
    --------
    >>> feeder = Feeder(dataset, "cpu", prefetch=4)                         # doctest: +SKIP
    >>> for pairs in feeder.batches(np.split(order, 20), epoch):            # doctest: +SKIP
    ...     for x, y in pairs: ...
    """

    def __init__(
        self,
        dataset: Dataset,
        device: torch.device | str = "cpu",
        prefetch: int = 4,
        augment: Augment | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.dataset, self.device = dataset, torch.device(device)
        self.prefetch, self.augment = prefetch, augment
        self._slots = [_Slot(dataset, self.device, dtype) for _ in range(prefetch + 1)]

    def batches(self, pieces: Iterable[Pieces], epoch: int) -> Iterator[Pairs]:
        r"""Yield the tensors of each step, in order.

        Parameters
        ----------
        pieces : iterable of sequences of (n,) int64
            Sample numbers of the pieces of each step. It is gone through in the background.
        epoch : int
            Number of the epoch, for augmentation.

        Yields
        ------
        list of (Tensor, Tensor)
            Inputs (n, \*input_shape) and targets of each piece. On the CPU they are valid until the next step is asked
            for: their memory is used again; copy what is to be kept.

        Raises
        ------
        InputError
            A file cannot be read: raised where its step is asked for.
        """
        return self._ahead(pieces, epoch) if self.prefetch else self._at_once(pieces, epoch)

    # Within

    def _at_once(self, pieces: Iterable[Pieces], epoch: int) -> Iterator[Pairs]:
        for step in pieces:
            yield self._slots[0].filled(step, epoch, self.augment)()

    def _ahead(self, pieces: Iterable[Pieces], epoch: int) -> Iterator[Pairs]:
        line = _Line(self._slots)
        thread = threading.Thread(
            target=self._fill, args=(pieces, epoch, line), name="hpc-ds feeder", daemon=True
        )
        thread.start()
        try:
            while (parcel := line.ready.get()) is not None:
                if isinstance(parcel, BaseException):
                    raise parcel
                slot, arrive = parcel
                yield arrive()
                line.free.put(slot)
        finally:
            line.stopped.set()
            line.free.put(None)
            thread.join()

    def _fill(self, pieces: Iterable[Pieces], epoch: int, line: _Line) -> None:
        try:
            for step in pieces:
                slot = line.free.get()
                if slot is None or line.stopped.is_set():
                    return
                line.ready.put((slot, slot.filled(step, epoch, self.augment)))
            line.ready.put(None)
        except BaseException as error:  # whatever it is, the consumer waits
            line.ready.put(error)


class _Line:
    """What passes between the thread and its consumer: free slots one way, filled ones the other."""

    def __init__(self, slots: Iterable[_Slot]) -> None:
        self.free: queue.SimpleQueue[_Slot | None] = queue.SimpleQueue()
        self.ready: queue.SimpleQueue[tuple[_Slot, Callable[[], Pairs]] | BaseException | None] = (
            queue.SimpleQueue()
        )
        self.stopped = threading.Event()
        for slot in slots:
            self.free.put(slot)


class _Slot:
    """Memory for one step, which grows to the largest that it has held."""

    def __init__(self, dataset: Dataset, device: torch.device, dtype: torch.dtype) -> None:
        self.dataset, self.device = dataset, device
        classes = dataset.task == "classify"
        self._kinds = (
            (dataset.input_shape, dtype),
            (() if classes else dataset.target_shape, torch.int64 if classes else dtype),
        )
        self._cuda = device.type == "cuda"
        self._buffers = self._made(0)
        self._sent: Any = None

    def filled(self, step: Pieces, epoch: int, augment: Augment | None) -> Callable[[], Pairs]:
        """Read a step; return what gives its tensors, to be called by the thread that computes with them."""
        sizes = [len(piece) for piece in step]
        samples = np.concatenate([*step, np.empty(0, np.int64)]).astype(np.int64, copy=False)
        if self._sent is not None:
            self._sent.synchronize()  # the copy to the device must be over before its source is overwritten
        if len(samples) > len(self._buffers[0]):
            self._buffers = self._made(len(samples))
        inputs, targets = (buffer[: len(samples)] for buffer in self._buffers)
        self.dataset.read(samples, inputs.numpy(), targets.numpy())
        if augment is not None:
            augment(samples, epoch, inputs.numpy(), targets.numpy())
        if not self._cuda:
            return lambda: _pairs(inputs, targets, sizes)
        return self._on_the_way(inputs, targets, sizes)

    def _made(self, count: int) -> tuple[Tensor, ...]:
        return tuple(
            torch.empty((count, *shape), dtype=dtype, pin_memory=self._cuda and count > 0)
            for shape, dtype in self._kinds
        )

    def _on_the_way(self, inputs: Tensor, targets: Tensor, sizes: Sequence[int]) -> Callable[[], Pairs]:
        """Send a step to the device on a stream of its own, so that it travels while the network computes."""
        stream = _copy_stream(self.device)
        with torch.cuda.stream(stream):
            x, y = (values.to(self.device, non_blocking=True) for values in (inputs, targets))
            self._sent = torch.cuda.Event()
            self._sent.record(stream)
        sent = self._sent

        def arrive() -> Pairs:
            here = torch.cuda.current_stream(self.device)
            here.wait_event(sent)
            for values in (x, y):
                values.record_stream(
                    here
                )  # its memory is not given to others before the network is done with it
            return _pairs(x, y, sizes)

        return arrive


@functools.cache
def _copy_stream(device: torch.device) -> Any:
    return torch.cuda.Stream(device)


def _pairs(inputs: Tensor, targets: Tensor, sizes: Sequence[int]) -> Pairs:
    return list(zip(inputs.split(list(sizes)), targets.split(list(sizes))))
