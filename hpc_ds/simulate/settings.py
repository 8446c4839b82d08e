"""What a user can set of a simulation run: one source for checks, command line and manual."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from hpc_ds.runtime.deadline import parse_duration
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.options import checked

GROWABLE = frozenset({"samples", "sample_limit", "retries", "keep_shards"})
"""Settings that may differ when a run is continued."""

Launcher = Literal["auto", "supervised", "local", "dask-mpi"]


class Settings(BaseModel):
    """Settings of a training set; its bytes depend on all but `sample_limit`, `retries` and `keep_shards`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    samples: int | None = Field(default=None, ge=1, lt=2**32)
    """How many samples the set has; by default 100, or all rows of a table. May grow when a run is continued: only the
    new ones are computed."""

    design: str = "sobol"
    """sobol, halton, random (these can grow), latin-hypercube, factorial, adaptive, your own table.csv, or an adaptive
    design of your own, path/to/file.py:name."""

    seed: int = Field(default=1, ge=0, lt=2**63)
    """Seed of the design and of each sample's random numbers."""

    generation: int = Field(default=64, ge=2)
    """Samples in a generation of an adaptive design."""

    watch: str | None = None
    """Field that an adaptive design learns from; the first one by default."""

    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of train, valid and test; which one a sample belongs to depends on its number alone."""

    samples_per_file: int | None = Field(default=None, ge=1)
    """Samples in one file of data/; by default files hold about 4 GiB."""

    sample_limit: float | None = Field(default=None, gt=0.0)
    """Time after which one sample is given up, e.g. 30, 5m; none by default."""

    retries: int = Field(default=2, ge=0)
    """How often a sample that failed for a passing reason is tried again."""

    keep_shards: bool = False
    """Keep the workers' own files after they were merged into data/."""

    @field_validator("split", mode="before")
    @classmethod
    def _read_split(cls, value: Any) -> Any:
        try:
            shares = [float(share) for share in (value.split(",") if isinstance(value, str) else value)]
        except (TypeError, ValueError):
            shares = []
        if len(shares) != 3 or not min(shares) >= 0 or not abs(sum(shares) - 1.0) < 1e-9:
            raise ValueError("three shares that add up to 1 are needed, such as 0.8,0.1,0.1")
        return tuple(shares)

    @field_validator("sample_limit", mode="before")
    @classmethod
    def _read_limit(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return parse_duration(value)
        except InputError as error:
            raise ValueError(str(error)) from None


class ClusterSettings(BaseModel):
    """Who computes; the answer does not depend on it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    launcher: Launcher = "auto"
    """supervised: a worker under each rank, replaced when it dies; dask-mpi: the plain way, where a lost rank ends
    the job; local: one machine, without MPI. auto takes supervised under mpiexec and local without."""

    scheduler: str | None = None
    """Address of a Dask scheduler that runs already, e.g. tls://10.0.0.1:8786; its workers must see the run folder."""

    schedulers: int | None = Field(default=None, ge=1)
    """Dask schedulers, each with its own ranks and its own share of the samples; by default one for each 1024 ranks.
    An adaptive design, whose generations all must see, has one."""

    processes: int | None = Field(default=None, ge=1)
    """Samples that each worker computes at the same time; by default one a rank under mpiexec, else one a core."""

    interface: str | None = None
    """Network interface that Dask's processes use between machines, e.g. ib0; found by default."""

    dashboard: bool = False
    """Serve Dask's dashboard, on this machine's loopback interface only (plain HTTP)."""


def make_settings(values: Mapping[str, Any]) -> Settings:
    """Return checked settings (`InputError`: one line that names the first wrong key)."""
    return checked(Settings, values)


def make_cluster_settings(values: Mapping[str, Any]) -> ClusterSettings:
    """Return checked settings of the cluster (`InputError` as in `make_settings`)."""
    return checked(ClusterSettings, values)
