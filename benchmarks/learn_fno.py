"""Measure the claims on the speed of Fourier neural operators: see benchmarks/README.md.

CPU seconds of one thread, ours and neuraloperator's in turn, best of the rounds; ratios count. neuraloperator is looked
for in --peer FOLDER, as `pip install --target FOLDER neuraloperator` fills it. Its weights are copied into our network
first, so that outputs and gradients can be compared as well.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
import torch
from torch import Tensor, nn

from hpc_ds.learn.networks.fno import Options, build
from hpc_ds.learn.networks.spectral import SpectralConvolution
from hpc_ds.runtime.allocator import keep_freed_memory

WIDTH, BATCH, GRID, MODES = 32, 16, (64, 64), (16, 16)
GOALS = {"convolution": 0.45, "step": 0.70}

CONVOLUTIONS = [
    (16, (64, 64), (16, 16)),
    (16, (64, 64), (32, 32)),
    (16, (64, 64), (64, 64)),
    (4, (128, 128), (16, 16)),
    (4, (128, 128), (32, 32)),
    (1, (256, 256), (24, 24)),
    (1, (512, 512), (24, 24)),
    (16, (1024,), (32,)),
    (16, (4096,), (512,)),
    (2, (32, 32, 32), (12, 12, 12)),
]


def best_in_turn(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """CPU seconds of each way, measured in turn, the best of the rounds."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.process_time()
            way()
            spent[name].append(time.process_time() - start)
    return {name: min(values) for name, values in spent.items()}


# --- neuraloperator's weights in our places -------------------------------------------------------------------------


