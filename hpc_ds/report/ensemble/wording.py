"""Say in plain words how far an ensemble is and what is wrong with it."""

from __future__ import annotations

from collections import Counter

from hpc_ds.report.ensemble.reader import Ensemble
from hpc_ds.report.wording import Verdict, count, finite, spoken
from hpc_ds.runtime.amounts import duration_text

KINDS = {
    "raised": "the simulator raised an error",
    "invalid": "it returned NaN, an infinity or fields of the wrong shape",
    "timeout": "it ran past its time limit",
    "exited": "its process ended by itself",
    "killed": "its process was killed from outside, too often",
    "skipped": "the simulator said that it has no answer",
    "gave up": "the simulator asked too often to try again",
    "stop": "the simulator stopped the run",
}
"""What each kind of failure means."""

_AGAIN = "run the same command again"


def verdict(run: Ensemble) -> Verdict:
    """Say how many samples there are, and what to know before using them."""
    return Verdict(_headline(run), tuple(_notes(run)))


def samples(number: int) -> str:
    """Write a number of samples."""
    return f"{count(number)} {'sample' if number == 1 else 'samples'}"


def seconds(value: float | None) -> str:
    """Write how long one sample took: 4.2 ms, 0.35 s, 12 s, 3 min 20 s."""
    number = finite(value)
    if number is None:
        return "–"
    if number < 0.1:
        return f"{1000 * number:.2g} ms" if number < 0.00995 else f"{1000 * number:.0f} ms"
    if number < 9.95:
        return f"{number:.2g} s"
    return duration_text(number)


def kinds(run: Ensemble) -> list[tuple[str, int]]:
    """Return how many samples failed of each kind, the most frequent kind first."""
    return Counter(failure.kind for failure in run.failures).most_common()


def _headline(run: Ensemble) -> str:
    done, asked, failed = len(run.done), run.asked, len(run.failures)
    if done + failed < asked:
        return _incomplete(run)
    if not failed:
        return f"{samples(done)} of {run.simulator}, complete."
    if not done and failed == 1:
        return f"The only sample of {run.simulator} failed."
    if not done:
        return f"No sample of {run.simulator}: all {count(failed)} failed."
    return f"{count(done)} of {count(asked)} samples of {run.simulator}; {count(failed)} failed."


def _incomplete(run: Ensemble) -> str:
    settled = len(run.done) + len(run.failures)
    reached = f"{count(settled)} of {samples(run.asked)}"
    aside = f" ({count(len(run.failures))} failed)" if run.failures else ""
    if run.state == "running" and run.alive:
        return f"{reached} so far{aside}: this run is going on."
    opening = {"running": "Killed", "failed": "Ended by an error"}.get(run.state, "Stopped")
    return f"{opening} at {reached}{aside}: {_AGAIN}."


def _notes(run: Ensemble) -> list[str]:
    notes = list(run.troubles)
    if run.note and run.state in ("stopped", "failed"):
        notes.append(f"It {'stopped' if run.state == 'stopped' else 'failed'} because: {run.note}")
    if run.failures:
        told = spoken([f"{count(number)} {kind}" for kind, number in kinds(run)])
        notes.append(
            f"{samples(len(run.failures))} failed ({told}) and "
            f"{'is' if len(run.failures) == 1 else 'are'} left out of the set. With --retry-failed the same "
            "command tries again."
        )
    if run.contradictions:
        notes.append(
            f"{samples(run.contradictions)} came out differently when computed a second time: the simulator "
            "depends on more than its parameters and its random numbers."
        )
    if run.done and not run.splits and not (run.state == "running" and run.alive):
        notes.append("What is done is not merged into a training set yet: hpc-ds merge does it.")
    return notes
