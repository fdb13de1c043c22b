"""Which runs share a job."""

import random

import pytest

from slurm.pack import pack, wall


def lengths(jobs: list[list[tuple[int, float]]]) -> list[list[float]]:
    return [[seconds for _, seconds in job] for job in jobs]


def test_a_job_has_a_run_for_each_core_and_tiny_ones_by_the_dozen() -> None:
    runs = [(i, 5000.0) for i in range(5)] + [(i, 10.0) for i in range(5, 105)]
    jobs = pack(runs, cores=2, most=99, target=100.0)
    assert lengths(jobs[:3]) == [[5000, 5000], [5000, 5000], [5000, 10]]
    assert [len(job) for job in jobs[3:]] == [20, 20, 20, 20, 19]  # 2 cores for 100 s
    assert sorted(run for job in jobs for run, _ in job) == list(range(105))


def test_the_longest_come_first() -> None:
    runs = [(i, random.Random(0).expovariate(0.01)) for i in range(50)]
    flat = [seconds for job in pack(runs, cores=4, most=99, target=50.0) for _, seconds in job]
    assert flat == sorted(flat, reverse=True)


@pytest.mark.parametrize("most", [1, 2, 3, 7])
def test_where_an_array_takes_few_jobs_they_get_longer(most: int) -> None:
    jobs = pack([(i, 100.0) for i in range(100)], cores=2, most=most, target=100.0)
    assert len(jobs) <= most
    assert sum(map(len, jobs)) == 100


def test_runs_of_no_known_length_get_a_core_each() -> None:
    assert [len(job) for job in pack([(i, 1800.0) for i in range(10)], cores=4, most=99)] == [4, 4, 2]
    assert pack([], cores=4, most=1) == []


def test_wall_time_of_jobs_that_run_at_the_same_time() -> None:
    jobs = [[(0, 4.0), (1, 4.0)], [(2, 3.0)], [(3, 1.0), (4, 1.0), (5, 1.0)]]
    assert wall(jobs, cores=2, at_once=1) == 4 + 3 + 2
    assert wall(jobs, cores=2, at_once=2) == 5
