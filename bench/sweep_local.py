"""The workers of a sweep on this machine, and what is shown of them."""

import contextlib
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from optuna.study import Study

from bench.progress import Display
from bench.sweep import Sweep, open_study
from bench.sweep_worker import News, requeue_dead, serve
from slurm.local import listening
from slurm.worker import single_thread

LOOK_S = 5.0  # seconds between two looks at what workers elsewhere have done


def execute(sweep: Sweep, trials: int, workers: int, tracking: str = "disabled", in_job: bool = False) -> int | None:
    """Do the trials that are missing on `workers` processes; returns the signal that stopped them, or None.

    On Ctrl-C or SIGTERM every run is checkpointed and its trial put back into the queue; a second one ends the workers
    at once. The trial of a worker that dies is taken up by another, here or elsewhere; none is left RUNNING. In a SLURM
    job (`in_job`), which is warned of its end by signals, all of them are polite.
    """
    single_thread()
    study = open_study(sweep)
    context = multiprocessing.get_context("spawn")
    display = Display([1.0] * max(trials, len(study.get_trials(deepcopy=False))), workers, "trials")
    with listening(in_job) as stops:
        lanes: dict[Connection, tuple[int, BaseProcess]] = {}
        for number in range(workers):
            here, there = context.Pipe()
            process: BaseProcess = context.Process(target=serve, args=(there, sweep, trials, tracking), daemon=True)
            process.start()
            there.close()
            lanes[here] = number, process
        try:
            with display:
                _watch(lanes, display, study, lambda: stops.count)
        finally:
            for connection, (_, process) in lanes.items():
                process.kill()
                connection.close()
            for _, process in lanes.values():
                process.join()
            requeue_dead(sweep, study)
        return stops.signal


def _watch(
    lanes: dict[Connection, tuple[int, BaseProcess]],
    display: Display,
    study: Study,
    stops: Callable[[], int],
) -> None:
    """Listen to the workers until all are gone, or until asked to stop for the second time."""
    ended: set[int] = set()
    polite, looked = False, 0.0
    while lanes and stops() < 2:
        if stops() and not polite:
            polite = True
            display.say("stopping: writing checkpoints (once more to end at once)")
            for connection in lanes:
                with contextlib.suppress(OSError):  # it died, which shows below
                    connection.send("stop")
        if time.monotonic() - looked > LOOK_S:
            looked = time.monotonic()
            for trial in study.get_trials(deepcopy=False):
                if trial.state.is_finished() and trial.number not in ended:
                    ended.add(trial.number)
                    display.elsewhere(trial.number)
        for ready in wait(list(lanes), timeout=0.2):
            assert isinstance(ready, Connection)
            lane, process = lanes[ready]
            try:
                news = ready.recv()
            except (EOFError, ConnectionResetError):
                process.join()
                if process.exitcode not in (0, 2):
                    display.say(f"a worker died (exit code {process.exitcode}); its trial goes back into the queue")
                del lanes[ready]
                continue
            _show(news, lane, display, ended)


def _show(news: News, lane: int, display: Display, ended: set[int]) -> None:
    if news.kind == "note":
        display.say(f"note: {news.text}")
    elif news.kind == "began":
        display.start(lane, news.text)
    elif news.kind == "advanced":
        display.update(lane, news.trial, news.fraction, news.text)
    elif news.trial in ended:  # seen in the study before it was heard of
        display.say(news.text)
    else:
        ended.add(news.trial)
        display.end(lane, news.trial, news.text, important=True)
