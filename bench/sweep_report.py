"""What a sweep found: its trials as a table, its figures, and the best setting as flags."""

import csv
import io
import sys
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from bench.files import write_bytes
from bench.sweep import Sweep, settled


def report(sweep: Sweep, study: Study) -> int:
    """Print what was found, write it below the sweep's folder, and return the number of trials that have ended."""
    from bench.sweep_figures import images

    trials = study.get_trials(deepcopy=False)
    ended = [trial for trial in trials if trial.state.is_finished()]
    complete = [trial for trial in ended if trial.state == TrialState.COMPLETE]
    broke = sum("broke" in trial.user_attrs for trial in ended)
    files = {"trials.csv": table(sweep, ended)} | images(study, sweep.space)
    for name, content in files.items():
        write_bytes(sweep.folder / name, content)
    left = len(trials) - len(ended)
    parts = {
        "complete": len(complete),
        "pruned": len(ended) - len(complete) - broke,
        "broke off": broke,
        "queued": left,
    }
    counts = ", ".join(f"{number} {what}" for what, number in parts.items() if number)
    _print(f"{len(trials)} trials: {counts or 'none'}; in {sweep.folder}: {', '.join(files)}")
    if complete:
        _print_best(sweep, study, complete)
    return len(ended)


def _print_best(sweep: Sweep, study: Study, complete: list[FrozenTrial]) -> None:
    best = study.best_trial
    cells = _cell_means(sweep, best)
    each = f" ({', '.join(f'{task} {mean:.3f}' for task, mean in cells.items())})" if len(cells) > 1 else ""
    runs = len(sweep.seeds) * len(sweep.cells)
    _print(f"best: trial {best.number} with a mean normalised score of {best.value:.3f} over {runs} runs{each}")
    for values in sweep.tuned():
        for trial in complete:
            if trial.params == values and trial.number != best.number:
                where = ", ".join(f"{key}={value}" for key, value in values.items())
                _print(f"tuned: {trial.value:.3f} with {where}")
    flags = sweep.flags(best.params)
    if len(set(flags.values())) == 1:
        _print(next(iter(flags.values())))
    else:
        for task, text in flags.items():
            _print(f"{task}: {text}")
    if len(complete) > 1:
        _print("The best of several is measured too well: try it on other seeds before you believe it.")


def _cell_means(sweep: Sweep, trial: FrozenTrial) -> dict[str, float]:
    """Return {task: mean score over the seeds} of a complete trial."""
    scores: dict[str, list[float]] = {}
    for step, run in enumerate(sweep.runs(trial.number, trial.params)):
        scores.setdefault(run.task, []).append(trial.intermediate_values[step])
    return {task: sum(values) / len(values) for task, values in scores.items()}


def table(sweep: Sweep, trials: list[FrozenTrial]) -> bytes:
    """Return the trials as CSV: number, state, score, settings, and the score of each run."""
    stream = io.StringIO()
    runs = [f"{run.task} n{run.trajectories} seed{run.seed}" for run in sweep.runs(0, {})]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["trial", "state", "score", *sweep.space, *runs, "broke"])
    for trial in trials:
        row: list[Any] = [trial.number, trial.state.name.lower(), trial.value]
        row += [settled(trial.params.get(name)) for name in sweep.space]
        row += [trial.intermediate_values.get(step) for step in range(len(runs))]
        writer.writerow(["" if value is None else value for value in [*row, trial.user_attrs.get("broke")]])
    return stream.getvalue().encode()


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
