"""Sample models and answer: the one function behind `hpc-ds infer` and behind studies."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hpc_ds.infer.archive import Archive, Memory, make_directory
from hpc_ds.infer.model import Model
from hpc_ds.infer.preflight import check_models
from hpc_ds.infer.results import Results, finish, write_posterior
from hpc_ds.infer.sampler import Sampler, Store, total_scans
from hpc_ds.infer.settings import GROWABLE, Settings, make_settings
from hpc_ds.runtime.amounts import size_text
from hpc_ds.runtime.atomic import remove_leftovers, write_json
from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.folder import RunFolder, State, read_config
from hpc_ds.runtime.progress import Progress
from hpc_ds.runtime.world import World, get_world, install_abort_hook

SUMMARY = "summary.json"


def sample(
    models: Model | Sequence[Model],
    *,
    settings: Settings | None = None,
    folder: RunFolder | str | os.PathLike[str] | None = None,
    world: World | None = None,
    deadline: Deadline | None = None,
    extra: Mapping[str, Any] | None = None,
    warn: Callable[[str], None] | None = None,
    **options: Any,
) -> Results | None:
    """Sample the posteriors of all models by replica exchange and weigh the models against each other.

    Parameters
    ----------
    models : Model or list of Model
        Hypotheses about the same data.
    settings : Settings, optional
        By default made from `options`: ``sample(model, draws=20_000, seed=3)``.
    folder : str, Path or RunFolder, optional
        Keeps snapshots and draws there, continues what it finds, and writes ``posterior/`` and ``summary.json``.
        Without one everything stays in memory.
    world : World, optional
        The ranks that share the work; all ranks of the job by default.
    deadline : Deadline, optional
        When to stop in good order.
    extra : mapping, optional
        More entries for the summary, such as the data's path.
    warn : callable, optional
        Told, on rank 0, of damaged snapshots and of ranks or replicas that cannot help; by default prints on stderr.

    Returns
    -------
    Results or None
        On rank 0, when all draws are made. None on other ranks, and when the deadline came first: the folder's state
        then is ``stopped``, and the same call continues.

    Raises
    ------
    InputError
        Settings or models that cannot be sampled.

    Notes
    -----
    The answer is bit for bit the same on any number of ranks, and when the run was stopped or killed and continued.
    """
    models = [models] if isinstance(models, Model) else list(models)
    settings = settings or make_settings(options)
    if world is None:
        world = get_world()
        install_abort_hook(
            world
        )  # in a script of the user's own an exception on one rank would leave the others waiting
    if not isinstance(folder, RunFolder):  # whoever opened a folder has checked them before
        check_models(models, settings, world)
    if folder is not None and not isinstance(folder, RunFolder):
        world.root_first(check_growth, os.fspath(folder), settings)
        config = {**describe(models), **settings.model_dump()}
        with RunFolder.open(folder, "infer", config, GROWABLE, world, sys.argv, settings.seed) as opened:
            return sample(
                models,
                settings=settings,
                folder=opened,
                world=world,
                deadline=deadline,
                extra=extra,
                warn=warn,
            )
    store: Store = Archive(folder, warn) if folder is not None else Memory()
    path = folder / "progress.jsonl" if folder is not None else None
    sampler = Sampler(models, settings, world, store, deadline or Deadline(None), warn or _print_warning)
    done = sampler.begin()
    with Progress(world, path, total_scans(settings), _label(models), done) as progress:
        finished = sampler.run(progress)
    if not finished:
        _set_state(folder, "stopped", world)
        return None
    answer: list[Results] = []
    world.root_first(_conclude, sampler, store, folder, dict(extra or {}), answer)
    _set_state(folder, "done", world)
    return answer[0] if answer else None


def describe(models: Sequence[Model]) -> dict[str, Any]:
    """Return what makes these models others, by which a folder knows whose run it is: priors, data, likelihood."""
    return {
        "models": {
            model.name: {
                "priors": {name: str(prior) for name, prior in model.parameters.items()},
                "content": _content(model),
            }
            for model in models
        }
    }


def _content(model: Model) -> str:
    """Hash of the model's data and of the code of its likelihood."""
    digest = hashlib.sha256(model.form.encode())
    parts = model.data if isinstance(model.data, list | tuple) else [model.data]
    for part in [*parts, *(model.problem or ())]:
        if part is not None:
            digest.update(
                np.asarray(part).tobytes() if np.asarray(part).dtype != object else repr(part).encode()
            )
    code = getattr(model.log_likelihood, "__code__", None)
    if code is not None:
        digest.update(code.co_code + repr(code.co_names).encode())
    return digest.hexdigest()


def check_growth(path: str, settings: Settings) -> None:
    """Refuse to continue the run in the folder `path` with fewer draws than it was to make; changes nothing.

    Raises
    ------
    InputError
        There is such a run.
    """
    if not os.path.exists(os.path.join(path, "config.toml")):
        return
    draws = read_config(path).get("draws")
    if isinstance(draws, int) and settings.draws < draws:
        raise InputError(
            f"--draws {settings.draws}: the run in {path} is for {draws} draws, which can only grow; "
            "give as many or choose another folder"
        )


def _set_state(folder: RunFolder | None, state: State, world: World) -> None:
    """Set the state on all ranks, or raise on all what rank 0 meets."""
    if folder is None:
        return
    world.root_first(_on_root, folder, state)
    if not world.is_root:
        folder.set_state(state)


def _on_root(folder: RunFolder, state: State) -> None:
    folder.set_state(state)


def _print_warning(line: str) -> None:
    print(f"hpc-ds: warning: {line}", file=sys.stderr, flush=True)


def _conclude(
    sampler: Sampler, store: Store, folder: RunFolder | None, extra: dict[str, Any], answer: list[Results]
) -> None:
    """Compute the answers on rank 0, which keeps them in `answer`, and write them."""
    slabs = store.slabs(sampler.keys, sampler.settings.draws)
    results = finish(
        sampler.models, sampler.ensembles, [slabs[key] for key in sampler.keys], sampler.settings
    )
    results.extra.update(extra)
    if folder is not None:
        make_directory(folder / "posterior")
        remove_leftovers(folder / "posterior")
        for result in results.models:
            write_posterior(folder / "posterior" / f"{result.model.name}.h5", result)
        write_json(folder / SUMMARY, results.summary())
    answer.append(results)


def _label(models: Sequence[Model]) -> str:
    return models[0].name if len(models) == 1 else f"{models[0].name} ... {models[-1].name}"


def estimate_line(models: Sequence[Model], settings: Settings, world: World) -> str:
    """Say before the work what it will need: disk, memory, and when the time is known."""
    levels = settings.replicas or 24
    columns = sum(levels + len(model.parameters) + 1 for model in models) * settings.copies
    disk = 3.0 * 8.0 * columns * settings.draws  # draws, the posterior file, room while both are written
    points = max(
        (model.problem.x.size * (model.problem.kind.size + 2) for model in models if model.problem), default=0
    )
    memory = disk + 8.0 * points * levels * len(models) * settings.copies
    ladders = len(models) * settings.copies
    ranks = "1 rank" if world.size == 1 else f"{world.size} ranks"
    return (
        f"{ladders} {'ladder' if ladders == 1 else 'ladders'} of about {levels} temperatures on {ranks}: "
        f"disk about {size_text(disk)}, memory about {size_text(memory)}; the time left is shown once scans are timed"
    )
