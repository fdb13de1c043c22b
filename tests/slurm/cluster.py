#!/usr/bin/env python3
"""A real SLURM on this machine, for the tests: munged, slurmctld and a slurmd for each of a few make-believe nodes.

    tests/slurm/cluster.py install | start | stop | env [--folder DIR] [--nodes N] [--cpus N] [--array N]

`install` takes Debian's packages (as root); `start` needs them only. Everything is kept in one folder, nothing of the
machine's is touched. Programs find the cluster by one variable: eval "$(tests/slurm/cluster.py env)". There is no
accounting (no database), so that sacct knows nothing. Needs nothing but Python's library.
"""

import argparse
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue")
CONF = """\
ClusterName=mgailbench
SlurmctldHost={host}
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
# A requeued job waits for cred_expire (default: 120 s), which has to outlast the end of its old self, and then for the
# scheduler (default: up to 60 s).
AuthInfo=socket={folder}/munge.socket,cred_expire=12
KillWait=5
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
# A node that is gone is noticed soon.
SlurmdTimeout=10
ReturnToService=2
# No cgroups: processes are found by their parents, and nothing holds a job to its cores.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MaxArraySize={array}
EnforcePartLimits=ALL
# The nodes are this machine under several names, and as large as we say.
SlurmdParameters=config_overrides
{nodes}
# Jobs of `urgent` push those of `main` back into the queue, which hear of it by a signal and have GraceTime to act.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 GraceTime=20 MaxTime=UNLIMITED
PartitionName=urgent Nodes=ALL PriorityTier=9 PreemptMode=OFF
"""


def say(text: str) -> None:
    """Tell whoever started us."""
    print(f"cluster.py: {text}", file=sys.stderr, flush=True)  # noqa: T201


def await_(what: str, seconds: float, done: Callable[[], bool]) -> None:
    """Wait until it is done, or end with a line that says what is not."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            sys.exit(f"cluster.py: {what} did not happen within {seconds:.0f} s")
        time.sleep(0.1)


def succeeds(*command: str) -> bool:
    """Run a command silently."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}  # no pipes, which a daemon would keep open
    return subprocess.run(command, check=False, **quiet).returncode == 0


def output(*command: str) -> str:
    """Return what a command prints."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def missing() -> list[str]:
    """Return which of SLURM's programs are not there."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


def install() -> None:
    """Install Debian's packages, unless they are there; no daemon of the machine's own is started."""
    if not missing():
        return
    if os.getuid() != 0 or shutil.which("apt-get") is None:
        sys.exit(f"cluster.py: {', '.join(missing())} not found, and only root can install it, by apt-get")
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        get = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
        packages = ["munge", "slurm-wlm", "slurm-client"]
        for command in ([*get, "update"], [*get, "install", "--no-install-recommends", *packages]):
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"cluster.py: {' '.join(command)} failed: {done.stderr.strip().splitlines()[-1:]}")
    finally:
        if ours:
            policy.unlink()


def pid_of(path: Path, name: str) -> int | None:
    """Return the daemon's process id, if it lives."""
    try:
        pid = int(path.read_text())
        fields = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(") ")
    except (OSError, ValueError):
        return None
    return pid if fields[0].startswith(name) and fields[2][0] not in "ZX" else None


def daemons(folder: Path, nodes: int) -> dict[str, tuple[Path, list[str]]]:
    """Return {name: (pid file, command)} in the order of starting."""
    munge = ["--key-file", "munge.key", "--socket", "munge.socket", "--pid-file", "munged.pid"]
    munge += ["--log-file", "munged.log", "--seed-file", "munged.seed"]
    absolute = [part if part.startswith("--") else str(folder / part) for part in munge]
    return {
        "munged": (folder / "munged.pid", ["munged", *absolute]),
        "slurmctld": (folder / "slurmctld.pid", ["slurmctld"]),
        **{f"slurmd-n{i}": (folder / f"slurmd-n{i}.pid", ["slurmd", "-N", f"n{i}"]) for i in range(1, nodes + 1)},
    }


def configuration(folder: Path, nodes: int, cpus: int, port: int, array: int) -> str:
    """Return what slurm.conf is to hold."""
    host = socket.gethostname().partition(".")[0]
    at = f"NodeHostname={host} NodeAddr={host} CPUs={cpus} RealMemory=65536"
    lines = [f"NodeName=n{i} Port={port + i} {at}" for i in range(1, nodes + 1)]
    user = output("id", "-un").strip()
    return CONF.format(host=host, port=port, user=user, folder=folder, array=array, nodes="\n".join(lines))


def start(folder: Path, nodes: int, cpus: int, port: int, array: int) -> None:
    """Start what is not running; a cluster that runs keeps its configuration."""
    if missing():
        sys.exit(f"cluster.py: {', '.join(missing())} not found; install it as root: {sys.argv[0]} install")
    (folder / "state").mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    key = folder / "munge.key"
    if not key.exists():
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
    conf = folder / "slurm.conf"
    if pid_of(folder / "slurmctld.pid", "slurmctld") is not None:  # as it was configured
        nodes = conf.read_text().count("\nNodeName=")
    else:
        conf.write_text(configuration(folder, nodes, cpus, port, array))
    for name, (pid, command) in daemons(folder, nodes).items():
        if pid_of(pid, name.partition("-")[0]) is None and not succeeds(*command):
            sys.exit(f"cluster.py: {' '.join(command)} failed; its log is in {folder}")
        if name == "munged":
            await_("munged", 10, lambda: succeeds("munge", "-n", "-S", str(folder / "munge.socket")))
        if name == "slurmctld":
            await_("slurmctld", 30, lambda: succeeds("scontrol", "ping"))
    well = ("idle", "mixed", "allocated", "completing")
    await_("the nodes", 30, lambda: sum(map(output("sinfo", "-hNp", "main", "-o", "%T").split().count, well)) == nodes)


def stop(folder: Path, nodes: int) -> None:
    """End all jobs and every daemon."""
    running = {n: p for n, (path, _) in daemons(folder, nodes).items() if (p := pid_of(path, n.partition("-")[0]))}
    if "slurmctld" in running:
        subprocess.run(["scancel", "--user", output("id", "-un").strip()], check=False, capture_output=True)
        await_("the end of all jobs", 30, lambda: not output("squeue", "-h"))
    for name, pid in reversed(running.items()):
        os.kill(pid, signal.SIGTERM)
        await_(f"the end of {name}", 30, lambda pid=pid: not Path(f"/proc/{pid}").exists())


def main() -> None:
    """Carry out the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("install", "start", "stop", "env"))
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / f"mgail-bench-slurm-{os.getuid()}")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--cpus", type=int, default=2, help="of each node")
    parser.add_argument("--port", type=int, default=17920, help="the first of 1 + NODES")
    parser.add_argument("--array", type=int, default=6, help="MaxArraySize")
    args = parser.parse_args()
    folder = args.folder.resolve()
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    os.environ["PATH"] += os.pathsep + "/usr/sbin"
    if args.what == "install":
        install()
    elif args.what == "start":
        start(folder, args.nodes, args.cpus, args.port, args.array)
        say(f"{args.nodes} nodes are up")
    elif args.what == "stop":
        stop(folder, args.nodes)
    else:
        print(f"export SLURM_CONF={folder / 'slurm.conf'}")  # noqa: T201


if __name__ == "__main__":
    main()
