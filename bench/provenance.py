"""What produced a run, as far as it can be told: recorded, never a reason to refuse."""

import os
import platform
import shlex
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("mgail-bench", "torch", "numpy", "gymnasium", "mujoco", "minari")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def commit() -> str | None:
    """Return the commit of this project's checkout, with ``-dirty`` if tracked files differ from it."""
    # Not `git describe --dirty`: it writes the index, and killed in it, leaves a lock that stops every git command.
    git = ["git", "--no-optional-locks"]
    asked = (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
    try:
        head, changed = (
            subprocess.run([*git, *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=True).stdout
            for words in asked
        )
    except (OSError, subprocess.CalledProcessError):  # no git here, or no checkout
        return None
    return head.strip() + ("-dirty" if changed else "")


def command() -> str:
    """Return this process's command; of absolute paths, which are private, what lies below here or the last part."""
    here = Path.cwd()

    def shown(word: str) -> str:
        head, equals, value = word.rpartition("=")
        path = Path(value)
        if not path.is_absolute():
            return word
        return f"{head}{equals}{path.relative_to(here) if path.is_relative_to(here) else path.name}"

    return shlex.join(["bench", *map(shown, sys.argv[1:])])


def provenance() -> dict[str, Any]:
    """Return versions, commit, host and command of this process."""
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "commit": commit(),
        "host": {"name": platform.node(), "machine": platform.machine(), "cores": os.cpu_count()},
        "command": command(),
    }
