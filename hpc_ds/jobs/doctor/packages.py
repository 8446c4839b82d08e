"""Whether the packages that are needed are here, in versions that are promised to work."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from typing import TYPE_CHECKING

from hpc_ds.jobs.doctor.finding import Finding
from hpc_ds.jobs.doctor.situation import Situation

if TYPE_CHECKING:
    from packaging.requirements import Requirement

NAME = "packages"

_ENGINES = {
    "mpi": "more than one rank",
    "learn": "hpc-ds learn",
    "simulate": "hpc-ds simulate on several processes",
}

Version = Callable[[str], str]


def check_packages(
    situation: Situation, requirements: Sequence[str] | None = None, version: Version = metadata.version
) -> Iterator[Finding]:
    """Compare what is installed with the bounds of setup.cfg, which the installed metadata repeat."""
    if requirements is None:
        try:
            requirements = metadata.requires("hpc-ds") or []
        except metadata.PackageNotFoundError:
            yield Finding(NAME, "note", "hpc-ds itself is not installed here", "python -m pip install -e .")
            return
    try:
        from packaging.requirements import Requirement
    except ModuleNotFoundError:
        found = "packaging is not here, nor perhaps other packages that matplotlib and xarray bring"
        yield Finding(NAME, "wrong", found, "bash launch/setup.sh")
        return
    yield unmet([Requirement(text) for text in requirements], version)


def unmet(requirements: Sequence[Requirement], version: Version) -> Finding:
    """Say which requirements are not met: wrong if all commands need them, a note if one engine does."""
    needed, optional = [], []
    for requirement in requirements:
        extra = _extra(requirement)
        trouble = _trouble(requirement, version)
        if trouble and extra is None:
            needed.append((requirement, trouble))
        elif trouble and extra in _ENGINES:
            optional.append((requirement, f"{trouble}, for {_ENGINES[extra]}"))
    if not needed and not optional:
        return Finding(NAME, "ok", "all in the versions that are promised to work")
    everything = needed + optional
    names = [shlex.quote(f"{requirement.name}{requirement.specifier}") for requirement, _ in everything]
    found = "; ".join(trouble for _, trouble in everything)
    return Finding(NAME, "wrong" if needed else "note", found, f"python -m pip install {' '.join(names)}")


def _trouble(requirement: Requirement, version: Version) -> str:
    try:
        found = version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is not here"
    if requirement.specifier.contains(found, prereleases=True):
        return ""
    return f"{requirement.name} is {found}, asked for is {requirement.specifier}"


def _extra(requirement: Requirement) -> str | None:
    """Return the name of the extra that asks for this; None if the package itself does."""
    marker = str(requirement.marker or "")
    return marker.partition("extra == ")[2].strip("\"'") or None
