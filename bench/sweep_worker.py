"""A worker of a sweep: takes a trial, does its runs, tells the study; as long as there is something to do.

A trial's worker holds a lock on it (`bench.lock`). A trial that is RUNNING in the study while neither its worker nor
any of its run records gives a sign of life goes back into the queue: the same trial with the same values, whose runs go
on from their checkpoints. So does one whose worker is told to stop. No trial is ever given up.
"""

import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import fmean
from typing import Literal

import numpy as np
from optuna.samplers import TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from bench import loop
from bench.config import RunConfig
from bench.errors import UserError
from bench.files import CannotWrite, writing
from bench.lock import ALIVE_S, InUse, Lock, alive
from bench.record import state
from bench.sweep import Sweep, open_study, settled

CLAIM_S = 2 * ALIVE_S  # for how long a worker waits for its turn to take a trial: a dead machine's turn ends before
POLL_S = 2.0  # seconds between two looks whether somebody else's trial came back
BROKEN = 3  # so many trials that broke off, and no other: it is not the settings

_UNFINISHED = (TrialState.RUNNING, TrialState.WAITING)


@dataclass(frozen=True)
class News:
    """What a worker says of its trial: that it began, how far it is (0 to 1), or that it ended."""

    kind: Literal["began", "advanced", "ended", "note"]
    trial: int
    text: str
    fraction: float = 0.0


Tell = Callable[[News], None]


def heartbeat(sweep: Sweep, number: int) -> Path:
    """Return the file that a trial's worker holds locked."""
    return sweep.folder / "heartbeats" / f"t{number:04d}"


def requeue(study: Study, trial: Trial | FrozenTrial) -> None:
    """Put a running trial back into the queue; Optuna has no public way that keeps the trial."""
    study._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)


