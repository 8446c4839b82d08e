"""Measure mass-radius curves a second and core, and their errors, beside lalsimulation.

CPU seconds of one core; what is compared runs in turn, and ratios of medians count. The peer is given as the folder
into which `pip install --target FOLDER --no-deps lalsuite` has put it; without it only our own figures are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from hpc_ds.physics import neutron_star as ns
from hpc_ds.physics.neutron_star.curves import mass_radius_curves
from hpc_ds.physics.neutron_star.eos import largest_sound_speed_squared
from hpc_ds.physics.neutron_star.tov import RESOLUTION

REPETITIONS = 7
GOAL = 1.0
GOAL_STUDY = 180.0
LAUNCHER = Path(__file__).parents[1] / "launch" / "mpi.sh"
NAMES = ("SLy", "APR4", "H4", "MS1", "WFF1")
FINEST = 1000.0


def medians(ways: dict[str, Callable[[], object]]) -> dict[str, float]:
    """CPU seconds of each way, measured in turn."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(REPETITIONS):
        for name, way in ways.items():
            start = time.process_time()
            way()
            spent[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in spent.items()}


def worst(found: Any, exact: Any) -> float:
    return float(np.nanmax(np.abs(np.asarray(found) / np.asarray(exact) - 1.0)))


def prior(count: int) -> ns.EosBatch:
    return ns.sound_speed_segments(np.random.default_rng(0).uniform(0.02, 0.98, (count, 5)))


# --- our own figures ------------------------------------------------------------------------------------------------


def accuracy() -> None:
    eos = ns.joined([ns.read_2009(), prior(100)])
    exact = mass_radius_curves(eos, resolution=FINEST)
    heavy = exact.mass > 0.5
    print("stars above 0.5 solar masses of 116 equations of state: largest relative error (median)")
    print(f"{'resolution':>12} {'mass':>20} {'radius':>20} {'Lambda':>20} {'maximum mass':>14}")
    for resolution in (16.0, 24.0, RESOLUTION, 48.0, 64.0, 128.0):
        stars = ns.integrate_stars(eos, exact.enthalpy, resolution)
        cells = []
        for found, right in (
            (stars.mass, exact.mass),
            (stars.radius, exact.radius),
            (stars.tidal, exact.tidal),
        ):
            error = np.abs(found / right - 1.0)[heavy]
            cells.append(f"{error.max():.1e} ({np.median(error):.1e})")
        maximum = worst(mass_radius_curves(eos, resolution=resolution).maximum_mass, exact.maximum_mass)
        print(f"{resolution:12.0f} {cells[0]:>20} {cells[1]:>20} {cells[2]:>20} {maximum:14.1e}")
    fine = mass_radius_curves(eos, points=1025, resolution=200.0)
    print(
        "R(M) between the points, 0.3 solar masses to 0.998 of the maximum: largest relative error (99 % below)"
    )
    inner = (fine.mass > 0.3) & (fine.mass < 0.998 * fine.maximum_mass[:, np.newaxis])
    for points in (32, 48, 64, 96, 128):
        curves = mass_radius_curves(eos, points=points, resolution=200.0)
        error = np.abs(ns.radius_at(curves, fine.mass) / fine.radius - 1.0)[inner]
        print(f"{points:12d} {error.max():20.1e} ({np.quantile(error, 0.99):.1e})")


def curves() -> None:
    many, one = prior(500), prior(1)
    speeds = np.random.default_rng(0).uniform(0.02, 0.98, 5)
    known = mass_radius_curves(many)
    masses = np.random.default_rng(1).uniform(1.0, known.maximum_mass, (100, len(many))).T
    spent = medians(
        {
            "64 points, batch of 500": lambda: mass_radius_curves(many),
            "32 points, batch of 500": lambda: mass_radius_curves(many, points=32),
            "64 points, one a call, made from its speeds": lambda: [
                mass_radius_curves(ns.sound_speed_segments(speeds)) for _ in range(100)
            ],
            "64 points, one a call": lambda: [mass_radius_curves(one) for _ in range(100)],
        }
    )
    for name, seconds in spent.items():
        number = 500 if "500" in name else 100
        print(f"{name:48s} {number / seconds:9.0f} curves/s  {seconds / number * 1e6:7.0f} us")
    seconds = medians({"": lambda: ns.radius_at(known, masses)})[""]
    print(f"{'radius at a mass':48s} {masses.size / seconds:9.0f} 1/s")


