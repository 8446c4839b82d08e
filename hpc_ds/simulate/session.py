"""What rank 0 does in the run folder before and after the samples are computed."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hpc_ds.runtime.amounts import size_text
from hpc_ds.runtime.atomic import write_json
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.folder import read_config, read_state
from hpc_ds.simulate.dispatch import Tally
from hpc_ds.simulate.generations import begin_design
from hpc_ds.simulate.job import Job
from hpc_ds.simulate.ledger import FolderLedger
from hpc_ds.simulate.plan import Plan
from hpc_ds.simulate.settings import Settings
from hpc_ds.simulate.summary import Outcome, State, make_summary
from hpc_ds.store.design_file import read_design
from hpc_ds.store.layout import read_layout
from hpc_ds.store.split import SPLITS
from hpc_ds.store.swap import recover
from hpc_ds.store.well import row_bytes
from hpc_ds.store.well_file import data_files, read_header

SUMMARY = "summary.json"


def begin(folder: Path, plans: list[Plan], retry_failed: bool, tell: Callable[[str], None]) -> Job:
    """Bring the folder in order, write what workers read, and return what is to be done."""
    plan = plans[0]
    recover(folder)
    plan.write(folder)
    session = _new_session()
    ledger = FolderLedger(folder, session)
    gone = ledger.withdraw_gone()
    if gone:
        tell(f"warning: {gone} samples are gone from the folder and are computed again")
    if retry_failed:
        ledger.withdraw_failures()
    settled = len(ledger.refresh())
    ledger.close()
    simulator, samples = plan.simulator, plan.settings.samples or 0
    tell(_estimate(plan, samples - settled))
    job = Job(
        str(folder),
        session,
        simulator.name,
        plan.settings,
        simulator.block,
        simulator.ranks,
        settled,
        samples,
    )
    begin_design(job)
    return job


def stored_config(folder: Path) -> dict[str, Any]:
    """Return the configuration of a run of this engine.

    Raises
    ------
    InputError
        The folder holds none.
    """
    kind = read_state(folder)["kind"]
    if kind != "simulate":
        raise InputError(f"{folder}: holds a run of {kind}; a run folder of hpc-ds simulate is needed")
    return read_config(folder)


def resume(folder: Path, config: dict[str, Any]) -> Job:
    """Return the job of a run that is there, to merge what it has.

    Raises
    ------
    InputError
        It has no sample.
    """
    recover(folder)
    known = {name: config[name] for name in Settings.model_fields if name in config}
    job = Job(str(folder), _new_session(), config["simulator"], Settings(**known), 1, 1, 0, config["samples"])
    if not has_samples(job):
        raise InputError(
            f"{folder}: no sample is done; give the hpc-ds simulate command again, with --retry-failed if all failed"
        )
    return job


def has_samples(job: Job) -> bool:
    """Tell whether any sample is done."""
    return bool(FolderLedger(job.path, job.session).done)


def bytes_to_merge(job: Job) -> float:
    """Return how many bytes the merged set will have."""
    return float(row_bytes(read_layout(job.path))) * len(FolderLedger(job.path, job.session).done)


def lose(job: Job, indices: Iterable[int]) -> None:
    """Withdraw samples whose rows are damaged."""
    ledger = FolderLedger(job.path, job.session)
    ledger.lose(indices)
    ledger.close()


def conclude(job: Job, tally: Tally) -> Outcome:
    """Write the summary and return what the folder holds."""
    ledger = FolderLedger(job.path, job.session)
    missing = job.target - len(ledger.refresh())
    ledger.tidy()
    note = tally.stopped or (f"{missing} samples are missing" if missing else None)
    design = read_design(job.path)
    summary = make_summary(job, read_layout(job.path), design, ledger, tally, _merged(job.path))
    write_json(job.path / SUMMARY, summary)
    _remove_empty_logs(job.path)
    state: State = "done" if note is None else "stopped"
    return Outcome(job.folder, state, note, job.target, len(ledger.done), len(ledger.failed), summary)


def _remove_empty_logs(folder: Path) -> None:
    for path in (folder / "logs").glob("*.log"):
        if not path.stat().st_size:
            path.unlink()


def _new_session() -> str:
    return uuid.uuid4().hex[:8]


def _merged(folder: Path) -> dict[str, Any]:
    """Return the splits, files and bytes of the training set; nothing where there is none yet."""
    files = {split: data_files(folder, split) for split in SPLITS}
    listed = [path for paths in files.values() for path in paths]
    if not listed:
        return {}
    return {
        "splits": {split: sum(read_header(path).samples for path in paths) for split, paths in files.items()},
        "files": [str(path.relative_to(folder)) for path in listed],
        "bytes": sum(path.stat().st_size for path in listed),
    }


def _estimate(plan: Plan, left: int) -> str:
    """Say before the work what it will need: disk now, and when the time is known."""
    one, samples = row_bytes(plan.layout), plan.settings.samples or 0
    return (
        f"{plan.simulator.name}: {left:,} of {samples:,} samples to compute, {size_text(one)} each: disk "
        f"{size_text(one * samples)}, twice that while merging; the time left is shown once samples are timed"
    )
