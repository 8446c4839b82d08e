"""Run each engine, small, on many more ranks than there are cores, and compare its results with those of one rank.

    python benchmarks/many_ranks.py --ranks 16 64

Wall time says little where ranks wait for cores; what counts is that nothing hangs and that the bytes are the same.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import tempfile
import time
from pathlib import Path

LAUNCHER = Path(__file__).parents[1] / "launch" / "mpi.sh"
SPECTRUM = ("run", "spectrum", "--draws", "60", "--tuning", "32")
BURGERS = ("simulate", "burgers", "--samples", "80", "--option", "resolution=128")
NETWORK = (
    "learn",
    "mlp",
    "DATA",
    "--input",
    "u:0",
    "--target",
    "u:-1",
    "--epochs",
    "2",
    "--lanes",
    "64",
    "--batch",
    "64",
)
ENGINES = {
    "infer": (SPECTRUM, "posterior/*.h5"),
    "simulate": (BURGERS, "data/*/*.h5"),
    "learn": (NETWORK, "network/*"),
}
"""By engine its command and the files that must not depend on the ranks."""


def bytes_of(folder: Path, pattern: str) -> str:
    files = sorted(folder.glob(pattern))
    if not files:
        raise SystemExit(f"{folder}: no {pattern}")
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def run(engine: str, ranks: int, scratch: Path, limit: float) -> tuple[float, str]:
    """Return the wall time of one run, and the hash of its results."""
    words, pattern = ENGINES[engine]
    folder = scratch / f"{engine}-{ranks}"
    words = tuple(str(scratch / "simulate-1") if word == "DATA" else word for word in words)
    command = [str(LAUNCHER), "-n", str(ranks), "hpc-ds", *words, "--out", str(folder)]
    start = time.perf_counter()
    with open(scratch / f"{engine}-{ranks}.log", "w") as log:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=limit)
    return time.perf_counter() - start, bytes_of(folder, pattern)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ranks", type=int, nargs="+", default=[16, 64])
    parser.add_argument(
        "--limit", type=float, default=1200.0, help="seconds after which a run counts as hung"
    )
    chosen = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as scratch:
        for engine in ("simulate", "infer", "learn"):
            seconds, expected = run(engine, 1, Path(scratch), chosen.limit)
            print(f"{engine:9s} {1:3d} ranks {seconds:6.1f} s", flush=True)
            for ranks in chosen.ranks:
                seconds, found = run(engine, ranks, Path(scratch), chosen.limit)
                same = "the same bytes" if found == expected else "OTHER BYTES"
                print(f"{engine:9s} {ranks:3d} ranks {seconds:6.1f} s, {same}", flush=True)


if __name__ == "__main__":
    main()
