"""The SLURM executor: jobs of several runs each, as one array, through submitit. Submitting returns at once.

One array holds all jobs of a launch, so that its cap on parallelism is the launch's: where SLURM takes fewer jobs in an
array, they get more runs each. A job that is preempted, runs into its time limit or loses its node goes back into the
queue, and its runs go on from their checkpoints.
"""

import contextlib
import io
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.config import RunConfig
from bench.errors import UserError
from slurm.job import Job
from slurm.launches import ANSWER_S, FOLDER, Launch, new_name, write_launch

OURS = ("job_name", "array", "signal", "output", "error", "open_mode", "ntasks", "nodes", "requeue")
"""Settings of sbatch that the executor itself relies on."""

_FLAGS = ("partition", "account", "time", "cores", "max_parallel")

Jobs = Sequence[Sequence[tuple[RunConfig, float]]]
"""For every job its runs and their core seconds, longest first."""


@dataclass(frozen=True)
class Cluster:
    """How jobs are asked for.

    Attributes:
        partition: where they run (default: the cluster's).
        account: who pays (default: the user's).
        time: time limit of a job in minutes; runs that take longer go on in the job's next turn.
        cores: cores of a job, each of which does one run at a time.
        max_parallel: jobs at the same time.
        setup: lines of shell that a job begins with.
        settings: further settings of sbatch, such as ``{"mem": "8G"}``.
    """

    partition: str | None = None
    account: str | None = None
    time: int = 240
    cores: int = 8
    max_parallel: int = 50
    setup: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("time", "cores", "max_parallel"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise UserError(f"{name.replace('_', '-')} should be an integer from 1 up, not {value!r}")
        for name, value in self.settings.items():
            flag = name.replace("_", "-")
            own = {"cpus_per_task": "cores"}.get(name, name)
            if own in _FLAGS:
                raise UserError(f"--slurm {flag}: should be given as --{own.replace('_', '-')}")
            if name in OURS:
                raise UserError(f"--slurm {flag}: is set by the executor itself")
            if value is False:
                raise UserError(f"--slurm {flag}: should be left out, not false")

    @property
    def warning_s(self) -> int:
        """Seconds before the time limit at which a job is told to checkpoint: time for an iteration of every run."""
        return min(120, self.time * 20)

    def parameters(self, name: str) -> dict[str, Any]:
        """Return what submitit makes the head of the batch script of."""
        known = {"partition": self.partition, "account": self.account, "setup": list(self.setup) or None}
        return {
            **{key: value for key, value in known.items() if value is not None},
            "job_name": name,
            "time": self.time,
            "cpus_per_task": self.cores,
            "srun_args": [f"--cpus-per-task={self.cores}"],  # srun does not take it over from sbatch
            "array_parallelism": self.max_parallel,
            "signal_delay_s": self.warning_s,
            "stderr_to_stdout": True,
            "wckey": None,
            "additional_parameters": {"requeue": True, **self.settings},
        }


def read_cluster(file: Path | None, given: Mapping[str, Any], settings: Mapping[str, Any]) -> Cluster:
    """Return the settings of a TOML file, with those given on the command line in their places.

    Raises:
        UserError: the file cannot be read, or a setting is none.
    """
    content: dict[str, Any] = {}
    if file is not None:
        try:
            content = tomllib.loads(file.read_text())
        except OSError as error:
            raise UserError(f"cannot read {file}: {error.strerror or error}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{file} is not readable TOML: {error}") from None
    values = {key.replace("-", "_"): value for key, value in content.items()}
    for key, value in values.items():
        if isinstance(value, dict) or (isinstance(value, list) and key != "setup"):
            raise UserError(f"{file}: {key} should be a number, a text or true, not {value!r}")
    own = {key: values.pop(key) for key in list(values) if key in (*_FLAGS, "setup")}
    if "setup" in own:
        if not isinstance(own["setup"], list):
            raise UserError(f"{file}: setup should be a list of lines of shell, not {own['setup']!r}")
        own["setup"] = tuple(map(str, own["setup"]))
    extra = {key.replace("-", "_"): value for key, value in settings.items()}
    return Cluster(**own | {key: value for key, value in given.items() if value is not None}, settings=values | extra)


def largest_array() -> int:
    """Return how many jobs SLURM takes in one array; its default where there is no SLURM to ask."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        ask = ["scontrol", "show", "config"]
        done = subprocess.run(ask, capture_output=True, text=True, timeout=ANSWER_S, check=False)
        for line in done.stdout.splitlines():
            key, _, value = line.partition("=")
            if key.strip() == "MaxArraySize":
                return max(1, int(value))  # 0: no arrays, hence one job
    return 1001


def script(jobs: Jobs, out: Path, cluster: Cluster) -> str:
    """Return the batch script that `submit` would hand to SLURM."""
    from submitit.slurm.slurm import _make_sbatch_string

    folder = out.resolve() / FOLDER / "NAME"
    command = f"{shlex.quote(sys.executable)} -u -m submitit.core._submit {shlex.quote(str(folder))}"
    count = len(jobs) if len(jobs) > 1 else None
    return str(_make_sbatch_string(command, folder, map_count=count, **cluster.parameters("NAME")))


def check_here() -> None:
    """Raise a `UserError` if there is no SLURM here."""
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise UserError(
            "--executor slurm: sbatch and srun are not on the PATH; --dry-run shows what would be submitted"
        )


def hand_over(works: Sequence[Callable[[], Any]], folder: Path, cluster: Cluster, name: str) -> str:
    """Hand jobs to SLURM as one array; return its id of that.

    Raises:
        UserError: there is no SLURM here, or it refuses.
    """
    import submitit

    check_here()
    executor = submitit.SlurmExecutor(folder, max_num_timeout=1000)  # each time the runs come further
    executor.update_parameters(**cluster.parameters(name))
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), executor.batch():
            submitted = [executor.submit(work) for work in works]
    except submitit.core.utils.FailedJobError as error:
        lines = [line.removeprefix("sbatch: ").removeprefix("error: ") for line in str(error).strip().splitlines()]
        raise UserError(f"SLURM refuses: {'; '.join(lines) or 'sbatch does not say why'}") from None
    return str(submitted[0].job_id).partition("_")[0]


def submit(jobs: Jobs, out: Path, cluster: Cluster, tracking: str) -> tuple[Launch, str]:
    """Submit jobs; return the launch and SLURM's id of the array.

    Raises:
        UserError: there is no SLURM here, or it refuses.
    """
    out = out.resolve()
    listed = [[(str(config.directory(out).relative_to(out)), seconds) for config, seconds in job] for job in jobs]
    launch = write_launch(out, new_name(), "slurm", listed)
    try:
        works = [Job(job, out, launch.folder, cluster.cores, tracking) for job in jobs]
        return launch, hand_over(works, launch.folder, cluster, launch.name)
    except UserError:
        shutil.rmtree(launch.folder, ignore_errors=True)
        raise
