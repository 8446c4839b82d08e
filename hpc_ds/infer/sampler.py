"""Replica exchange over all ranks: tune in rounds, then sample with everything frozen, ready to stop at any time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from hpc_ds.infer import ensemble as ensembles
from hpc_ds.infer.ensemble import Ensemble
from hpc_ds.infer.ladder import replicas_for
from hpc_ds.infer.model import Model
from hpc_ds.infer.pieces import LocalPiece, Part, Slab, make_pieces, plan
from hpc_ds.infer.scribes import Scribes
from hpc_ds.infer.settings import Settings, tuning_rounds
from hpc_ds.runtime.agreement import agreed
from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.world import World

_SEGMENT_SECONDS = 0.25  # between looks at the clock and at signals
_POSITIONS_A_ROUND = 256
_TOO_MANY = 1.5  # times the replicas that the barrier asks for
_LARGEST_BUFFER = 64 << 20  # bytes of draws that a rank keeps in memory between checkpoints
_LARGEST_GATHER = 1 << 30  # bytes that one rank takes from others at a time: MPI 3 counts them in 31 bits

RANKS_OF_A_SCRIBE = 64
"""Neighbouring ranks whose draws one of them writes."""


class Store(Protocol):
    """Where a run keeps what must outlast it; only rank 0's is called, and `keep` on the scribes."""

    shared: bool
    """Whether what several ranks keep is one store, as files are."""

    def keep(self, slabs: dict[str, Slab], meta: dict[str, Any], scribe: int | None) -> None:
        """Keep the draws made since the last snapshot by ensemble key; `scribe` numbers who does, None if only one."""

    def save(self, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> None:
        """Keep a snapshot, after the draws that it counts."""

    def load(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
        """Return the last snapshot and drop draws that are later than it."""

    def slabs(self, keys: Sequence[str], scans: int) -> dict[str, Slab]:
        """Return all draws by ensemble key."""


class Watcher(Protocol):
    """Told how far the run is."""

    def update(self, done: int, **fields: Any) -> None:
        """`done` scans are made."""


def _say_nothing(line: str) -> None:
    pass


@dataclass
class Position:
    """Where in the schedule the run is."""

    phase: int = 0
    scans: int = 0
    """Scans made of that phase."""


class Sampler:
    """Replica exchange of several models in several copies on all ranks of a world.

    Parameters
    ----------
    models : list of Model
        Sampled side by side; each gets `settings.copies` ladders.
    settings : Settings
    world : World
    store : Store
        Takes draws and snapshots: see `Store`.
    deadline : Deadline
    warn : callable
        Told in a line, on rank 0, of ranks and replicas that cannot help.
    """

    def __init__(
        self,
        models: Sequence[Model],
        settings: Settings,
        world: World,
        store: Store,
        deadline: Deadline,
        warn: Callable[[str], None] = _say_nothing,
    ) -> None:
        self.models = list(models)
        self.settings = settings
        self._world = world
        self._store = store
        self._deadline = deadline
        self._watcher: Watcher | None = None
        self._warn = warn
        self._idle = 0
        self._rounds = tuning_rounds(settings.tuning)
        self._position = Position()
        self._ensembles: list[Ensemble] = []  # on rank 0 only, between segments at checkpoints
        self._costs: list[float] = []
        self._segment = 1
        self._last_checkpoint = time.monotonic()

    @property
    def keys(self) -> list[str]:
        """Name of each ensemble: model and copy."""
        return [f"{model.name}/{copy}" for model in self.models for copy in range(self.settings.copies)]

    @property
    def ensembles(self) -> list[Ensemble]:
        """The ensembles at the last checkpoint, on rank 0."""
        return self._ensembles

    def begin(self) -> int:
        """Restore the last snapshot, or begin; return the scans that are already made (collective)."""
        found = self._world.root_first(self._restore)
        if found is None:
            self._begin_ensembles()
        self._position = found or Position()
        self._costs = [
            model.cost or _guess_cost(model) for model in self.models for _ in range(self.settings.copies)
        ]
        return self._done()

    def run(self, watcher: Watcher | None = None) -> bool:
        """Sample to the end or to the deadline; return whether it is the end (collective, the same on all ranks)."""
        if not self._costs:
            self.begin()
        self._watcher = watcher
        self._report()
        while self._position.phase <= len(self._rounds):
            if not self._run_phase():
                return False
            if self._position.phase == len(self._rounds):
                return True
            self._world.root_first(self._next_phase)
            self._position = self._world.bcast(self._position)
        return True

    def _begin_ensembles(self) -> None:
        """Begin all ensembles, each rank some of them, and bring them to rank 0 (collective)."""
        parts = self._world.gather(agreed(self._world, self._begin_share))
        if parts is not None:
            begun = {e: one for part in parts for e, one in part.items()}
            self._ensembles = [begun[e] for e in sorted(begun)]

    def _begin_share(self) -> dict[int, Ensemble]:
        copies, begun = self.settings.copies, {}
        for e in range(self._world.rank, len(self.keys), self._world.size):
            m, copy = divmod(e, copies)
            begun[e] = ensembles.begin(self.models[m], m, copy, self.settings)
        return begun

    def _restore(self) -> Position | None:
        found = self._store.load()
        if found is None:
            return None
        copies = self.settings.copies
        arrays, meta = found
        self._ensembles = []
        for e, key in enumerate(self.keys):
            head = f"{e}/"
            named = {
                name.removeprefix(head): value for name, value in arrays.items() if name.startswith(head)
            }
            assert meta["keys"][e] == key, (meta["keys"], key)
            self._ensembles.append(Ensemble.from_arrays(e // copies, e % copies, named))
        return Position(meta["phase"], meta["scans"])

    def _next_phase(self) -> None:
        """Adapt after a tuning round, or only forget its counts before the frozen rounds; rank 0."""
        rounds, phase = self._rounds, self._position.phase
        if phase < len(rounds) - 1:
            may_resize = phase < max(1, len(rounds) - 3)
            self._ensembles = [
                ensembles.adapt(one, self.models[one.model], self.settings, may_resize)
                for one in self._ensembles
            ]
        else:
            for name, one in zip(self.keys, self._ensembles, strict=True):
                self._warn_of_replicas(name, one)
                ensembles.start_measuring(one)
        self._position = Position(phase + 1, 0)

    def _run_phase(self) -> bool:
        """Make the scans of the present phase; return False if the deadline cut it."""
        measuring = self._position.phase == len(self._rounds)
        scans = self.settings.draws if measuring else self._rounds[self._position.phase]
        if self._position.scans >= scans:
            return True
        learning = self._position.phase < len(self._rounds) - 1
        stride = max(1, scans // _POSITIONS_A_ROUND) if learning else 0
        shared = self._world.bcast(self._ensembles)
        places = self._world.root_first(plan, shared, self.models, self._costs, self._world.size)
        self._warn_of_ranks(len({place.rank for place in places}))
        pieces = make_pieces(places, shared, self.models, self.settings, self._world)
        self._scribes = Scribes(self._world, RANKS_OF_A_SCRIBE if self._store.shared else self._world.size)
        finished = self._run_segments(pieces, scans, measuring, stride)
        self._scribes.free()  # not after an exception: other ranks may never come to free theirs
        for piece in pieces:
            piece.free()
        return finished

    def _run_segments(self, pieces: list[LocalPiece], scans: int, measuring: bool, stride: int) -> bool:
        while self._position.scans < scans:
            length = self._world.bcast(self._segment_length(scans, stride))
            started = time.monotonic()
            _advance(pieces, length, measuring, stride)
            self._position.scans += length
            self._segment = _retimed(self._segment, length, time.monotonic() - started)
            stop = self._deadline.agreed(self._world)
            if stop or self._world.any(self._checkpoint_due(pieces)):
                self._checkpoint(pieces)
            self._report()
            if stop:
                return False
        self._checkpoint(pieces)
        return True

    def _segment_length(self, scans: int, stride: int) -> int:
        left = scans - self._position.scans
        length = min(left, self._segment)
        if stride:
            length = min(left, max(stride, length // stride * stride))
        return length

    def _checkpoint_due(self, pieces: list[LocalPiece]) -> bool:
        """Tell whether this rank's buffer is full, or on rank 0 whether it is time."""
        most = min(_LARGEST_BUFFER, _LARGEST_GATHER // self._scribes.near.size)
        late = time.monotonic() - self._last_checkpoint > self.settings.checkpoint_every
        return (self._world.is_root and late) or sum(piece.buffered for piece in pieces) > most

    def _checkpoint(self, pieces: list[LocalPiece]) -> None:
        """Keep all draws, then bring the states to rank 0 and keep them (collective).

        A full disk is an error on all ranks.
        """
        whole = [part for piece in pieces for part in piece.collect_whole()]
        self._scribes.write(whole, self._write_draws)
        self._world.root_first(self._keep, self._scribes.gather([part.without_draws() for part in whole]))
        self._last_checkpoint = time.monotonic()

    def _write_draws(self, parts: list[Part], scribe: int | None) -> None:
        found = {self.keys[part.e]: part for part in parts if len(part.energies)}
        slabs = {key: Slab(part.energies, part.draws, part.log_prior) for key, part in found.items()}
        if slabs:
            self._store.keep(slabs, self._meta(), scribe)

    def _keep(self, parts: list[Part]) -> None:
        for part in parts:
            part.into(self._ensembles[part.e])
            if part.seconds > 0:
                self._costs[part.e] = part.seconds
        self._store.save(self._arrays(), self._meta())

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            f"{e}/{name}": array
            for e, one in enumerate(self._ensembles)
            for name, array in one.arrays().items()
        }

    def _meta(self) -> dict[str, Any]:
        phase, scans = self._position.phase, self._position.scans
        counted = scans if phase == len(self._rounds) else 0
        return {"keys": self.keys, "phase": phase, "scans": scans, "counted": counted}

    def _report(self) -> None:
        if self._watcher is not None:
            self._watcher.update(self._done(), phase=self._phase_name())

    def _warn_of_ranks(self, busy: int) -> None:
        idle, self._idle = self._idle, self._world.size - busy
        if self._world.is_root and self._idle and self._idle != idle:
            self._warn(
                f"{self._idle} of {self._world.size} ranks idle: the replicas cannot be shared among more than {busy}"
            )

    def _warn_of_replicas(self, name: str, one: Ensemble) -> None:
        enough = replicas_for(float(ensembles.rejection_of(one).sum()))
        if self.settings.replicas is not None and one.replicas > _TOO_MANY * enough:
            self._warn(
                f"{name}: {one.replicas} replicas are more than can help; {enough} exchange well enough"
            )

    def _done(self) -> int:
        return sum(self._rounds[: self._position.phase]) + self._position.scans

    def _phase_name(self) -> str:
        phase = self._position.phase
        if phase == len(self._rounds):
            return "sampling"
        return "burn-in" if phase == len(self._rounds) - 1 else f"tuning {phase + 1}"


def total_scans(settings: Settings) -> int:
    """Return all scans of a run, tuning included."""
    return settings.tuning + settings.draws


def _advance(pieces: list[LocalPiece], scans: int, measuring: bool, stride: int) -> None:
    """Make `scans` scans of every piece: whole ensembles one after the other, shared ones in step."""
    shared = sorted((piece for piece in pieces if piece.is_shared), key=lambda piece: piece.turn)
    for piece in pieces:
        if not piece.is_shared:
            piece.run(scans, measuring, stride)
    for piece in shared:
        piece.open_record(scans)
    for t in range(scans if shared else 0):
        for piece in shared:
            piece.explore(t)
        for piece in shared:
            piece.exchange(t)
        if stride and (t + 1) % stride == 0:
            for piece in shared:
                piece.note_position()
    for piece in shared:
        piece.close_record(measuring)


def _retimed(segment: int, length: int, elapsed: float) -> int:
    """Scans that should take about `_SEGMENT_SECONDS`, at most doubling."""
    if elapsed <= 0.0:
        return 2 * segment
    return int(max(1, min(2 * segment, math.ceil(length * _SEGMENT_SECONDS / elapsed))))


def _guess_cost(model: Model) -> float:
    points = model.problem.points if model.problem is not None else 100
    return 1e-9 * points * len(model.free) + 1e-7
