"""What one run is: its method, its cell of Table 1, its seed, and the folder its record stands in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import UserError, unknown
from bench.tasks import get_task

PRESETS = ("smoke", "quick", "full", "paper")


def check_name(what: str, text: str, also: str = "") -> None:
    """Raise a `UserError` if `text` is not fit to be a folder's name; `also` holds further characters that are."""
    if not re.fullmatch(rf"[A-Za-z0-9_][A-Za-z0-9._{also}-]*", text):
        known = ", ".join(f"'{one}'" for one in f"._{also}")
        raise UserError(f"{what} {text!r} is to be a folder's name: letters, digits, {known} and '-' only")


@dataclass(frozen=True)
class Protocol:
    """How often a run is evaluated: `final` episodes at its end, and on the way `points` times `curve` episodes."""

    final: int = 50
    curve: int = 10
    points: int = 20


PROTOCOL = Protocol()
SMOKE_PROTOCOL = Protocol(final=5, curve=2, points=2)  # proves the plumbing; its results are not results


@dataclass(frozen=True)
class RunConfig:
    """One run as the user asks for it. The method's own settings are resolved from it when the run starts.

    Attributes:
        algorithm: a name of `algorithms.ALGORITHMS`, or ``file.py:Class``.
        task: a name of `bench.tasks.TASKS`.
        trajectories: number of expert trajectories.
        seed: fixes demonstrations, initialisation and environment streams.
        preset: which budgets: smoke, quick, full (the tuned ones, as quick) or paper.
        variant: named set of settings of the method, such as ``authors``.
        settings: single settings that override all others.
        label: gives the run a folder of its own, ``<algorithm>+<label>``; a variant labels itself.
        demonstrations: id of a Minari dataset to use instead of the default store.
    """

    algorithm: str
    task: str
    trajectories: int
    seed: int
    preset: str = "quick"
    variant: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    label: str | None = None
    demonstrations: str | None = None

    def __post_init__(self) -> None:
        get_task(self.task)
        if self.preset not in PRESETS:
            raise unknown("preset", self.preset, PRESETS)
        if self.trajectories < 1:
            raise UserError(f"trajectories={self.trajectories}: at least one is needed")
        if self.seed < 0:
            raise UserError(f"seed={self.seed}: seeds are integers from 0 up")
        if self.algorithm.endswith(".py"):
            raise UserError(f"algorithm {self.algorithm!r} should name its class too: {self.algorithm}:MyClass")
        for what, text in (("label", self.tag), ("algorithm", self.method)):
            if text:
                check_name(what, text)

    @property
    def method(self) -> str:
        """The method's name without a label: the class's own name for ``file.py:Class``."""
        return self.algorithm.rpartition(":")[2]

    @property
    def tag(self) -> str | None:
        """The label; a variant without one is labelled by its own name."""
        return self.label or self.variant

    @property
    def name(self) -> str:
        """The name under which the results stand in tables: ``<algorithm>`` or ``<algorithm>+<label>``."""
        return f"{self.method}+{self.tag}" if self.tag else self.method

    @property
    def protocol(self) -> Protocol:
        """How often this run is evaluated."""
        return SMOKE_PROTOCOL if self.preset == "smoke" else PROTOCOL

    def directory(self, out: Path) -> Path:
        """Return the folder of the run's record below `out`."""
        return out / self.name / self.task / f"n{self.trajectories}" / f"seed{self.seed}"

    def __str__(self) -> str:
        return f"{self.task} n={self.trajectories} {self.name} seed {self.seed}"
