"""Measure the claims on the speed of `hpc-ds infer spectrum`: see benchmarks/README.md.

Everything is compared in one run, in turn, in CPU seconds, and judged by ratios of medians: machines are shared.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpc_ds.infer import Model, priors, sample
from hpc_ds.infer.models.spectrum import SpectrumOptions, spectrum_models
from hpc_ds.physics.spectra import gaussian_precision, nagata2012
from hpc_ds.store.table import Table

LOG_EVIDENCE = 416.48 - 172.27
"""Of three peaks in the published spectrum, known to about 0.02 (independent C code, two seeds)."""

POSITION, PRECISION = 1, 2
INCREMENTAL, WINDOWED, ALL = range(3)
REPETITIONS = 7
SEEDS = 20


# --- update: one Metropolis update against the same in C ------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A spectrum of which one state is moved about."""

    title: str
    theta: np.ndarray  # (peaks, 3): amplitude, position, precision
    position: tuple[float, float]  # normal prior: mean, standard deviation
    precision: tuple[float, float]  # gamma prior: shape, rate

    @property
    def table(self) -> Table:
        if self.title.startswith("K=3, published"):
            spectrum = nagata2012(0)
            return as_table(spectrum.x, spectrum.y)
        x = 0.01 * np.arange(301)
        y = gaussian_precision(x, *self.theta.T[:, :, None]).sum(axis=0)
        return as_table(x, y + 0.1 * np.random.default_rng(0).normal(size=301))

    @property
    def model(self) -> Model:
        own = {"position": priors.normal(*self.position), "precision": priors.gamma(*self.precision)}
        options = SpectrumOptions(peaks=(len(self.theta),), priors="nagata2012", noise=0.1, overrides=own)
        return spectrum_models(self.table, options)[0]


def cases() -> list[Case]:
    three = nagata2012(0).parameters
    published = np.array([three[name] for name in ("amplitude", "position", "precision")]).T
    wide = published * [1.0, 1.0, 0.0] + [[0.0, 0.0, 2.0], [0.0, 0.0, 3.0], [0.0, 0.0, 4.0]]
    ten = np.array(  # the harder artificial spectrum of the same authors' later code
        [
            [0.587, 1.522, 1.183, 0.864, 0.574, 0.388, 0.53, 0.3, 0.6, 0.7],
            [0.75, 0.84, 0.95, 1.71, 1.82, 1.95, 1.12, 1.30, 1.45, 2.1],
            [500.7, 1046.8, 764.5, 550.7, 562.8, 634.5, 600.7, 664.5, 700.7, 746.8],
        ]
    ).T
    return [
        Case("K=3, published spectrum", published, (1.5, math.sqrt(0.2)), (5.0, 0.04)),
        Case("K=3, peaks so wide that no window helps", wide, (1.5, math.sqrt(0.2)), (5.0, 1.0)),
        Case("K=10, published spectrum", ten, (1.5, 1.0), (5.0, 0.004)),
    ]


class CProblem(ctypes.Structure):
    _fields_ = (
        [(name, ctypes.c_int) for name in ("points", "peaks", "way")]
        + [(name, ctypes.c_double) for name in ("beta", "weight", "mean", "precision", "shape", "rate")]
        + [(name, ctypes.c_void_p) for name in ("x", "y")]
    )


def compile_c(folder: str) -> ctypes.CDLL:
    library = Path(folder) / "infer_spectrum.so"
    flags = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC"]
    source = Path(__file__).with_suffix(".c")
    subprocess.run(["gcc", *flags, "-o", library, source, "-lm"], check=True)
    loaded = ctypes.CDLL(str(library))
    loaded.state_size.restype = loaded.run.restype = ctypes.c_int64
    pointer = ctypes.c_void_p
    loaded.begin.argtypes = [pointer, pointer, pointer, ctypes.c_uint64]
    loaded.run.argtypes = [pointer, pointer, ctypes.c_int, pointer, ctypes.c_int64, pointer]
    return loaded


Run = Callable[[int, np.ndarray], np.ndarray]
"""Make so many updates with these steps (peaks,) from the same state; return acceptances by peak."""


