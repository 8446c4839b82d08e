"""One step of training: the gradient of a batch, piece by piece, and the update that it makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hpc_ds.learn.optimisers import make_optimiser, parameters_of, set_rate
from hpc_ds.learn.settings import Settings
from hpc_ds.runtime.random import name_key, philox_key

if TYPE_CHECKING:
    from hpc_ds.learn.predictor import Predictor
    from hpc_ds.learn.reduction import Reducer

Pieces = Sequence[tuple[int, NDArray[np.int64]]]
Tensors = Sequence[tuple[Tensor, Tensor]]

_DROPOUT = name_key("dropout")


class Step:
    """What makes one step: network, loss, reduction and optimiser.

    Parameters
    ----------
    predictor : Predictor
        The network that is trained, with the normalisations around it.
    loss : callable
        (prediction, target), both normalised, to one loss a sample, (n,).
    reducer : Reducer
        Cuts batches and sums gradients over pieces and ranks.
    settings : Settings
    member : int
        Which network of an ensemble; belongs to the keys of random numbers.

    Attributes
    ----------
    optimiser : torch.optim.Optimizer
    """

    def __init__(
        self,
        predictor: Predictor,
        loss: Callable[[Tensor, Tensor], Tensor],
        reducer: Reducer,
        settings: Settings,
        member: int = 0,
    ) -> None:
        self.predictor, self.loss, self.reducer = predictor, loss, reducer
        self.optimiser = make_optimiser(predictor.network, settings)
        self._settings, self._member = settings, member
        self._precision = predictor.dtype

    def gradient(
        self, epoch: int, step: int, count: int, pieces: Pieces, tensors: Tensors, losses: Tensor
    ) -> float:
        """Compute the gradient of a batch's mean loss, and return its norm; collective.

        Parameters
        ----------
        epoch, step : int
            Keys of the random numbers that the network draws.
        count : int
            Samples of the whole batch.
        pieces : sequence of (int, (n,) int64)
            This rank's pieces: their keys, and the places of their samples in the epoch.
        tensors : sequence of (Tensor, Tensor)
            Inputs and targets of each piece, in physical units.
        losses : (samples of the epoch,) float64 Tensor
            Takes the loss of each sample of these pieces at its place.

        Returns
        -------
        float
            The same on all ranks; not finite where a loss or a gradient on any rank is not.
        """
        for (key, places), (inputs, targets) in zip(pieces, tensors, strict=True):
            with self.reducer.piece(key, len(places) / count):
                seed_torch(self._settings.seed, self._member, epoch, step, key)
                each = self.losses(self.reducer.network, inputs, targets)
                mean = each.sum() / count
                # 1 where the loss is finite, else NaN: it reaches every gradient, whose norm all ranks see.
                mean.backward(mean.detach() * 0.0 + 1.0)
            losses[places[0] : places[-1] + 1] = each.detach()
        return self.reducer.finish()

    def spoil(self, pieces: Pieces) -> float:
        """Take part in a step without data, so that its norm is NaN on all ranks, which is returned; collective."""
        for key, _ in pieces:
            with self.reducer.piece(key, 0.0):
                for parameter in parameters_of(self.optimiser):
                    if parameter.grad is None:
                        parameter.grad = torch.full_like(parameter, torch.nan)
                    else:
                        parameter.grad.fill_(torch.nan)
        return self.reducer.finish()

    def update(self, rate: float, norm: float) -> None:
        """Move the parameters along the gradient, whose norm is known, after clipping it."""
        clip = self._settings.clip
        if clip is not None and norm > clip:
            gradients = [p.grad for p in parameters_of(self.optimiser) if p.grad is not None]
            torch._foreach_mul_(gradients, clip / norm)
        set_rate(self.optimiser, rate)
        self.optimiser.step()

    def losses(self, network: Callable[[Tensor], Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each sample, (n,); inputs and targets come in physical units."""
        x = self.predictor.input(inputs.to(self._precision))
        y = self.predictor.target(targets.to(self._precision)) if targets.is_floating_point() else targets
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self._settings.precision == "bfloat16"):
            prediction = network(x)
        return self.loss(prediction, y)

    def alone(self, inputs: Tensor, targets: Tensor) -> tuple[float, float]:
        """Return the loss of one sample (1, ...) that is computed alone, and the norm of its gradient.

        Not collective. Running statistics move.
        """
        parameters = [p for p in self.predictor.network.parameters() if p.requires_grad]
        # Twice the same: BatchNorm refuses a single value, and by its own statistics it is still itself.
        pair, targets = (tensor.repeat_interleave(2, 0) for tensor in (inputs, targets))
        loss = self.losses(self.predictor.network, pair, targets).mean()
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        norms = [torch.linalg.vector_norm(gradient) for gradient in gradients if gradient is not None]
        return float(loss.detach()), float(torch.stack(norms).norm()) if norms else 0.0


def seed_torch(seed: int, *key: int) -> None:
    """Set torch's generators, that of the CPU and that of the CUDA device, to the stream of the piece of `key`."""
    number = int(philox_key(seed, _DROPOUT, *key)[0])
    # Not torch.manual_seed: where CUDA was not used yet it keeps a traceback of every call for later.
    torch.default_generator.manual_seed(number)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(number)


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Within, let CUDA choose kernels that give the same bits each time, where there are such."""
    if device.type != "cuda":
        yield
        return
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark, torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn.deterministic, cudnn.benchmark = True, False
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before[:2]
        torch.use_deterministic_algorithms(before[2], warn_only=warned)


def freeze_statistics(network: nn.Module) -> None:
    """Keep BatchNorm layers whose parameters are all frozen as they are: their statistics too."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            own = list(module.parameters(recurse=False))
            if own and not any(parameter.requires_grad for parameter in own):
                module.eval()