def requeue_dead(sweep: Sweep, study: Study) -> None:
    """Put the trials back into the queue whose workers are gone."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if alive(heartbeat(sweep, trial.number)):  # first: all workers ask again and again, and runs cost more to tell
            continue
        if all(state(run.directory(sweep.folder)) != "running" for run in sweep.runs(trial.number, trial.params)):
            requeue(study, trial)


def claim(sweep: Sweep, study: Study, trials: int) -> tuple[Trial, Lock] | None:
    """Take the next trial, if there is one to be had; one worker at a time, so that there are never more than `trials`.

    Raises:
        UserError: all trials so far broke off.
    """
    with Lock(sweep.folder / "claim", f"the sweep {sweep.name}", CLAIM_S):
        requeue_dead(sweep, study)
        known = study.get_trials(deepcopy=False)
        broken = [trial for trial in known if "broke" in trial.user_attrs]
        if len(broken) >= BROKEN and len(broken) == sum(trial.state.is_finished() for trial in known):
            raise UserError(f"all of {len(broken)} trials broke off; the last: {broken[-1].user_attrs['broke']}")
        if not known:
            for values in sweep.tuned()[:trials]:
                study.enqueue_trial(values)
        elif len(known) >= trials and all(trial.state != TrialState.WAITING for trial in known):
            return None
        study.sampler = TPESampler(seed=len(known))  # each trial another, yet the same in a sweep done again
        trial = study.ask(sweep.space)
        return trial, Lock(heartbeat(sweep, trial.number), f"trial {trial.number}")


def work(sweep: Sweep, trials: int, stop: Callable[[], bool], tell: Tell, tracking: str = "disabled") -> None:
    """Do trials until the study holds so many, and none that is under way anywhere may yet come back.

    Args:
        sweep: which sweep.
        trials: how many trials there are to be.
        stop: asked all the time; on True the trial is checkpointed and put back into the queue.
        tell: hears how it goes.
        tracking: mirror of the runs to Weights & Biases.
    """
    study = open_study(sweep)
    while not stop():
        with writing(sweep.folder):
            claimed = claim(sweep, study, trials)
            if claimed is None:
                if not study.get_trials(deepcopy=False, states=_UNFINISHED):
                    return
                time.sleep(POLL_S)
                continue
            trial, lock = claimed
            with lock:
                carry_out(sweep, study, trial, lock, stop, tell, tracking)


def carry_out(
    sweep: Sweep,
    study: Study,
    trial: Trial,
    lock: Lock,
    stop: Callable[[], bool],
    tell: Tell,
    tracking: str,
) -> None:
    """Do a trial's runs, or what is left of them, and tell the study how it ended."""
    tell(News("began", trial.number, f"trial {trial.number}"))
    runs = sweep.runs(trial.number, trial.params)
    known = study.get_trials(deepcopy=False)[trial.number].intermediate_values
    scores = {step: score for step, score in known.items() if step < len(runs)}  # a kill may leave a pruned one's mean
    end = ""
    for step in np.random.default_rng(trial.number).permutation(len(runs)).tolist():
        if step not in scores:
            try:
                score = _score(sweep, trial.number, runs, step, len(scores), stop, tell, tracking)
                lock.check()
            except InUse as error:  # somebody has taken over the trial, or has one of its runs
                tell(News("note", trial.number, str(error)))
                time.sleep(POLL_S)  # before: whoever takes the trial from the queue finds its lock given up
                with contextlib.suppress(InUse):
                    lock.check()
                    requeue(study, trial)
                return
            except CannotWrite:
                with contextlib.suppress(OSError):  # if not even that can be written, it will be found dead
                    requeue(study, trial)
                raise
            except Exception as error:  # the run's error.txt has the rest
                why = (str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}").splitlines()[
                    0
                ]
                trial.set_user_attr("broke", why)
                study.tell(trial, state=TrialState.PRUNED)
                end = f"broke off: {why}"
                break
            if score is None:
                requeue(study, trial)
                return
            scores[step] = score
            trial.report(score, step)
        if len(scores) < len(runs) and trial.should_prune():
            # At a step of its own: the last one's value is what the sampler takes a pruned trial to be worth.
            trial.report(fmean(scores.values()), len(runs))
            study.tell(trial, state=TrialState.PRUNED)
            end = f"pruned after {len(scores)} of {len(runs)} runs, mean {fmean(scores.values()):.3f}"
            break
    else:
        study.tell(trial, fmean(scores.values()))
        end = f"{fmean(scores.values()):.3f}"
    values = " ".join(f"{name}={settled(value)}" for name, value in trial.params.items())
    tell(News("ended", trial.number, f"trial {trial.number}: {end} ({values})", 1.0))


def _score(
    sweep: Sweep,
    number: int,
    runs: list[RunConfig],
    step: int,
    done: int,
    stop: Callable[[], bool],
    tell: Tell,
    tracking: str,
) -> float | None:
    """Do one run of a trial and return its normalised score, or None if it was stopped."""

    def report(progress: loop.Progress) -> None:
        fraction = (done + progress.iteration / progress.iterations) / len(runs)
        tell(News("advanced", number, f"run {done + 1} of {len(runs)}", fraction))

    outcome = loop.run(runs[step], sweep.folder, report, stop, tracking)
    for remark in outcome.remarks:
        tell(News("note", number, remark))
    if outcome.result is None:
        return None
    score = outcome.result["normalised"]
    if score is None:
        raise UserError(f"{runs[step].task} has no returns of an expert and of chance to normalise scores by")
    return float(score)


def serve(connection: Connection, sweep: Sweep, trials: int, tracking: str) -> None:
    """Work in a process of its own, until told to stop through `connection`, by its end, or by SIGTERM or SIGUSR2."""
    terminated = False

    def terminate(*_: object) -> None:
        nonlocal terminated
        terminated = True

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, terminate)

    def tell(news: News) -> None:
        with contextlib.suppress(OSError):  # the parent died: `stop` finds out, too
            connection.send(news)

    try:
        work(sweep, trials, lambda: terminated or connection.poll(), tell, tracking)
    except UserError as error:
        tell(News("note", -1, f"error: {error}"))
        raise SystemExit(2) from None