def c_run(library: ctypes.CDLL, case: Case, which: int, way: int) -> Run:
    table, peaks = case.table, len(case.theta)
    mean, deviation = case.position
    at = (table.x.ctypes.data, table.y.ctypes.data)
    problem = CProblem(301, peaks, way, 1.0, 100.0, mean, deviation**-2, *case.precision, *at)
    theta = np.ascontiguousarray(case.theta)
    state = np.zeros(library.state_size(), dtype=np.uint8)

    def run(updates: int, step: np.ndarray) -> np.ndarray:
        assert table.x.size == 301
        accepted = np.zeros(peaks, dtype=np.int64)
        library.begin(ctypes.byref(problem), state.ctypes.data, theta.ctypes.data, 1)
        library.run(
            ctypes.byref(problem), state.ctypes.data, which, step.ctypes.data, updates, accepted.ctypes.data
        )
        return accepted * peaks / updates

    return run


def own_run(case: Case, which: int) -> Run:
    from numba import njit

    from hpc_ds.infer.ensemble import new_counts
    from hpc_ds.infer.kernels import components, moves
    from hpc_ds.runtime.philox import new_streams

    problem, peaks = case.model.problem, len(case.theta)
    size = 3 * peaks
    state = components.new_state(problem, case.theta.reshape(1, -1), new_streams([[1, 2]]))
    begun, stream = state.theta.copy(), state.stream.copy()

    @njit
    def loop(problem, state, tuning, counts, updates):
        for i in range(updates):
            moves.metropolis(problem, state, tuning, counts, 0, 1, which + 3 * (i % peaks))

    def run(updates: int, step: np.ndarray) -> np.ndarray:
        steps = np.zeros((2, size + moves.EXTRA_COLUMNS))
        steps[1, which:size:3] = step
        tuning = moves.Tuning(np.array([0.0, 1.0]), steps, np.ones(size), np.zeros((2, 0, 0)))
        counts = new_counts(2, size + moves.EXTRA_COLUMNS)
        state.theta[:], state.stream[:] = begun, stream
        components.refresh(problem, state, 0)
        loop(problem, state, tuning, counts, updates)
        return counts.accepted[1, which:size:3] * peaks / updates

    return run


def adapted(run: Run, peaks: int) -> np.ndarray:
    """Steps with which the acceptance is 44 %, what the sampler's own adaptation aims at."""
    step = np.full(peaks, 0.01)
    for _ in range(25):
        acceptance = np.clip(run(1000 * peaks, step), 0.02, 0.95)
        step *= np.clip(1.2 * np.tan(0.5 * np.pi * acceptance), 0.2, 4.0) ** 0.7
    return step


def update() -> None:
    """One-parameter updates, nanoseconds, ours and C in turn."""
    with tempfile.TemporaryDirectory() as folder:
        library = compile_c(folder)
        for case in cases():
            for which, name in ((POSITION, "position"), (PRECISION, "width")):
                ways = {"ours": own_run(case, which)} | {
                    label: c_run(library, case, which, way)
                    for label, way in (("C (a)", INCREMENTAL), ("C (b)", ALL), ("C (c)", WINDOWED))
                }
                ns = compare(ways, len(case.theta))
                ours = ns["ours"]
                print(
                    f"{case.title}, {name}: "
                    + ", ".join(f"{label} {value:.0f} ns" for label, value in ns.items())
                    + f"; ours / C: incremental {ours / ns['C (a)']:.2f} (goal 1.2), all peaks"
                    f" {ours / ns['C (b)']:.2f} (goal 0.33), windowed {ours / ns['C (c)']:.2f}"
                )


def compare(ways: dict[str, Run], peaks: int, updates: int = 60_000) -> dict[str, float]:
    """Median nanoseconds of an update, the ways in turn."""
    steps = {label: adapted(run, peaks) for label, run in ways.items()}
    times: dict[str, list[float]] = {label: [] for label in ways}
    for _ in range(REPETITIONS):
        for label, run in ways.items():
            started = time.process_time()
            run(updates, steps[label])
            times[label].append((time.process_time() - started) / updates * 1e9)
    return {label: statistics.median(values) for label, values in times.items()}


# --- evidence: error of log Z and effective draws against CPU time --------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """One run of K = 3."""

    cpu: float
    error: float  # of log Z against the reference
    reported: float
    round_trips: float  # a scan
    theory: float  # 1 / (2 + 2 sum r / (1 - r))
    limit: float  # 1 / (2 + 2 Lambda)
    means: np.ndarray  # posterior means of sorted positions and amplitudes
    variances: np.ndarray


def three_peaks() -> Model:
    spectrum = nagata2012(0)
    options = SpectrumOptions(peaks=(3,), priors="nagata2012", noise=0.1)
    return spectrum_models(as_table(spectrum.x, spectrum.y), options)[0]