def pairs(
    ours: nn.Module, theirs: Any, convert: Callable[[Tensor], Tensor]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Our parameters beside theirs, `convert`ed (a value or a gradient) and brought to our shapes."""
    blocks = theirs.fno_blocks
    for layer, block in enumerate(ours.blocks):
        yield from convolution_pairs(block.convolution, blocks.convs[layer], convert)
        yield block.skip.weight, convert(blocks.fno_skips[layer].conv.weight)
        yield block.gate, convert(blocks.channel_mlp_skips[layer].weight)
        yield from mlp_pairs(block.channel_mlp, blocks.channel_mlp[layer], convert)
    yield from mlp_pairs(ours.lifting, theirs.lifting, convert)
    yield from mlp_pairs(ours.projection, theirs.projection, convert)


def mlp_pairs(
    ours: nn.Module, theirs: Any, convert: Callable[[Tensor], Tensor]
) -> Iterator[tuple[Tensor, Tensor]]:
    for one, other in zip((ours.first, ours.second), theirs.fcs):
        yield one.weight, convert(other.weight)
        yield one.bias, convert(other.bias)


def convolution_pairs(
    ours: nn.Module, theirs: Any, convert: Callable[[Tensor], Tensor]
) -> Iterator[tuple[Tensor, Tensor]]:
    weight = torch.view_as_real(convert(theirs.weight.tensor).resolve_conj())
    d = weight.ndim - 3
    yield ours.weight, weight.permute(*range(2, 2 + d), 2 + d, 0, 1)
    yield ours.bias, convert(theirs.bias)


def copy_weights(matched: Iterator[tuple[Tensor, Tensor]]) -> None:
    with torch.no_grad():
        for one, other in matched:
            one.copy_(other.reshape(one.shape))


def difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).detach().norm() / other.detach().norm())


def gradient_difference(matched: Iterator[tuple[Tensor, Tensor]]) -> float:
    """Of the whole gradient, relative."""
    found, wanted = zip(*((one.grad.flatten(), other.flatten()) for one, other in matched))
    return difference(torch.cat(found), torch.cat(wanted))


# --- sections -------------------------------------------------------------------------------------------------------


def measure_convolution(peer: bool, rounds: int) -> None:
    print(f"spectral convolution, {WIDTH} channels, float32, forward and backward: ms of one thread")
    for batch, grid, modes in CONVOLUTIONS:
        torch.manual_seed(0)
        ours = SpectralConvolution(WIDTH, WIDTH, modes)
        x = torch.randn(batch, *grid, WIDTH, requires_grad=True)
        g = torch.randn(batch, *grid, WIDTH)
        ways = {"hpc_ds": step_of(ours, x, g)}
        text = f"   {batch:3} x {'x'.join(map(str, grid)):10} modes {'x'.join(map(str, modes)):10}"
        if peer:
            from neuralop.layers.spectral_convolution import SpectralConv

            theirs = SpectralConv(WIDTH, WIDTH, modes)
            copy_weights(convolution_pairs(ours, theirs, lambda t: t))
            y = x.detach().movedim(-1, 1).contiguous().requires_grad_()
            ways["neuraloperator"] = step_of(theirs, y, g.movedim(-1, 1).contiguous())
        times = best_in_turn(ways, rounds)
        print(text + told(times, GOALS["convolution"] if (batch, grid, modes) == CONVOLUTIONS[0] else None))
        if peer:
            outputs = difference(ours(x).movedim(-1, 1), theirs(y))
            inputs = difference(x.grad.movedim(-1, 1), y.grad)
            weights = gradient_difference(convolution_pairs(ours, theirs, lambda t: t.grad))
            print(f"{'':43}differences: output {outputs:.0e}, gradients {inputs:.0e} {weights:.0e}")


def step_of(module: nn.Module, x: Tensor, g: Tensor) -> Callable[[], None]:
    def step() -> None:
        x.grad = None
        module.zero_grad()
        module(x).backward(g)

    return step


def told(times: dict[str, float], goal: float | None) -> str:
    text = "  ".join(f"{name} {1e3 * spent:7.1f}" for name, spent in times.items())
    if "neuraloperator" in times:
        text += f"   ratio {times['hpc_ds'] / times['neuraloperator']:.2f}"
        text += f" (goal {goal:.2f})" if goal else ""
    return "  " + text


def networks(peer: bool) -> dict[str, nn.Module]:
    torch.manual_seed(0)
    ours = build(Options(modes=MODES, width=WIDTH), (1, *GRID), (1, *GRID), "fields")
    if not peer:
        return {"hpc_ds": ours}
    from neuralop.models import FNO

    theirs = FNO(n_modes=MODES, in_channels=1, out_channels=1, hidden_channels=WIDTH)
    copy_weights(pairs(ours, theirs, lambda t: t))
    return {"hpc_ds": ours, "neuraloperator": theirs}


def measure_step(peer: bool, rounds: int) -> None:
    print(f"FNO, width {WIDTH}, 4 layers, modes {MODES}, {BATCH} samples of {GRID}: ms of one thread")
    x, y = torch.randn(2, BATCH, 1, *GRID)
    both = networks(peer)
    if peer:
        print_differences(both["hpc_ds"], both["neuraloperator"], x, y)
    with torch.no_grad():
        print("   forward" + told(best_in_turn({n: lambda m=m: m(x) for n, m in both.items()}, rounds), None))
    ways = {name: training(network, x, y, fused=False) for name, network in both.items()}
    print("   step   " + told(best_in_turn(ways, rounds), GOALS["step"]))
    # Fused AdamW takes no complex parameters, as neuraloperator's are.
    ways["hpc_ds"] = training(both["hpc_ds"], x, y, fused=True)
    print("   step, fused AdamW for ours" + told(best_in_turn(ways, rounds), None))


def print_differences(ours: nn.Module, theirs: nn.Module, x: Tensor, y: Tensor) -> None:
    """Of each from the other, and from ours in double precision."""
    exact = copy.deepcopy(ours).double()
    outputs = []
    for network, kind in ((ours, x.dtype), (theirs, x.dtype), (exact, torch.float64)):
        outputs.append(network(x.to(kind)))
        (outputs[-1] - y).square().mean().backward()
    one, other, best = outputs
    names = ("from each other", "ours from float64", "neuraloperator's")
    figures = (
        (difference(one, other), gradient_difference(pairs(ours, theirs, lambda t: t.grad))),
        (
            difference(one, best),
            gradient_difference(zip(ours.parameters(), (p.grad for p in exact.parameters()))),
        ),
        (difference(other, best), gradient_difference(pairs(exact, theirs, lambda t: t.grad))),
    )
    for name, (output, gradient) in zip(names, figures):
        print(f"   difference {name:18} output {output:.1e}, gradient {gradient:.1e}")


def training(network: nn.Module, x: Tensor, y: Tensor, fused: bool) -> Callable[[], None]:
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=fused)

    def step() -> None:
        (network(x) - y).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


def measure_memory(peer: str | None) -> None:
    print("peak resident memory of 5 steps above what network and imports hold, MiB, a process each")
    for name in ["hpc_ds", *(["neuraloperator"] if peer else [])]:
        command = [sys.executable, __file__, "--memory-of", name, *(["--peer", peer] if peer else [])]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        print(f"   {name:15} {json.loads(answer.splitlines()[-1]):.0f}")


def print_memory(name: str, peer: bool) -> None:
    network = networks(peer)[name]
    x, y = torch.randn(2, BATCH, 1, *GRID)
    step, before = training(network, x, y, fused=False), memory("VmRSS")
    for _ in range(5):
        step()
    print(json.dumps(memory("VmHWM") - before))


def memory(kind: str) -> float:
    """MiB of this process by Linux: VmRSS now, VmHWM at most (getrusage's begins with that of the parent)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind)) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", choices=[[], "convolution", "step", "memory"], default=[])
    parser.add_argument("--peer", help="folder with neuraloperator")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument(
        "--keep-memory", action="store_true", help="tune malloc as the trainer does, for both"
    )
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    if options.peer:
        sys.path.append(options.peer)
    if options.keep_memory:
        keep_freed_memory()
    if options.memory_of:
        return print_memory(options.memory_of, bool(options.peer))
    sections = options.sections or ["convolution", "step", "memory"]
    if "convolution" in sections:
        measure_convolution(bool(options.peer), options.rounds)
    if "step" in sections:
        measure_step(bool(options.peer), options.rounds)
    if "memory" in sections:
        measure_memory(options.peer)


if __name__ == "__main__":
    main()
