"""What is to be done for a grid: how every run stands, what it will cost, and whether it may be run at all."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import loop
from bench.config import RunConfig
from bench.errors import UserError
from bench.files import read_json
from bench.progress import duration
from bench.record import State, check_same, state, tidy
from bench.tasks import get_task
from slurm import forecast


@dataclass(frozen=True)
class Planned:
    """One run of a grid.

    Attributes:
        config: the run.
        state: how it stands.
        seconds: forecast of its core seconds, or None where nothing like it was measured.
        estimate: the same, or a guess: relative to the others of its grid.
    """

    config: RunConfig
    state: State
    seconds: float | None
    estimate: float

    def __str__(self) -> str:
        cost = "no forecast" if self.seconds is None else duration(self.seconds)
        return f"{self.config!s:<60} {self.state:<10} {cost}"


def plan(configs: Sequence[RunConfig], out: Path) -> list[Planned]:
    """Return the runs, longest first.

    Raises:
        UserError: an unknown method or setting, or a folder below `out` holds a run of other settings.
    """
    resolved: dict[tuple[Any, ...], Any] = {}
    found: list[tuple[RunConfig, State, float | None]] = []
    refused: list[UserError] = []
    speed = forecast.measured(out)
    for config in configs:
        key = (config.algorithm, config.task, config.preset, config.variant, str(config.settings))
        if key not in resolved:
            resolved[key] = loop.resolve(config)[1]
        settings, directory = resolved[key], config.directory(out)
        how = state(directory)
        if how != "missing":
            asked = loop.identity(config, settings) | {"preset": config.preset}
            # Of the demonstrations, only `prepare` can tell.
            asked["demonstrations"] = read_json(directory / "config.json").get("demonstrations")
            try:
                check_same(directory, asked)
            except UserError as error:
                refused.append(error)
        found.append((config, how, forecast.seconds(config, settings.iterations, speed)))
    _refuse(refused, len(configs))
    estimates = forecast.estimates((config, seconds) for config, _, seconds in found)
    planned = [Planned(*one, estimate) for one, estimate in zip(found, estimates, strict=True)]
    return sorted(planned, key=lambda one: one.estimate, reverse=True)


def prepare(planned: Iterable[Planned], out: Path) -> None:
    """Make sure that the demonstrations of all runs can be had, and are those of the runs that are there already.

    Makes the default datasets where they are missing, and shows how that goes; tidies finished runs.
    """
    from datasets.demonstrations import load_demonstrations

    runs = list(planned)
    largest: dict[tuple[str, str | None, bool], int] = {}
    for one in runs:
        largest[_stock(one.config)] = max(largest.get(_stock(one.config), 0), one.config.trajectories)
    digests = {
        key: load_demonstrations(get_task(key[0]), count, 0, dataset_id=key[1], show=True).digest
        for key, count in largest.items()
    }
    refused: list[UserError] = []
    for one in runs:
        if one.state == "missing":
            continue
        directory = one.config.directory(out)
        if one.state == "finished":
            tidy(directory)
        there = read_json(directory / "config.json").get("demonstrations") or {}
        if (there.get("id"), there.get("digest")) != (
            one.config.demonstrations,
            digests[_stock(one.config)],
        ):
            refused.append(
                UserError(
                    f"{directory} holds a run on other demonstrations; choose another --out or --label, or remove it"
                )
            )
    _refuse(refused, len(runs))


def _stock(config: RunConfig) -> tuple[str, str | None, bool]:
    """Return which trajectories a run is handed some of: those of every store, or also those it was extended by."""
    return config.task, config.demonstrations, config.trajectories > get_task(config.task).stored


def _refuse(refused: Sequence[UserError], total: int) -> None:
    if len(refused) > 1:
        raise UserError(f"{len(refused)} of {total} runs are refused; the first: {refused[0]}")
    if refused:
        raise refused[0]
