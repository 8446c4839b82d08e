"""What on this machine will stop or spoil runs, and the command that mends it."""

from hpc_ds.jobs.doctor.diagnosis import diagnose, launched_world, leads
from hpc_ds.jobs.doctor.finding import Finding, State, worst
from hpc_ds.jobs.doctor.situation import Situation

__all__ = ["Finding", "Situation", "State", "diagnose", "launched_world", "leads", "worst"]