def likelihood() -> None:
    """Time one log-likelihood of the sampler: an equation of state, its curve, and fourteen stars integrated over."""
    from hpc_ds.infer.models.neutron_star.options import EosOptions
    from hpc_ds.studies.neutron_star.chain import fourteen

    (model,) = EosOptions((5,), least_maximum_mass=0.0).models(fourteen())
    draws = np.random.default_rng(0).uniform(0.02, 0.98, (2000, 5))
    spent = medians({"": lambda: [model.log_likelihood(theta, model.data) for theta in draws]})[""]
    print(f"{'log-likelihood of 14 stars, 5 segments':48s} {spent / len(draws) * 1e6:7.0f} us")


def cuts() -> None:
    """Print which shares of the default prior the cuts leave out."""
    eos = prior(20_000)
    curves = mass_radius_curves(eos)
    light = float(np.mean(curves.maximum_mass < ns.families.LEAST_MAXIMUM_MASS))
    fast = float(np.mean(largest_sound_speed_squared(eos, curves.enthalpy[:, -1]) > 1.0))
    print(f"maximum mass below {ns.families.LEAST_MAXIMUM_MASS} solar masses: {light:.1%} of the prior")
    print(f"sound faster than light somewhere: {fast:.1%}")


STARTUP = """
import time
from hpc_ds.physics import neutron_star as ns
curves = ns.mass_radius_curves(ns.sound_speed_segments([0.3] * 5))
ns.radius_at(curves, [1.4]), ns.tidal_at(curves, [1.4]), ns.pressure_at(ns.read_2009("SLy"), [300.0])
print(time.process_time())
"""


def startup() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for state in ("an empty", "a full"):
            done = subprocess.run(
                [sys.executable, "-c", STARTUP],
                env={**os.environ, "NUMBA_CACHE_DIR": folder},
                capture_output=True,
                text=True,
                check=True,
            )
            print(f"first curve with {state} cache of compiled code: {float(done.stdout):.1f} CPU s")


# --- beside the peer ------------------------------------------------------------------------------------------------


def peer(folder: str) -> None:
    sys.path.insert(0, folder)
    import lal
    import lalsimulation as peer_code

    print("largest relative error of stars of 0.5 solar masses to the heaviest, and CPU time of a star")
    for name in NAMES:
        log_p, *gammas = ns.READ_2009[name]
        theirs = peer_code.SimNeutronStarEOS4ParameterPiecewisePolytrope(log_p - 1.0, *gammas)
        compare_stars(name, theirs, peer_code, lal)
    print("a whole curve: theirs with 100 stars and a spline, ours with 100 points and a refined maximum")
    for name in NAMES:
        log_p, *gammas = ns.READ_2009[name]
        theirs = peer_code.SimNeutronStarEOS4ParameterPiecewisePolytrope(log_p - 1.0, *gammas)
        compare_curves(name, theirs, peer_code, lal)


def compare_stars(name: str, theirs: Any, peer_code: Any, lal: Any) -> None:
    eos = ns.read_2009(name)
    exact = mass_radius_curves(eos, points=100, resolution=FINEST)
    h = exact.enthalpy[0][exact.mass[0] > 0.5]
    right = ns.integrate_stars(eos, h, FINEST)
    pressures = [peer_code.SimNeutronStarEOSPressureOfPseudoEnthalpy(x, theirs) for x in h]

    def integrate() -> np.ndarray:
        rows = [peer_code.SimNeutronStarTOVODEIntegrate(p, theirs) for p in pressures]
        radius, mass, love = np.array(rows).T
        compactness = lal.G_SI * mass / (lal.C_SI**2 * radius)
        return np.array([mass / lal.MSUN_SI, radius * 1e-3, 2.0 / 3.0 * love / compactness**5])

    def errors(found: Any) -> tuple[float, ...]:
        return tuple(worst(a, b) for a, b in zip(found, (right.mass[0], right.radius[0], right.tidal[0])))

    their_errors = errors(integrate())
    resolution = next(
        (
            value
            for value in np.arange(12.0, 130.0, 2.0)
            if all(
                a <= b
                for a, b in zip(errors(s[0] for s in ns.integrate_stars(eos, h, value)[:3]), their_errors)
            )
        ),
        128.0,
    )
    spent = medians(
        {"theirs": integrate, "ours": lambda: [ns.integrate_stars(eos, h, resolution) for _ in range(50)]}
    )
    our_errors = errors(s[0] for s in ns.integrate_stars(eos, h, resolution)[:3])
    ratio = spent["theirs"] * 50 / spent["ours"]
    print(
        f"{name:6s} theirs  M {their_errors[0]:.1e}  R {their_errors[1]:.1e}  Lambda {their_errors[2]:.1e}",
        end="",
    )
    print(f"  {spent['theirs'] / len(h) * 1e6:7.1f} us")
    print(f"{'':6s} ours    M {our_errors[0]:.1e}  R {our_errors[1]:.1e}  Lambda {our_errors[2]:.1e}", end="")
    print(
        f"  {spent['ours'] / 50 / len(h) * 1e6:7.2f} us at resolution {resolution:.0f}: {ratio:.0f} times as fast"
    )


