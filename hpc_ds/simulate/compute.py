"""The compute process: `python -m hpc_ds.simulate.compute`, started and spoken to by child.py.

Commands come over standard input, events go over standard output, a line of JSON each. What the simulator prints goes
to the process's log.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from typing import Any

from hpc_ds.runtime.errors import InputError, StorageError
from hpc_ds.runtime.parent import end_with_parent
from hpc_ds.runtime.threads import limit_threads
from hpc_ds.simulate.logs import log_path

_STDIN, _STDOUT, _STDERR = range(3)


def main(folder: str, session: str, name: str, parent: str) -> int:
    """Compute samples until no more commands come; return the exit code.

    Parameters
    ----------
    folder : str
        The run folder.
    session : str
        Name of the session of the run.
    name : str
        This process's name in the run.
    parent : str
        Process id of the babysitter.
    """
    end_with_parent(int(parent))
    _outlive_signals()
    limit_threads(1)
    line = _Line()
    try:
        _work(folder, name, line)
    except InputError as error:
        line.say("broken", "input", str(error), now=True)
    except StorageError as error:
        line.say("broken", "storage", error.errno, error.strerror, error.filename, now=True)
    except Exception as error:
        traceback.print_exc()
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error} ({where.filename}, line {where.lineno})"
        line.say("broken", "error", " ".join(text.split()), now=True)
    else:
        return 0
    return 1


def _work(folder: str, name: str, line: _Line) -> None:
    # NumPy reads how many threads it may use when it is imported.
    from hpc_ds.simulate.bench import Bench
    from hpc_ds.simulate.recording import Recorder, Samples

    samples = Samples(folder)
    if samples.simulator.warm_up is not None:
        samples.simulator.warm_up()
    recorder = Recorder(folder, name, samples.layout)
    bench = Bench(samples, recorder, line.say, log_path(folder, name))
    line.say("ready", bench.block, now=True)
    try:
        for command in line.commands():
            bench.work(*command)
    finally:
        recorder.close()


class _Line:
    """The connection to the babysitter, taken away from whatever the simulator reads and prints."""

    def __init__(self) -> None:
        self._in = os.fdopen(os.dup(_STDIN), "rb")
        self._out = os.dup(_STDOUT)
        os.dup2(_STDERR, _STDOUT)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, _STDIN)
        os.close(nothing)
        self._waiting: list[str] = []

    def say(self, *event: Any, now: bool = False) -> None:
        """Send an event, with all that wait, or let it wait for the next one that is sent."""
        self._waiting.append(json.dumps(event))
        if now:
            data = memoryview(("\n".join(self._waiting) + "\n").encode())
            self._waiting.clear()
            while data:
                data = data[os.write(self._out, data) :]

    def commands(self) -> Iterator[Any]:
        """Yield commands until the babysitter hangs up."""
        for text in self._in:
            yield json.loads(text)


def _outlive_signals() -> None:
    """Leave to the client what batch systems and terminals send to all processes of a job: it ends work in good order.

    Signals are handled and not ignored, for what the simulator starts would inherit that they are ignored.
    """
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGXCPU,
    ):
        signal.signal(number, lambda *_: None)
        signal.siginterrupt(number, False)


if __name__ == "__main__":
    code = main(*sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # threads or exit handlers of the simulator must not keep the process
