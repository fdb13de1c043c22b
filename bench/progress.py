"""Live progress on a terminal; elsewhere a calm line now and then."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

CALM_S = 10.0  # seconds between two lines where nobody watches live


def duration(seconds: float) -> str:
    """Return seconds in words a person reads: 42 s, 7 min, 3.2 h, 2.1 days."""
    for limit, unit, name in ((90, 1, "s"), (90 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            digits = 1 if name == "h" else 0
            return f"{seconds / unit:.{digits}f} {name}"
    return f"{seconds / 86400:.1f} days"


class Display:
    """Shows how a number of runs go: one bar with the time left for all, and one line per worker.

    Args:
        weights: relative cost of each run; the bar and the time left go by it.
        lanes: number of workers.
        what: the plural of what is counted.
    """

    def __init__(self, weights: Sequence[float], lanes: int, what: str = "runs"):
        self._what = what
        self.console = Console(stderr=True, highlight=False)
        self._live = self.console.is_terminal
        self._weights = list(weights)
        self._done = [0.0] * len(weights)
        self._before: dict[int, float] = {}  # what was done of a run when it was taken up again
        self._ended = 0
        self._begun = self._spoken = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=True,
            disable=not self._live,
        )
        self._total: TaskID | None = None
        if len(weights) > 1:
            self._total = self._progress.add_task("all", total=1.0, note="")
        self._texts = [""] * lanes
        self._lanes = [self._progress.add_task("", total=1.0, note="", visible=False) for _ in range(lanes)]

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self.console.print(text, markup=False, soft_wrap=True)

    def start(self, lane: int, text: str) -> None:
        """A worker begins a run."""
        self._texts[lane] = text
        self._progress.reset(self._lanes[lane], description=text, note="starting", visible=True)

    def _know(self, run: int) -> None:
        """Make room for a run that was not foreseen: a sweep grows while others ask for more of it."""
        more = run + 1 - len(self._weights)
        self._weights += [1.0] * more
        self._done += [0.0] * more

    def update(self, lane: int, run: int, fraction: float, note: str) -> None:
        """A worker has done so much of its run."""
        self._know(run)
        self._before.setdefault(run, fraction)
        self._done[run] = fraction
        eta = self._eta()
        shown = note if self._total is not None else note + eta  # with several runs, it stands beside their total
        self._progress.update(self._lanes[lane], completed=fraction, note=shown)
        self._refresh(f"{self._texts[lane]}: {note}", eta)

    def end(self, lane: int, run: int, text: str, important: bool = False) -> None:
        """A run ended, well or (`important`) badly."""
        self._know(run)
        self._done[run] = 1.0
        self._ended += 1
        self._progress.update(self._lanes[lane], visible=False)
        if important:
            self.say(text)
        self._refresh(text, self._eta())

    def elsewhere(self, run: int) -> None:
        """A run was done before, or by somebody else."""
        self._know(run)
        self._before[run] = self._done[run] = 1.0
        self._ended += 1

    def left(self) -> float | None:
        """Return the seconds left by what was done so far, or None before anything can be said."""
        total, done = sum(self._weights), self._work()
        new = done - sum(self._weights[run] * fraction for run, fraction in self._before.items())
        elapsed = time.monotonic() - self._begun
        return None if new <= 0.002 * total or elapsed < 2 else elapsed * (total - done) / new

    def _work(self) -> float:
        return sum(weight * part for weight, part in zip(self._weights, self._done, strict=True))

    def _eta(self) -> str:
        left = self.left()
        return "" if left is None else f", about {duration(left)} left"

    def _refresh(self, latest: str, eta: str) -> None:
        counts = f"{self._ended} of {len(self._weights)} {self._what}"
        if self._total is not None:
            self._progress.update(self._total, completed=self._work() / sum(self._weights), note=counts + eta)
        now = time.monotonic()
        if not self._live and now - self._spoken > CALM_S:
            self._spoken = now
            many = len(self._weights) > 1
            self.say(f"{counts}{eta}; {latest}" if many else f"{latest}{eta}")