def trial(model: Model, draws: int, tuning: int, seed: int) -> Trial:
    from hpc_ds.infer.ladder import round_trip_limit, round_trip_rate

    started = time.process_time()
    with silence():
        results = sample(model, draws=draws, tuning=tuning, seed=seed)
    cpu = time.process_time() - started
    assert results is not None
    result = results.models[0]
    ladder = result.ensembles[0].ladder
    rejection = ladder.rejection / ladder.attempts
    shown = result.presentation.parameters
    series = np.array(
        [shown[f"{name}[{k}]"].ravel() for name in ("position", "amplitude") for k in (1, 2, 3)]
    )
    return Trial(
        cpu,
        result.log_evidence - LOG_EVIDENCE,
        result.log_evidence_error,
        float(ladder.round_trips.sum()) / draws,
        round_trip_rate(rejection),
        round_trip_limit(float(rejection.sum())),
        series.mean(axis=1),
        series.var(axis=1),
    )


def evidence() -> None:
    """Root mean square error, coverage, effective draws and round trips over seeds at two budgets."""
    model = three_peaks()
    trial(model, 100, 100, 1)  # imports, and compiled code from its cache
    for draws, tuning, goal in ((800, 400, "0.3 in 0.5 CPU s"), (6500, 1500, "0.1 in 3 CPU s")):
        trials = [trial(model, draws, tuning, 100 + seed) for seed in range(SEEDS)]
        errors = np.array([one.error for one in trials])
        cpu = np.mean([one.cpu for one in trials])
        covered = np.mean([abs(one.error) < one.reported for one in trials])
        spread = np.var([one.means for one in trials], axis=0, ddof=1)
        effective = np.median([one.variances for one in trials], axis=0) / spread / cpu
        trips, theory, limit = (
            np.mean([getattr(one, name) for one in trials]) for name in ("round_trips", "theory", "limit")
        )
        print(
            f"{tuning} + {draws} scans, {SEEDS} seeds: {cpu:.2f} CPU s, rmse {math.sqrt(np.mean(errors**2)):.3f}"
            f" (goal {goal}), bias {errors.mean():+.3f}; reported error covers the truth in {covered:.0%} (goal"
            f" 60-80 %); effective draws a CPU s: least {effective.min():.0f}, median {np.median(effective):.0f} (goal"
            f" 100); round trips a scan {trips:.4f} = {trips / theory:.2f} of 1/(2+2 sum r/(1-r)), {trips / limit:.2f}"
            " of 1/(2+2 Lambda) (goal 0.5)"
        )


# --- ranks: throughput of two processes against one ------------------------------------------------------------------


def ranks(launcher: str) -> None:
    """Wall time of the same sampling on one and on two ranks, in turn, and what exchanges cost."""
    walls: dict[int, list[float]] = {1: [], 2: []}
    digests = set()
    for _ in range(5):
        for size, values in walls.items():
            report = child([*launcher.split(), "-n", str(size), sys.executable, __file__, "_rank"])
            values.append(report["wall"])
            digests.add(report["log_evidence"])
            shares = report["exchange"]
    one, two = (statistics.median(values) for values in walls.values())
    best = min(walls[1]) / min(walls[2])
    print(
        f"-n 1: {one:.2f} s, -n 2: {two:.2f} s; throughput {one / two:.2f} (medians), {best:.2f} (best of"
        f" {len(walls[1])}) (goal 1.8 on idle cores; 1-minute load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)"
    )
    print(
        f"on 2 ranks a round took {shares['round'] * 1e3:.2f} ms, its exchange {shares['exchange'] * 1e6:.0f} us,"
        f" waiting for the other rank's replicas included: {shares['exchange'] / shares['round']:.1%};"
        f" message and decisions alone (both ranks ready) {shares['bare'] * 1e6:.0f} us:"
        f" {shares['bare'] / shares['round']:.1%} (goal 5 % at 1 ms)"
    )
    assert len(digests) == 1, f"the answer depends on the ranks: {digests}"


