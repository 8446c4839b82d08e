"""Measure the claims on the speed of the spectral solvers of `hpc-ds simulate`: see benchmarks/README.md.

Everything is compared in one run, in turn, in CPU seconds of one core, and judged by ratios of medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

# One core for the peers, too; their libraries read this when they are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import scipy.fft
from scipy.special import ive

from hpc_ds.physics import burgers, navier_stokes
from hpc_ds.physics.kernels import burgers as burgers_kernels
from hpc_ds.physics.kernels import etdrk4
from hpc_ds.physics.kernels import navier_stokes as navier_stokes_kernels
from hpc_ds.physics.kernels.fft import transform
from hpc_ds.physics.kernels.lanes import LANES, zeros
from hpc_ds.physics.random_fields import periodic_field
from hpc_ds.physics.spectral import highest_mode
from hpc_ds.runtime.compiled import compiled

REPETITIONS = 7
GOALS = {"burgers": 5.0, "navier-stokes": 2.5}


def medians(ways: dict[str, Callable[[], object]], repetitions: int = REPETITIONS) -> dict[str, float]:
    """CPU seconds of each way, measured in turn."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(repetitions):
        for name, way in ways.items():
            start = time.process_time()
            way()
            spent[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in spent.items()}


# --- the same scheme in NumPy ---------------------------------------------------------------------------------------


@dataclass
class Plain:
    """ETDRK4 by array expressions; `slope` maps modes to modes of the explicit part."""

    rate: np.ndarray
    step: float
    slope: Callable[[np.ndarray], np.ndarray]

    def __post_init__(self) -> None:
        lanes = np.repeat(self.rate.reshape(-1, 1), LANES, axis=1)
        table = etdrk4.coefficients(lanes, self.step)[:, 0].reshape(-1, 5).T
        self.e, self.q, self.f1, self.f2, self.f3 = (row.reshape(self.rate.shape) for row in table)
        self.e2 = self.e * self.e

    def advance(self, u: np.ndarray, steps: int) -> np.ndarray:
        for _ in range(steps):
            n1 = self.slope(u)
            a = self.e * u + self.q * n1
            n2 = self.slope(a)
            b = self.e * u + self.q * n2
            n3 = self.slope(b)
            c = self.e * a + self.q * (2 * n3 - n1)
            n4 = self.slope(c)
            u = self.e2 * u + self.f1 * n1 + self.f2 * (n2 + n3) + self.f3 * n4
        return u


def plain_burgers(n: int, viscosity: float, step: float) -> Plain:
    """Complex transforms of one sample."""
    k = np.fft.fftfreq(n, 1 / n)
    factor = np.where(np.abs(k) <= highest_mode(n), -1j * np.pi * k, 0)
    return Plain(
        -viscosity * (2 * np.pi * k) ** 2,
        step,
        lambda u: factor * np.fft.fft(np.fft.ifft(u).real ** 2),
    )