def compare_curves(name: str, theirs: Any, peer_code: Any, lal: Any) -> None:
    eos = ns.read_2009(name)
    exact = mass_radius_curves(eos, points=513, resolution=400.0)

    def their_curve() -> tuple[float, float]:
        family = peer_code.CreateSimNeutronStarFamily(theirs)
        maximum = peer_code.SimNeutronStarMaximumMass(family) / lal.MSUN_SI
        return maximum, peer_code.SimNeutronStarRadius(1.4 * lal.MSUN_SI, family) * 1e-3

    def our_curve() -> tuple[float, float]:
        found = mass_radius_curves(eos, points=100)
        return found.maximum_mass[0], ns.radius_at(found, [1.4])[0, 0]

    spent = medians({"theirs": their_curve, "ours": lambda: [our_curve() for _ in range(100)]})
    right = exact.maximum_mass[0], ns.radius_at(exact, [1.4])[0, 0]
    for who, curve, seconds in (
        ("theirs", their_curve, spent["theirs"]),
        ("ours", our_curve, spent["ours"] / 100),
    ):
        maximum, radius = (worst(a, b) for a, b in zip(curve(), right))
        label = name if who == "theirs" else ""
        print(f"{label:6s} {who:7s} M_max {maximum:.1e}  R(1.4) {radius:.1e}  {1.0 / seconds:9.1f} curves/s")
    ratio = spent["theirs"] * 100 / spent["ours"]
    print(f"{'':6s} {ratio:.0f} times as many curves a second (goal: more than {GOAL:.0f})")


# --- the whole study ------------------------------------------------------------------------------------------------


def study() -> None:
    """Wall time of `hpc-ds run neutron-star` at scale quick on two ranks, by stage."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = ["-n", "2", "hpc-ds", "run", "neutron-star", "--out", str(run)]
        start = time.perf_counter()
        subprocess.run([LAUNCHER, *command], check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        whole = time.perf_counter() - start
        stages = json.loads((run / "summary.json").read_text(encoding="utf-8"))["seconds"]
    for name, seconds in stages.items():
        print(f"{name:14s} {seconds:6.1f} s")
    print(f"{'start, report':14s} {whole - sum(stages.values()):6.1f} s")
    print(f"{'whole':14s} {whole:6.1f} s (goal: less than {GOAL_STUDY:.0f})")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = ["accuracy", "curves", "likelihood", "cuts", "startup", "peer", "study"]
    parser.add_argument(
        "section", nargs="*", choices=[[], *known], metavar="|".join(known), help="default: all but study"
    )
    parser.add_argument("--peer", metavar="FOLDER", help="where lalsuite is installed")
    chosen = parser.parse_args()
    sections: dict[str, Callable[[], None]] = {
        "accuracy": accuracy,
        "curves": curves,
        "likelihood": likelihood,
        "cuts": cuts,
        "startup": startup,
    }
    if chosen.peer:
        sections["peer"] = lambda: peer(chosen.peer)
    wanted = chosen.section or list(sections)
    sections["study"] = study
    for name in wanted:
        if name not in sections:
            parser.error("peer: give its folder with --peer")
        print(f"[{name}]", flush=True)
        sections[name]()


if __name__ == "__main__":
    main()