def one_rank() -> None:
    """What a child of `ranks` does: sample, time its rounds, and report from rank 0."""
    from hpc_ds.infer import pieces
    from hpc_ds.runtime.world import get_world

    world, model, spent = get_world(), three_peaks(), {"explore": 0.0, "exchange": 0.0, "rounds": 0}
    with silence():
        sample(model, draws=50, tuning=50, sweeps=24)
        timed(pieces.LocalPiece, "explore", spent)
        timed(pieces.LocalPiece, "exchange", spent)
        world.barrier()
        started = time.perf_counter()
        results = sample(model, draws=4000, tuning=400, sweeps=24)
        wall = time.perf_counter() - started
    rounds = max(spent["rounds"], 1)
    costs = {"round": (spent["explore"] + spent["exchange"]) / rounds, "exchange": spent["exchange"] / rounds}
    costs["bare"] = bare_exchange(world) if world.size > 1 else 0.0
    if world.is_root:
        assert results is not None
        log_evidence = results.models[0].log_evidence
        print(json.dumps({"wall": wall, "log_evidence": log_evidence, "exchange": costs}))


def timed(owner: type, name: str, spent: dict[str, float]) -> None:
    plain = getattr(owner, name)

    def method(self, t):  # type: ignore[no-untyped-def]
        started = time.perf_counter()
        plain(self, t)
        spent[name] += time.perf_counter() - started
        spent["rounds"] += name == "exchange"

    setattr(owner, name, method)


def bare_exchange(world) -> float:  # type: ignore[no-untyped-def]
    """Median seconds of sharing the log-likelihoods of 23 replicas and deciding, all ranks ready."""
    from hpc_ds.infer.ensemble import new_ladder
    from hpc_ds.infer.kernels.exchange import exchange
    from hpc_ds.runtime.philox import new_streams

    counts, every = [12, 11], np.zeros(23)
    own = np.zeros(counts[world.rank])
    ladder = new_ladder(np.linspace(0.0, 1.0, 23), new_streams([[1, 2]])[0], 0)
    seconds = []
    for _ in range(2000):
        world.barrier()
        started = time.perf_counter()
        world.allgather_floats(own, counts, every)
        exchange(ladder, every)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


# --- startup: the first start compiles, the second does not ----------------------------------------------------------


def startup() -> None:
    """CPU seconds of a small run with an empty cache of compiled code, and again with the full one."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, __file__, "_small"]
        first, *later = (child(command, {"NUMBA_CACHE_DIR": cache}) for _ in range(4))
        size = sum(path.stat().st_size for path in Path(cache).rglob("*") if path.is_file())
    second = {key: statistics.median(one[key] for one in later) for key in first}
    print(
        f"first start: imports {first['imports']:.1f}, small run {first['run']:.1f} CPU s; second start: imports"
        f" {second['imports']:.1f}, small run {second['run']:.2f} CPU s; cache {size / 2**20:.1f} MiB"
    )


def small() -> None:
    """What a child of `startup` does; CPU seconds since the process began, then of a run."""
    import arviz  # noqa: F401 - the sampler's own import of it comes after the sampling

    imports = time.process_time()
    with silence():
        sample(three_peaks(), draws=100, tuning=100)
    print(json.dumps({"imports": imports, "run": time.process_time() - imports}))


# --- common -----------------------------------------------------------------------------------------------------------


def as_table(x: np.ndarray, y: np.ndarray) -> Table:
    return Table(x=x, y=y, sigma=None, x_name="x", y_name="y", path="artificial spectrum")


class silence:  # noqa: N801 - used like a function
    """Keep the sampler's progress off the terminal."""

    def __enter__(self) -> None:
        self._stderr, sys.stderr = sys.stderr, open(os.devnull, "w")

    def __exit__(self, *_: object) -> None:
        sys.stderr.close()
        sys.stderr = self._stderr


def child(command: list[str], environment: dict[str, str] | None = None) -> dict:
    """Run a child to its end; return the JSON of its last line of output."""
    own = os.environ | {"OMP_NUM_THREADS": "1"} | (environment or {})
    done = subprocess.run(
        command, env=own, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=280
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(list(lines(done.stdout))[-1])


def lines(text: str) -> Iterator[str]:
    return (line for line in text.splitlines() if line.strip())


def main() -> None:
    sections: dict[str, Callable[[], None]] = {"update": update, "evidence": evidence, "startup": startup}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = ["update", "evidence", "ranks", "startup", "_rank", "_small"]
    parser.add_argument(
        "section", nargs="*", choices=[[], *known], metavar="|".join(known[:4]), help="default: all"
    )
    parser.add_argument("--mpiexec", default="mpiexec", help="launcher and its options")
    chosen = parser.parse_args()
    sections |= {"ranks": lambda: ranks(chosen.mpiexec), "_rank": one_rank, "_small": small}
    for name in chosen.section or known[:4]:
        if not name.startswith("_"):
            print(f"[{name}]", flush=True)
        sections[name]()


if __name__ == "__main__":
    main()
