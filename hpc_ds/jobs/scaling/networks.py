"""Latency and bandwidth of the networks that the model knows, each figure with its source and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, log2

from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.suggest import unknown

PYTHON = 0.4e-6
"""Seconds that a call through mpi4py costs beside the message: measured (benchmarks/scaling.py latency)."""


@dataclass(frozen=True)
class Network:
    """What a message costs: latency + bytes / bandwidth (Hockney's model), between nodes and within one.

    All seconds and bytes per second; every figure is for one rank while all ranks of its node send too.
    """

    name: str
    latency: float
    """From rank to rank on two nodes, through MPI."""
    node_bandwidth: float
    """What a node sends at a time; its ranks share it."""
    link_bandwidth: float
    """What one message gets while no other is under way."""
    ranks_per_node: int
    inner_latency: float
    """Between two ranks of a node."""
    inner_bandwidth: float
    sources: tuple[tuple[str, str], ...] = ()
    """Each figure in words, and where it is from: published, measured or assumed."""

    @property
    def bandwidth(self) -> float:
        """Bytes a second of a rank's messages to other nodes while all ranks of its node send."""
        return min(self.link_bandwidth, self.node_bandwidth / self.ranks_per_node)

    def message(self, size: float, distance: int = 0) -> float:
        """Seconds of an exchange of messages of `size` bytes between ranks r and r + `distance`, all ranks at once."""
        if 0 < distance < self.ranks_per_node:
            return PYTHON + self.inner_latency + size / self.inner_bandwidth
        return PYTHON + self.latency + size / self.bandwidth

    def rounds(self, ranks: int) -> float:
        """Seconds of the latencies of a collective call that goes through log2(ranks) rounds."""
        depth = ceil(log2(max(ranks, 1)))
        inner = min(depth, ceil(log2(self.ranks_per_node)))
        return inner * self.inner_latency + (depth - inner) * self.latency

    def all_reduce(self, ranks: int, size: float) -> float:
        """Rabenseifner's: two ways up and down the tree, each byte sent twice."""
        if ranks == 1:
            return 0.0
        return PYTHON + 2 * self.rounds(ranks) + 2 * size * (1 - 1 / ranks) / self._slowest(ranks)

    def all_gather(self, ranks: int, size: float) -> float:
        """Recursive doubling of `size` bytes in all; a few ranks that may straddle two nodes pay one latency there."""
        if ranks == 1:
            return 0.0
        return PYTHON + self.rounds(ranks) + self.latency + size * (1 - 1 / ranks) / self._slowest(2 * ranks)

    def all_to_all(self, ranks: int, size: float) -> float:
        """One message to each other rank, of `size` bytes in all."""
        if ranks == 1:
            return 0.0
        inner = min(ranks, self.ranks_per_node) - 1
        latencies = inner * self.inner_latency + (ranks - 1 - inner) * self.latency
        return PYTHON + latencies + size * (1 - 1 / ranks) / self._slowest(ranks)

    def broadcast(self, ranks: int, size: float) -> float:
        """A scatter and an all-gather: each byte twice over the root's link."""
        return 0.0 if ranks == 1 else PYTHON + self.rounds(ranks) + 2 * size / self.link_bandwidth

    def gather(self, ranks: int, size: float) -> float:
        """To one rank, `size` bytes in all, one message after the other, as MPI_Gatherv does it."""
        return 0.0 if ranks == 1 else PYTHON + (ranks - 1) * self.inner_latency + size / self.link_bandwidth

    def _slowest(self, ranks: int) -> float:
        return self.inner_bandwidth if ranks <= self.ranks_per_node else self.bandwidth


_TOFU_D = Network(
    name="tofu-d",
    latency=1.2e-6,
    node_bandwidth=38.1e9,
    link_bandwidth=6.35e9,
    ranks_per_node=48,
    inner_latency=0.6e-6,
    inner_bandwidth=5e9,
    sources=(
        (
            "put latency 0.49 us, 38.1 GB/s injected a node, 93 % of a 6.8 GB/s link",
            "published: Ajima et al., The Tofu Interconnect D, IEEE Cluster 2018",
        ),
        ("latency through MPI 1.2 us", "assumed: the put and what MPI adds to it on InfiniBand"),
        ("0.6 us and 5 GB/s within a node", "assumed: measured on x86-64, not on A64FX"),
    ),
)
_INFINIBAND = Network(
    name="infiniband",
    latency=1.2e-6,
    node_bandwidth=24.0e9,
    link_bandwidth=24.0e9,
    ranks_per_node=64,
    inner_latency=0.6e-6,
    inner_bandwidth=5e9,
    sources=(
        (
            "HDR: MPI latency 1.2 us, 192 Gbit/s one way",
            "published: Microsoft Azure, HBv3 performance (a manual, one product's figures)",
        ),
        ("64 ranks a node", "assumed"),
        ("0.6 us and 5 GB/s within a node", "assumed to be as measured here between two processes"),
    ),
)
_SHARED = replace(
    _INFINIBAND,
    name="shared-memory",
    latency=0.6e-6,
    node_bandwidth=10e9,
    link_bandwidth=5e9,
    ranks_per_node=1 << 30,
    sources=(("0.6 us and 5 GB/s", "measured: benchmarks/scaling.py latency, two shared x86-64 cores"),),
)
NETWORKS = {each.name: each for each in (_TOFU_D, _INFINIBAND, _SHARED)}


def network(name: str, ranks_per_node: int | None = None) -> Network:
    """Return a network by its name.

    Raises
    ------
    InputError
        There is none of that name.
    """
    if name not in NETWORKS:
        raise InputError(f"--network {name}: {unknown(name, NETWORKS)}")
    found = NETWORKS[name]
    return found if ranks_per_node is None else replace(found, ranks_per_node=ranks_per_node)
