"""An optional mirror of a run in Weights & Biases. The run's own record is complete without it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.config import RunConfig
from bench.errors import UserError

MODES = ("disabled", "offline", "online")


def check(mode: str) -> None:
    """Raise a `UserError` if runs cannot be mirrored online for want of a key that the server takes."""
    if mode != "online":
        return
    import wandb

    try:
        known = wandb.login(prompt=False)
    except wandb.errors.Error as error:
        raise _refused(mode, error) from error
    if not known:
        raise UserError("--wandb online: no API key is configured; wandb login stores one, --wandb offline needs none")


def _refused(mode: str, error: Exception) -> UserError:
    return UserError(f"--wandb {mode}: {str(error).splitlines()[0]}")


class Tracker:
    """Mirrors rows to Weights & Biases, which is imported only if it is asked for.

    Args:
        mode: disabled, offline or online.
        config: the run; it gives the mirror its name and group.
        directory: the run's folder, below which wandb keeps its files.
        settings: what config.json holds.
    """

    def __init__(self, mode: str, config: RunConfig, directory: Path, settings: Mapping[str, Any]):
        self._run: Any = None
        if mode == "disabled":
            return
        import wandb

        try:
            self._run = wandb.init(
                project="mgail-bench",
                mode="offline" if mode == "offline" else "online",
                name=str(config),
                group=f"{config.task}/n{config.trajectories}",
                job_type=config.name,
                dir=directory,
                config=dict(settings),
                settings=wandb.Settings(silent=True, console="off"),
            )
        except wandb.errors.Error as error:
            raise _refused(mode, error) from error

    def log(self, row: Mapping[str, Any]) -> None:
        """Mirror one row; its environment steps are the x axis."""
        if self._run is not None:
            self._run.log(dict(row))

    def finish(self) -> None:
        """Close the mirror."""
        if self._run is not None:
            self._run.finish()
