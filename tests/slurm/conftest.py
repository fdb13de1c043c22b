import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


def why_not() -> str | None:
    """Return why there is no SLURM to test with, or None."""
    conf = os.environ.get("SLURM_CONF", "")
    if not Path(conf).is_file():
        return 'no SLURM: start one with tests/slurm/cluster.py start and eval "$(tests/slurm/cluster.py env)"'
    if shutil.which("sbatch") is None:
        return "no SLURM: sbatch is not on the PATH"
    ping = subprocess.run(["scontrol", "ping"], capture_output=True, text=True, check=False)
    return None if ping.returncode == 0 else f"no SLURM: {ping.stdout.strip() or ping.stderr.strip()}"


@pytest.fixture
def cluster() -> Iterator[Path]:
    """The folder of the cluster of cluster.py, for one test at a time; REQUIRE_SLURM=1 turns a skip into a failure."""
    why = why_not()
    if why is not None:
        pytest.fail(why) if os.environ.get("REQUIRE_SLURM") == "1" else pytest.skip(why)
    folder = Path(os.environ["SLURM_CONF"]).parent
    with (folder / "tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
