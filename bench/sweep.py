"""Sweeps over a method's settings with Optuna: what a trial is, how it is pruned, and the study that all workers share.

A trial is one setting; its score is the mean final normalised score over all (task, seed) of the sweep, each an
ordinary run record below ``<out>/sweeps/<name>/``, under the label of its trial. Any number of workers, on any machines
that share that folder, take trials from the study (see `bench.sweep_worker`).
"""

import json
import os
import shlex
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, WilcoxonPruner
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.study import Study
from optuna.trial import FrozenTrial

from algorithms import build
from bench.config import RunConfig, check_name
from bench.errors import UserError
from bench.files import writing
from bench.record import SWEEPS
from bench.seeding import TUNING_SEEDS
from bench.sweep_space import Space, contains
from bench.tasks import get_task

P_PRUNED = 0.1  # a trial that lies behind the best with a smaller one-sided p is pruned


@dataclass(frozen=True)
class Sweep:
    """One sweep as the user asks for it.

    Attributes:
        name: its folder and its study.
        algorithm: the method, or ``file.py:Class``.
        cells: (task, number of trajectories), at least one.
        seeds: run seeds, `TUNING_SEEDS` or more: tables never use them.
        space: {setting: what it may be}.
        preset: which budgets.
        variant: named set of settings.
        settings: settings that are the same in every trial.
        demonstrations: id of a Minari dataset instead of the default store.
        out: folder of all runs.
        storage: a file, or the URL of a database; None for a journal in the sweep's folder.
    """

    name: str
    algorithm: str
    cells: tuple[tuple[str, int], ...]
    seeds: tuple[int, ...]
    space: Space
    preset: str
    variant: str | None
    settings: Mapping[str, Any]
    demonstrations: str | None
    out: Path
    storage: str | None = None

    def __post_init__(self) -> None:
        check_name("name", self.name, also="+")
        if low := [seed for seed in self.seeds if seed < TUNING_SEEDS]:
            raise UserError(f"seed {low[0]} may be a table's; a sweep's seeds are {TUNING_SEEDS} and up")

    @property
    def folder(self) -> Path:
        """Where the sweep keeps its records, its journal and its figures."""
        return self.out / SWEEPS / self.name

    def identity(self) -> dict[str, Any]:
        """Return what makes this sweep this sweep: with anything else, its trials could not be compared."""
        return {
            "algorithm": self.algorithm,
            "cells": [list(cell) for cell in self.cells],
            "seeds": list(self.seeds),
            "space": {name: distribution_to_json(one) for name, one in self.space.items()},
            "preset": self.preset,
            "variant": self.variant,
            "settings": dict(self.settings),
            "demonstrations": self.demonstrations,
        }

    def settings_for(self, task: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings of a trial's runs on a task: the fixed ones, and the swept ones that the task uses."""
        chosen = {**self.settings, **{name: settled(value) for name, value in values.items()}}
        idle = build(self.algorithm, task, self.preset, self.variant, chosen)[1].idle(get_task(task))
        return {key: value for key, value in chosen.items() if key in self.settings or key not in idle}

    def runs(self, number: int, values: Mapping[str, Any]) -> list[RunConfig]:
        """Return the runs of a trial, in the order of their steps in the study."""
        common: dict[str, Any] = {"variant": self.variant, "demonstrations": self.demonstrations}
        return [
            RunConfig(
                self.algorithm,
                task,
                size,
                seed,
                self.preset,
                settings=self.settings_for(task, values),
                label=f"t{number:04d}",
                **common,
            )
            for seed in self.seeds
            for task, size in self.cells
        ]

    def tuned(self) -> list[dict[str, Any]]:
        """Return the settings that the tasks are tuned to, as far as they lie in the space: what is to be beaten."""
        found = []
        for task, _ in self.cells:
            settings = build(self.algorithm, task, self.preset, self.variant, self.settings)[1]
            values = {name: getattr(settings, name) for name in self.space}
            if contains(self.space, values) and values not in found:
                found.append(values)
        return found

    def flags(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Return {task: its ``--set`` flags} of a setting."""
        return {
            task: " ".join(
                "--set " + shlex.quote(f"{key}={value if isinstance(value, str) else json.dumps(value)}")
                for key, value in self.settings_for(task, values).items()
            )
            for task, _ in self.cells
        }


def settled(value: Any) -> Any:
    """Return a drawn value as it is used: a number of four digits, which a person can copy."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


class Behind(BasePruner):
    """Prunes a trial that cannot catch up with the best one, or that lies behind it run by run.

    Runs are pairs, for all trials have the same tasks and seeds. Wilcoxon's signed-rank test uses that, but needs four
    pairs to decide at `P_PRUNED` and does not look at how far behind a trial is. So a trial is also pruned when its
    mean would stay below the best's even if all its other runs did as well as any run of their task and seed did, or
    as the expert; that takes one or two runs where a setting ruins a method, and never errs while this bound holds.

    Args:
        runs: number of runs of a trial; its scores are reported at the steps 0 to runs - 1.
    """

    def __init__(self, runs: int):
        self.runs = runs
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            self._wilcoxon = WilcoxonPruner(p_threshold=P_PRUNED)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return whether the trial is to be pruned."""
        try:
            best = study.best_value
        except ValueError:  # no trial is complete
            return False
        top = dict.fromkeys(range(self.runs), 1.0)
        for other in study.get_trials(deepcopy=False):
            for step, score in other.intermediate_values.items():
                if step in top:
                    top[step] = max(top[step], score)
        reachable = sum((top | trial.intermediate_values).values()) / self.runs
        return reachable < best or self._wilcoxon.prune(study, trial)


def open_study(sweep: Sweep) -> Study:
    """Return the sweep's study, begun if it is new.

    Raises:
        UserError: the storage cannot be used, or holds a sweep of the same name over something else.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = _storage(sweep)
    study = optuna.create_study(
        storage=storage,
        study_name=sweep.name,
        direction="maximize",
        load_if_exists=True,
        pruner=Behind(len(sweep.seeds) * len(sweep.cells)),
    )
    there, here = study.user_attrs.get("sweep"), sweep.identity()
    if there is None:
        study.set_user_attr("sweep", here)
    elif there != here:
        what = next(key for key in here if there.get(key) != here[key])
        raise UserError(
            f"the sweep {sweep.name} is there with other {what} ({there.get(what)}, here {here[what]}); "
            "choose another --name"
        )
    return study


def _storage(sweep: Sweep) -> BaseStorage:
    where = sweep.storage or str(sweep.folder / "journal.log")
    if "://" not in where:
        path = Path(where)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _mend(path)
            return JournalStorage(JournalFileBackend(where))
    from sqlalchemy.exc import SQLAlchemyError

    # Workers wait for each other's turn at a file of SQLite's.
    patient = {"connect_args": {"timeout": 60}} if where.startswith("sqlite") else {}
    try:
        return RDBStorage(where, engine_kwargs=patient)
    except (ImportError, SQLAlchemyError) as error:
        raise UserError(f"--storage {where}: {str(error).splitlines()[0]}") from None


_RECORD = b'{"op_code":'
"""How every line of a journal begins."""


def _mend(journal: Path) -> None:
    """Cut off half a line at the journal's end, which a full disk leaves and behind which nothing could be read."""
    lock = JournalFileSymlinkLock(str(journal))
    lock.acquire()
    try:
        content = journal.read_bytes() if journal.exists() else b""
        if content[: len(_RECORD)] != _RECORD[: len(content)]:
            raise UserError(f"--storage {journal} is no journal of a sweep; a database is named as sqlite:///{journal}")
        if content and not content.endswith(b"\n"):
            os.truncate(journal, content.rfind(b"\n") + 1)
    finally:
        lock.release()


def default_name(algorithm: str, tasks: list[str], space: Space) -> str:
    """Return a sweep's name from what it is about."""
    return f"{algorithm.rpartition(':')[2]}-{'+'.join(tasks)}-{'+'.join(space)}"
