"""What both benchmarks share: the limit that physics sets, where it was measured, tables in Markdown."""

import datetime
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

from bench.envs.mujoco import STATE, MujocoVectorEnv, Simulator
from bench.errors import UserError

Rows = Sequence[tuple[NDArray, NDArray]]


class Limit:
    """Physics alone: one MjData per row, and the time of `mj_step` and nothing else.

    Where the task observes contact forces, `mj_rnePostConstraint` is part of its physics.
    """

    def __init__(self, env: MujocoVectorEnv):
        """Make the simulators."""
        self.model, self.frame_skip, self.contact_forces = env._model, env.frame_skip, env.contact_forces
        self.simulators = [Simulator(self.model, env.derived, env.contact_forces) for _ in range(env.num_envs)]

    def advance(self, rows: Rows) -> float:
        """Advance all rows in place, as the environment's own `_advance` does; return the CPU seconds of physics."""
        for simulator, (state, _) in zip(self.simulators, rows, strict=True):
            mujoco.mj_setState(self.model, simulator.data, state, STATE)
        start = time.process_time()
        for simulator in self.simulators:
            mujoco.mj_step(self.model, simulator.data, self.frame_skip)
            if self.contact_forces:
                mujoco.mj_rnePostConstraint(self.model, simulator.data)
        seconds = time.process_time() - start
        for simulator, (state, derived) in zip(self.simulators, rows, strict=True):
            mujoco.mj_getState(self.model, simulator.data, state, STATE)
            if simulator.derived:
                np.concatenate(simulator.derived, out=derived)
        return seconds


def processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def origin(*packages: str) -> str:
    """Return date, machine and versions in one line."""
    versions = ", ".join(f"{package} {version(package)}" for package in ("mujoco", "torch", "numpy", *packages))
    return f"{datetime.date.today()}, {processor()}, Python {platform.python_version()}, {versions}"


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """Return rows {column: cell} as a table in Markdown, numbers to the right; a missing cell is a dash."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    cells = [columns] + [[row.get(column, "–") for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = [
        "| "
        + " | ".join(
            cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in cells
    ]
    rule = "|" + "|".join("-" * (w + 1) + ("-" if i == 0 else ":") + "" for i, w in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def command_line(main: Callable[[], None]) -> None:
    """Run a script; what the user can put right is one line and exit code 2."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
