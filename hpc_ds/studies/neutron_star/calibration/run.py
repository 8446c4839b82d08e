"""Calibration of posteriors by simulation: exact ones of mock truths, by weights and by replica exchange."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from hpc_ds.runtime import atomic
from hpc_ds.runtime.agreement import agreed
from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.folder import RunFolder
from hpc_ds.runtime.progress import Progress
from hpc_ds.runtime.world import World
from hpc_ds.studies.neutron_star.calibration.exchange import Sampled, agreement, exchange
from hpc_ds.studies.neutron_star.calibration.ranks import (
    LEVELS,
    binomial_error,
    coverage,
    histogram,
    uniformity,
)
from hpc_ds.studies.neutron_star.calibration.settings import Settings
from hpc_ds.studies.neutron_star.calibration.truths import (
    Answers,
    Truths,
    answer,
    content,
    mock_truths,
    read_candidates,
)
from hpc_ds.studies.neutron_star.calibration.weights import MASSES, QUANTILES, Candidates, quantity_names
from hpc_ds.studies.neutron_star.mock import read_ensemble

Tell = Callable[[str], None]

FORMAT = 1
RESULT = "calibration.h5"
SUMMARY = "summary.json"

FEWEST_EFFECTIVE = 50.0
"""Draws that a posterior must be worth to be called known."""

_BLOCK = 4  # truths that one rank does, and one file holds


def run(
    folder: Path,
    truth_folder: Path,
    ensemble_folder: Path,
    settings: Settings,
    world: World,
    deadline: Deadline,
    tell: Tell,
) -> bool:
    """Compute the exact posteriors of mock truths and test them; return whether all is done; collective.

    Writes ``calibration.h5`` (groups ``weights`` and ``exchange``, see `Answers` and `Sampled`) and ``summary.json``.
    The same call continues what was stopped or killed; the answer is bit for bit the same on any number of ranks.

    Parameters
    ----------
    folder : Path
        A run folder of its own.
    truth_folder : Path
        A training set of the simulator ``neutron-star``; the truths are the first accepted ones of its test split,
        their stars what `MockStars` makes of that split with `settings.seed`.
    ensemble_folder : Path
        Such a set too, the same or another one of the same options; all of it but the truths is weighted.
    settings : Settings
    world : World
    deadline : Deadline
    tell : callable
        Told, on rank 0, in a line what is being done and what was found.

    Raises
    ------
    InputError
        In one line, on all ranks: too few truths or accepted equations of state, or a folder of another run.
    """
    truths, candidates = agreed(world, _read, truth_folder, ensemble_folder, settings)
    return calibrate(folder, truths, candidates, settings, world, deadline, tell)


def calibrate(
    folder: Path,
    truths: Truths,
    candidates: Candidates,
    settings: Settings,
    world: World,
    deadline: Deadline,
    tell: Tell,
) -> bool:
    """Do what `run` does with truths and candidates that are read; collective."""
    config = {**asdict(settings), "content": content(truths, candidates)}
    with RunFolder.open(folder, "calibration", config, frozenset(), world, sys.argv, settings.seed) as opened:
        answers = _weighted(opened, truths, candidates, settings, world, deadline, tell)
        finished, sampled = answers is not None, None
        if finished and settings.exchange:
            finished, sampled = exchange(opened / "exchange", truths, settings, world, deadline)
        if finished:
            world.root_first(_conclude, opened.path, answers, sampled, len(candidates), tell)
        world.root_first(opened.set_state, "done" if finished else "stopped")
        return finished


def read_answers(folder: str | os.PathLike[str]) -> Answers:
    """Return the posteriors by weights that `run` left in a folder.

    Raises
    ------
    InputError
        There are none.
    """
    from hpc_ds.store.netcdf import read_group

    found = read_group(Path(folder) / RESULT, "weights")
    return Answers(**{name: found[name] for name in Answers.__dataclass_fields__})


def summary(answers: Answers, sampled: Sampled | None, candidates: int) -> dict[str, Any]:
    """Return the figures of a calibration.

    Parameters
    ----------
    answers : Answers
    sampled : Sampled or None
    candidates : int
        Equations of state that were weighted.
    """
    names = quantity_names(answers.truth.shape[1] - len(MASSES) - 1)
    count = len(answers)
    tests = uniformity(answers.rank, names)
    held = {level: coverage(answers.rank, level) for level in LEVELS}
    wrong = answers.mean - answers.truth
    return {
        "truths": count,
        "candidates": candidates,
        "levels": list(LEVELS),
        "coverage_error": [binomial_error(level, count) for level in LEVELS],
        "uniform": tests["uniform"],
        "least_chance": tests["least"],
        "bins": tests["bins"],
        "quantities": [
            {
                "name": name,
                "coverage": [float(held[level][k]) for level in LEVELS],
                **tests["tests"][name],
                "histogram": histogram(answers.rank[:, k]),
                "rms": float(np.sqrt(np.mean(wrong[:, k] ** 2))),
                "sd": float(np.sqrt(np.mean(answers.sd[:, k] ** 2))),
                "prior_sd": float(answers.truth[:, k].std(ddof=1)),
            }
            for k, name in enumerate(names)
        ],
        "effective": _effective(answers),
        "exchange": None if sampled is None else agreement(answers, sampled),
    }


def _read(truth_folder: Path, ensemble_folder: Path, settings: Settings) -> tuple[Truths, Candidates]:
    truths = mock_truths(read_ensemble(str(truth_folder), "test"), settings)
    return truths, read_candidates(str(ensemble_folder), truths)


def _weighted(
    folder: RunFolder,
    truths: Truths,
    candidates: Candidates,
    settings: Settings,
    world: World,
    deadline: Deadline,
    tell: Tell,
) -> Answers | None:
    """Return the answers of all truths, block by block; None when the deadline came first."""
    blocks = [range(at, min(at + _BLOCK, len(truths))) for at in range(0, len(truths), _BLOCK)]
    left = world.bcast([b for b in range(len(blocks)) if not _block_path(folder.path, b).exists()])
    if world.is_root and left:
        tell(f"posteriors of {len(truths)} mock truths by {len(candidates)} weighted equations of state")
    done = len(blocks) - len(left)
    with Progress(world, folder / "progress.jsonl", len(blocks), "posteriors by weights", done) as progress:
        for start in range(0, len(left), world.size):
            if deadline.agreed(world):
                return None
            mine = left[start + world.rank : start + world.size][:1]
            found = [(b, answer(truths, blocks[b], candidates, settings)) for b in mine]
            world.root_first(_write_blocks, folder, world.gather(found) or [])
            progress.update(done + min(start + world.size, len(left)))
    return world.root_first(_read_blocks, folder.path, len(blocks))


def _write_blocks(folder: RunFolder, gathered: list[list[tuple[int, Answers]]]) -> None:
    folder.ensure_held()
    (folder / "blocks").mkdir(exist_ok=True)
    for number, answers in (pair for pairs in gathered for pair in pairs):
        with atomic.replacing(_block_path(folder.path, number)) as file:
            np.savez(file, allow_pickle=False, **answers.arrays())


def _read_blocks(folder: Path, count: int) -> Answers:
    parts = []
    for number in range(count):
        with np.load(_block_path(folder, number), allow_pickle=False) as stored:
            parts.append(Answers(**{name: stored[name] for name in stored.files}))
    return Answers.joined(parts)


def _block_path(folder: Path, number: int) -> Path:
    return folder / "blocks" / f"block-{number:04d}.npz"


def _conclude(folder: Path, answers: Answers, sampled: Sampled | None, candidates: int, tell: Tell) -> None:
    from hpc_ds.store.netcdf import Group, write_groups

    names = quantity_names(answers.truth.shape[1] - len(MASSES) - 1)
    coords = {"quantity": np.array(names), "level": np.array(QUANTILES)}

    def group(arrays: dict[str, Any]) -> Group:
        axes = {1: ("equation",), 2: ("equation", "quantity"), 3: ("equation", "level", "quantity")}
        used = {axis for array in arrays.values() for axis in axes[array.ndim]}
        return Group(
            variables={name: (axes[array.ndim], array) for name, array in arrays.items()},
            coords={axis: values for axis, values in coords.items() if axis in used},
        )

    groups = {"weights": group(answers.arrays())}
    if sampled is not None:
        groups["exchange"] = group({name: getattr(sampled, name) for name in sampled.__dataclass_fields__})
    write_groups(folder / RESULT, groups)
    found = summary(answers, sampled, candidates)
    atomic.write_json(folder / SUMMARY, {"format": FORMAT, "kind": "calibration", **found})
    for line in _lines(found):
        tell(line)


def _effective(answers: Answers) -> dict[str, Any]:
    def spread(values: Any) -> dict[str, float]:
        return {"least": float(values.min()), "median": float(np.median(values)), "most": float(values.max())}

    few = np.flatnonzero(answers.effective < FEWEST_EFFECTIVE)
    return {
        "before": spread(answers.effective_before),
        "after": spread(answers.effective),
        "too_few_before": int((answers.effective_before < FEWEST_EFFECTIVE).sum()),
        "too_few": few.tolist(),
        "refined": int((answers.curves > 0).sum()),
        "curves": int(answers.curves.sum()),
    }


def _lines(found: dict[str, Any]) -> list[str]:
    shares = np.array([one["coverage"] for one in found["quantities"]])
    effective = found["effective"]
    bands = " and ".join(
        f"{low:.0%} to {high:.0%} of the truths in {level:.0%} bands"
        for level, low, high in zip(LEVELS, shares.min(axis=0), shares.max(axis=0), strict=True)
    )
    lines = [
        f"calibration: {bands}; ranks are {'uniform' if found['uniform'] else 'not uniform'} "
        f"(least chance {found['least_chance']:.2g} of {2 * len(found['quantities'])}); "
        f"effective draws {effective['after']['least']:.0f} or more"
    ]
    if effective["too_few"]:
        lines.append(f"posteriors of too few effective draws: truths {effective['too_few']}")
    if found["exchange"]:
        one = found["exchange"]
        lines.append(
            f"replica exchange of {one['truths']} truths: means differ by {one['means_in_errors']['rms']:.2f} "
            f"Monte Carlo errors, log evidences by {one['log_evidence_in_errors']['rms']:.2f}"
        )
    return lines