def batched_burgers(n: int, viscosity: np.ndarray, step: float) -> Plain:
    """Real transforms of all samples at once by SciPy."""
    k = np.arange(n // 2 + 1)
    factor = np.where(k <= highest_mode(n), -1j * np.pi * k, 0)
    return Plain(
        -viscosity[:, None] * (2 * np.pi * k) ** 2,
        step,
        lambda u: factor * scipy.fft.rfft(scipy.fft.irfft(u, n, workers=1) ** 2, workers=1),
    )


def plain_flow(n: int, viscosity: float, step: float, forcing: np.ndarray) -> Plain:
    """Complex transforms of one sample, in the advective form."""
    k = np.fft.fftfreq(n, 1 / n)
    kx, ky = 2j * np.pi * k[:, None], 2j * np.pi * k
    laplacian = (kx**2 + ky**2).real
    inverse = np.divide(1.0, -laplacian, out=np.zeros_like(laplacian), where=laplacian != 0)
    kept = np.maximum(np.abs(k[:, None]), np.abs(k)) <= highest_mode(n)
    force = np.fft.fft2(forcing)

    def slope(w: np.ndarray) -> np.ndarray:
        psi = inverse * w
        u, v = np.fft.ifft2(ky * psi).real, np.fft.ifft2(-kx * psi).real
        return force - kept * np.fft.fft2(u * np.fft.ifft2(kx * w).real + v * np.fft.ifft2(ky * w).real)

    return Plain(viscosity * laplacian, step, slope)


def batched_flow(n: int, viscosity: np.ndarray, step: float, forcing: np.ndarray) -> Plain:
    """Real transforms of all samples at once by SciPy, four of them: the products u v and u^2 - v^2."""
    kx, ky = 2j * np.pi * np.fft.fftfreq(n, 1 / n)[:, None], 2j * np.pi * np.arange(n // 2 + 1)
    laplacian = (kx**2 + ky**2).real
    inverse = np.divide(1.0, -laplacian, out=np.zeros_like(laplacian), where=laplacian != 0)
    waves = np.abs(np.fft.fftfreq(n, 1 / n))
    kept = np.maximum(waves[:, None], np.arange(n // 2 + 1)) <= highest_mode(n)
    to_u, to_v = ky * inverse, -kx * inverse
    of_difference, of_product = kept * kx * ky, kept * (ky**2 - kx**2)
    force = np.fft.rfft2(forcing)

    def slope(w: np.ndarray) -> np.ndarray:
        u = scipy.fft.irfft2(to_u * w, (n, n), workers=1)
        v = scipy.fft.irfft2(to_v * w, (n, n), workers=1)
        difference, product = scipy.fft.rfft2(u * u - v * v, workers=1), scipy.fft.rfft2(u * v, workers=1)
        return force + of_difference * difference + of_product * product

    return Plain(viscosity[:, None, None] * laplacian, step, slope)


# --- burgers --------------------------------------------------------------------------------------------------------


def measure_burgers() -> None:
    n, step, steps = 1024, 1e-3, 100
    viscosity = np.geomspace(1e-2, 1.0, LANES)
    fields = np.stack(
        [
            periodic_field(
                np.random.default_rng(i), (n,), 25.0, 5.0, 2.0, zero_mean=True, cutoff=highest_mode(n)
            )
            for i in range(LANES)
        ]
    )
    plain = [plain_burgers(n, nu, step) for nu in viscosity]
    batch = batched_burgers(n, viscosity, step)
    ways = {
        "hpc_ds": lambda: burgers.solve(fields, viscosity, [steps * step], step)[:, 0],
        "NumPy": lambda: [np.fft.ifft(p.advance(np.fft.fft(u), steps)).real for p, u in zip(plain, fields)],
        "SciPy, 8 samples": lambda: scipy.fft.irfft(batch.advance(scipy.fft.rfft(fields), steps), n),
    }
    times = medians(ways)
    work = burgers_kernels.new_work(n, highest_mode(n) + 1)
    transforms = medians({"fft": lambda: _transforms(work.pairs, work.x, work.y, work.a, work.b, 8 * steps)})
    _print_speed("burgers", f"{n} points, {steps} steps", times, transforms["fft"])
    _print_difference(ways)
    print("   errors against Cole and Hopf, u(x, 0) = sin 2 pi x, t = 1, 1024 points:")
    for nu in (0.1, 0.01):
        for h in (4e-3, 2e-3, 1e-3, 5e-4):
            x = np.arange(n) / n
            found = burgers.solve([np.sin(2 * np.pi * x)], [nu], [1.0], h)[0, 0]
            print(f"      viscosity {nu:<5} step {h:<6g} {np.abs(found - _cole_hopf(x, 1.0, nu)).max():.1e}")
    print("   errors of random fields, t = 0.1 ... 1, against 4096 points and steps of 1.25e-4:")
    _print_burgers_errors()


def _print_burgers_errors() -> None:
    times = np.linspace(0.1, 1.0, 10)

    def solved(n: int, nu: float, step: float) -> np.ndarray:
        start = [
            periodic_field(np.random.default_rng(i), (n,), 25.0, 5.0, 2.0, zero_mean=True, cutoff=85)
            for i in range(LANES)
        ]
        return burgers.solve(start, [nu] * LANES, times, step)[:, :, :: n // 256]

    for nu in (1.0, 0.1, 0.01):
        fine = solved(4096, nu, 1.25e-4)
        errors = [
            (256, 1e-3),
            (1024, 2e-3),
            (1024, 1e-3),
            (1024, 5e-4),
        ]
        texts = [f"{n} points, {h:g}: {np.abs(solved(n, nu, h) - fine).max():.0e}" for n, h in errors]
        print(f"      viscosity {nu:<5} {'   '.join(texts)}")


def _cole_hopf(x: np.ndarray, t: float, viscosity: float) -> np.ndarray:
    """u = -2 nu phi_x / phi with the heat equation's solution phi from exp(cos(2 pi x) / (4 pi nu))."""
    r, k = 1 / (4 * np.pi * viscosity), np.arange(1, 200)
    weight = 2 * ive(k, r) * np.exp(-viscosity * (2 * np.pi * k) ** 2 * t)
    phase = 2 * np.pi * np.outer(x, k)
    return 4 * np.pi * viscosity * (np.sin(phase) @ (k * weight)) / (ive(0, r) + np.cos(phase) @ weight)


# --- navier-stokes --------------------------------------------------------------------------------------------------


def measure_navier_stokes() -> None:
    n, step, steps = 64, 0.02, 50
    viscosity = np.geomspace(3e-4, 3e-3, LANES)
    fields, forcing = _vorticity(n), navier_stokes.standard_forcing(n)
    plain = [plain_flow(n, nu, step, forcing) for nu in viscosity]
    batch = batched_flow(n, viscosity, step, forcing)
    ways = {
        "hpc_ds": lambda: navier_stokes.solve(fields, viscosity, [steps * step], step, forcing)[:, 0],
        "NumPy": lambda: [np.fft.ifft2(p.advance(np.fft.fft2(w), steps)).real for p, w in zip(plain, fields)],
        "SciPy, 8 samples": lambda: scipy.fft.irfft2(batch.advance(scipy.fft.rfft2(fields), steps), (n, n)),
    }
    times = medians(ways)
    work = navier_stokes_kernels.new_work(n, highest_mode(n))
    count = 4 * steps * 2 * (n + 2 * highest_mode(n) + 1)  # of n points, lines without modes left out
    transforms = medians({"fft": lambda: _transforms(work.roots, work.x, work.y, work.a, work.b, count)})
    _print_speed("navier-stokes", f"{n} x {n} points, {steps} steps", times, transforms["fft"])
    _print_difference(ways)
    _print_flow_errors(forcing)


def _print_flow_errors(forcing: np.ndarray) -> None:
    n = len(forcing)
    x = np.arange(n) / n
    vortices = 4 * np.pi * np.outer(np.cos(2 * np.pi * x), np.cos(2 * np.pi * x))
    found = navier_stokes.solve([vortices], [1e-2], [1.0], 0.02)[0, 0]
    error = np.abs(found - np.exp(-8e-2 * np.pi**2) * vortices).max() / np.abs(vortices).max()
    print(f"   relative error against Taylor and Green's vortices, viscosity 0.01, t = 1: {error:.1e}")
    print(
        "   errors of random fields at t = 10 by step (relative, of the worst of 8), against steps of 0.005:"
    )
    for nu in (3e-3, 1e-3, 3e-4):
        fine = navier_stokes.solve(_vorticity(n), [nu] * LANES, [10.0], 0.005, forcing)
        texts = [
            f"{h:g}: {_worst(navier_stokes.solve(_vorticity(n), [nu] * LANES, [10.0], h, forcing), fine):.0e}"
            for h in (0.08, 0.04, 0.02)
        ]
        print(f"      viscosity {nu:<6g} {'   '.join(texts)}")
    fine = navier_stokes.solve(_vorticity(n), [1e-3] * LANES, [1.0], 0.005, forcing)
    published = _euler_crank_nicolson(_vorticity(n)[0], 1e-3, forcing, 1e-3, 1000)
    print(
        "   the published code's scheme (Euler, Crank-Nicolson), t = 1, viscosity 0.001, steps of 0.001: "
        f"{_worst(published, fine[0, 0]):.0e} after 1000 evaluations; ours, steps of 0.02: "
        f"{_worst(navier_stokes.solve(_vorticity(n), [1e-3] * LANES, [1.0], 0.02, forcing)[0], fine[0]):.0e} after 200"
    )


def _vorticity(n: int) -> np.ndarray:
    law = (7.0**1.5, 7.0, 2.5)
    return np.stack(
        [
            periodic_field(np.random.default_rng(i), (n, n), *law, zero_mean=True, cutoff=21)
            for i in range(LANES)
        ]
    )


def _worst(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.abs(found - exact).max() / np.abs(exact).max())


def _euler_crank_nicolson(
    w: np.ndarray, viscosity: float, forcing: np.ndarray, step: float, steps: int
) -> np.ndarray:
    plain, modes = plain_flow(len(w), viscosity, step, forcing), np.fft.fft2(w)
    half = 0.5 * step * plain.rate
    for _ in range(steps):
        modes = ((1 + half) * modes + step * plain.slope(modes)) / (1 - half)
    return np.fft.ifft2(modes).real


# --- what both share ------------------------------------------------------------------------------------------------


@compiled
def _transforms(w, x, y, a, b, count):
    for _ in range(count):
        transform(w, x, 0, 1, y, 0, 1, a, b)


def _print_speed(name: str, what: str, times: dict[str, float], transforms: float) -> None:
    own = times["hpc_ds"]
    print(f"{name}: {what}, {LANES} samples, float64, one core")
    for way, spent in times.items():
        print(f"   {way:<18} {1e3 * spent / LANES:8.2f} ms a sample   {spent / own:6.1f} x")
    print(
        f"   goal: NumPy at least {GOALS[name]:g} x; transforms alone take {transforms / own:.0%} of hpc_ds's time"
    )


def _print_difference(ways: dict[str, Callable[[], object]]) -> None:
    own, *others = (np.asarray(way()) for way in ways.values())
    print(f"   largest difference between the three: {max(np.abs(own - one).max() for one in others):.0e}")


def measure_transforms() -> None:
    print("transforms: complex, float64, 8 at once, microseconds for the 8")
    for n in (64, 512, 1024):
        x, y, a, b = (zeros(n, 2, LANES) for _ in range(4))
        x[:] = np.random.default_rng(0).normal(size=x.shape)
        w, rows = np.exp(-2j * np.pi * np.arange(n) / n), np.ascontiguousarray((x[:, 0] + 1j * x[:, 1]).T)
        count = 400_000 // n
        times = medians(
            {
                "hpc_ds": lambda w=w, x=x, y=y, a=a, b=b, count=count: _transforms(w, x, y, a, b, count),
                "SciPy": lambda rows=rows, count=count: [
                    scipy.fft.fft(rows, workers=1) for _ in range(count)
                ],
                "NumPy": lambda rows=rows, count=count: [
                    np.fft.fft(row) for _ in range(count) for row in rows
                ],
            }
        )
        rate = 5 * n * np.log2(n) * LANES * count / times["hpc_ds"] / 1e9
        texts = [f"{name} {1e6 * spent / count:.2f}" for name, spent in times.items()]
        print(f"   {n:5} points: {'   '.join(texts)}   ({rate:.0f} Gflop/s)")


def measure_startup() -> None:
    print("startup: CPU seconds of the first block of 8, import included")
    for name, call in (
        ("burgers", "burgers.solve(np.zeros((8, 64)), np.ones(8), [0.1], 0.1)"),
        ("navier_stokes", "navier_stokes.solve(np.zeros((8, 16, 16)), np.ones(8), [0.1], 0.1)"),
    ):
        code = f"import numpy as np; from hpc_ds.physics import {name}; {call}"
        with tempfile.TemporaryDirectory() as cache:
            times = []
            for _ in range(2):
                start = _children_seconds()
                environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
                subprocess.run([sys.executable, "-c", code], env=environment, check=True)
                times.append(_children_seconds() - start)
        print(f"   {name:<14} empty cache {times[0]:.1f}, full cache {times[1]:.1f}")


def _children_seconds() -> float:
    spent = os.times()
    return spent.children_user + spent.children_system


SECTIONS = {
    "burgers": measure_burgers,
    "navier-stokes": measure_navier_stokes,
    "transforms": measure_transforms,
    "startup": measure_startup,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", choices=[[], *SECTIONS], default=[], help="all by default")
    for name in parser.parse_args().sections or SECTIONS:
        SECTIONS[name]()


if __name__ == "__main__":
    main()
