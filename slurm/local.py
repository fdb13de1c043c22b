"""The local executor: one process per core, each with one thread, all runs of a grid spread over them."""

import contextlib
import multiprocessing
import multiprocessing.forkserver
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from bench.config import RunConfig
from bench.errors import UserError
from bench.files import read_json, write_bytes
from bench.progress import Display
from bench.record import state
from slurm.worker import Ended, serve, single_thread

_PRELOAD = ["torch", "bench.loop", "bench.envs.mujoco", "algorithms", "datasets.demonstrations"]


@dataclass
class Summary:
    """How a grid went.

    Attributes:
        ended: (run, how it ended), in the order of their ends.
        signal: the signal that stopped the grid before its end, or None.
        unwritable: why nothing can be written any more, which stopped the grid, or None.
    """

    ended: list[tuple[RunConfig, Ended]] = field(default_factory=list)
    signal: int | None = None
    unwritable: str | None = None

    def count(self, status: str) -> int:
        """Return how many runs ended so."""
        return sum(end.status == status for _, end in self.ended)


@dataclass
class _Lane:
    """One worker and what it is doing."""

    process: BaseProcess
    connection: Connection
    run: int | None = None


class _Stops:
    """Counts the requests to stop: the first one is polite; within a SLURM job, all are."""

    def __init__(self, most: int) -> None:
        self.count = 0
        self.most = most
        self.signal: int | None = None

    def __call__(self, number: int, _: object) -> None:
        self.count = min(self.count + 1, self.most)
        self.signal = number if number == signal.SIGUSR2 else self.signal or number


@contextlib.contextmanager
def listening(in_job: bool = False) -> Iterator[_Stops]:
    """Count SIGINT and SIGTERM, and in a SLURM job SIGUSR2, which warns of its end, instead of dying of them."""
    stops = _Stops(most=1 if in_job else 2)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2) if in_job else (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stops) for number in numbers}
    try:
        yield stops
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start_forkserver() -> None:
    """Start the process that makes the workers, deaf to the signals that SLURM sends to all processes of a job."""
    numbers = (signal.SIGTERM, signal.SIGUSR2)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}  # a child inherits that
    multiprocessing.forkserver.ensure_running()
    for number, handler in before.items():
        signal.signal(number, handler)


def execute(
    configs: Sequence[RunConfig],
    out: Path,
    workers: int,
    weights: Sequence[float] | None = None,
    tracking: str = "disabled",
    in_job: bool = False,
) -> Summary:
    """Do all runs, in this order, on `workers` processes.

    A run that fails leaves its error.txt and the others go on. On Ctrl-C or SIGTERM every run is checkpointed and left;
    a second one ends the workers at once.

    Args:
        configs: the runs, longest first.
        out: folder of all runs.
        workers: number of processes.
        weights: relative cost of each run, for the progress bar.
        tracking: mirror to Weights & Biases: disabled, offline or online.
        in_job: whether this is a SLURM job, which is warned of its end by signals.
    """
    summary = Summary()
    if not configs:
        return summary
    single_thread()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    _start_forkserver()

    def lane() -> _Lane:
        here, there = context.Pipe()
        process = context.Process(target=serve, args=(there, out, tracking), daemon=True)
        process.start()
        there.close()
        return _Lane(process, here)

    waiting = list(reversed(range(len(configs))))
    display = Display(weights or [1.0] * len(configs), min(workers, len(configs)))
    with listening(in_job) as stops:
        lanes = [lane() for _ in range(min(workers, len(configs)))]
        try:
            with display:
                polite = False
                while stops.count < 2:
                    if (stops.count or summary.unwritable) and not polite:
                        polite = True
                        if stops.count:
                            display.say("stopping: writing checkpoints (once more to end at once)")
                        for each in lanes:
                            if each.run is not None:
                                _send(each, "stop")
                    for number, each in enumerate(lanes):
                        if each.run is None and waiting and not polite:
                            each.run = waiting.pop()
                            _send(each, configs[each.run])
                            display.start(number, str(configs[each.run]))
                    busy = {each.connection: i for i, each in enumerate(lanes) if each.run is not None}
                    if not busy:
                        break
                    for ready in wait(list(busy), timeout=0.2):
                        number = busy[ready]  # type: ignore[index]
                        end = _listen(lanes[number], number, display, configs, out)
                        if end is not None and end.status == "stopped" and not polite:
                            # It heard SLURM's signal, or somebody's, before we did, if we are to hear it at all.
                            waiting.append(lanes[number].run)  # type: ignore[arg-type]
                            lanes[number].process.join()
                            lanes[number] = lane()
                        elif end is not None:
                            _tell(display, number, lanes[number], configs, end)
                            summary.ended.append((configs[lanes[number].run], end))  # type: ignore[index]
                            lanes[number].run = None
                            if end.status == "unwritable":
                                summary.unwritable = end.message
                            if not lanes[number].process.is_alive():
                                lanes[number] = lane()
        finally:
            for each in lanes:
                if each.run is not None:
                    each.process.kill()
                each.connection.close()
            for each in lanes:
                each.process.join()
        summary.signal = stops.signal
    return summary


def _send(lane: _Lane, message: object) -> None:
    with contextlib.suppress(OSError):  # it died, which `_listen` finds out, too
        lane.connection.send(message)


def _listen(lane: _Lane, number: int, display: Display, configs: Sequence[RunConfig], out: Path) -> Ended | None:
    """Hear one message of a worker; return how its run ended, if it did."""
    assert lane.run is not None
    try:
        message = lane.connection.recv()
    except (EOFError, ConnectionResetError):
        lane.process.join()
        directory = configs[lane.run].directory(out)
        if state(directory) == "finished":  # it lived long enough for that
            return Ended("finished", result=read_json(directory / "result.json"))
        code = lane.process.exitcode
        text = f"the worker process died (exit code {code}{', perhaps out of memory' if code == -9 else ''})"
        if (directory / "config.json").exists():
            with contextlib.suppress(UserError):  # on a full disk, say
                write_bytes(directory / "error.txt", (text + "\n").encode())
        return Ended("failed", text)
    if isinstance(message, Ended):
        return message
    note = f"iteration {message.iteration}/{message.iterations}"
    if message.mean_return is not None:
        note += f", return {message.mean_return:.4g}"
    display.update(number, lane.run, message.iteration / message.iterations, note)
    return None


def _tell(display: Display, number: int, lane: _Lane, configs: Sequence[RunConfig], end: Ended) -> None:
    assert lane.run is not None
    what = str(configs[lane.run])
    for remark in end.remarks:
        display.say(f"note: {remark}")
    if end.status in ("failed", "busy"):
        display.end(number, lane.run, f"{end.status}: {what}: {end.message}", important=True)
    elif end.result is not None and end.status == "finished":
        display.end(number, lane.run, f"{what}: return {end.result['mean']:.4g} in {end.result['wall_s']:.0f} s")
    else:
        display.end(number, lane.run, f"{end.status}: {what}")
