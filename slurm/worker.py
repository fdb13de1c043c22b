"""A worker process: imports torch once, then serves one run after the other."""

import contextlib
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.config import RunConfig
from bench.errors import UserError
from bench.files import CannotWrite
from bench.lock import InUse


@dataclass(frozen=True)
class Ended:
    """What a worker says at the end of a run.

    Attributes:
        status: finished, skipped, stopped, busy (another process owns it), unwritable (a full disk, say) or failed.
        message: one line about a failure.
        result: what result.json holds, if finished.
        remarks: things worth knowing.
    """

    status: str
    message: str = ""
    result: Mapping[str, Any] | None = None
    remarks: tuple[str, ...] = ()


def single_thread() -> None:
    """Ask every numerical library for one thread; must be called before they are imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"


def serve(connection: Connection, out: Path, tracking: str) -> None:
    """Do the runs that come through `connection`, one at a time, until it is closed.

    While a run is going on, any message means: stop with a checkpoint. So does the end of the connection, which is how
    a worker learns that its parent died; and so do SIGTERM and SIGUSR2. Ctrl-C is the parent's to handle.
    """
    terminated = False

    def terminate(*_: object) -> None:
        nonlocal terminated
        terminated = True

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGUSR2):  # SLURM's go to all processes of a job
        signal.signal(number, terminate)
    from bench import loop

    def stop() -> bool:
        return terminated or connection.poll()

    try:
        while not terminated:
            config = connection.recv()
            if not isinstance(config, RunConfig):
                return
            connection.send(_serve_one(loop, config, out, tracking, connection, stop))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _serve_one(loop: Any, config: RunConfig, out: Path, tracking: str, connection: Connection, stop: Any) -> Ended:
    def report(progress: Any) -> None:
        with contextlib.suppress(OSError):  # the parent died: `stop` finds out, too, and ends the run in good order
            connection.send(progress)

    try:
        outcome = loop.run(config, out, report, stop, tracking)
    except InUse as error:
        return Ended("busy", str(error))
    except CannotWrite as error:
        return Ended("unwritable", str(error))
    except UserError as error:
        return Ended("failed", str(error))
    except Exception as error:
        return Ended("failed", f"{type(error).__name__}: {error}".splitlines()[0])
    return Ended(outcome.status, result=outcome.result, remarks=outcome.remarks)
