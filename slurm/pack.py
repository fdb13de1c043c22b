"""Which runs share a job. Pure functions.

A job takes a few seconds to begin, and its cores are better busy than idle: so it gets at least one run for each of its
cores, and as many more as `target` seconds hold, tiny ones by the dozen.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from slurm.forecast import makespan

JOB_S = 1800.0  # the length of a job to aim at: long beside its start, short beside a queue's patience

Run = TypeVar("Run")


def pack(
    runs: Iterable[tuple[Run, float]], cores: int, most: int, target: float = JOB_S
) -> list[list[tuple[Run, float]]]:
    """Return the runs of every job, longest first; a job's runs are alike, so that its cores end together.

    Args:
        runs: the runs, each with its core seconds.
        cores: cores of a job.
        most: jobs at most; if need be they become longer than `target`. A job that runs into its time limit goes on in
            the next one, so that nothing is lost by it.
        target: wall seconds of a job to aim at.
    """
    longest_first = sorted(runs, key=lambda run: run[1], reverse=True)
    while len(jobs := _fill(longest_first, cores, target)) > most:
        target *= 1.25
    return jobs


def _fill(runs: Sequence[tuple[Run, float]], cores: int, target: float) -> list[list[tuple[Run, float]]]:
    """Return jobs that are filled one after the other."""
    jobs: list[list[tuple[Run, float]]] = []
    load = 0.0
    for run in runs:
        if not jobs or (len(jobs[-1]) >= cores and load + run[1] > cores * target):
            jobs.append([])
            load = 0.0
        jobs[-1].append(run)
        load += run[1]
    return jobs


def wall(jobs: Iterable[Sequence[tuple[Run, float]]], cores: int, at_once: int) -> float:
    """Return the wall seconds of all jobs, so many at once."""
    lengths = [makespan([seconds for _, seconds in job], cores) for job in jobs]
    return makespan(sorted(lengths, reverse=True), at_once)
