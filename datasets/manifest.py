"""The manifest of the shipped experts, read without torch."""

import json
from pathlib import Path
from typing import Any

from bench.errors import UserError

EXPERTS = Path(__file__).parent / "experts"


def read_manifest(folder: Path = EXPERTS) -> dict[str, Any]:
    """Return ``{"schema": 1, "experts": {task: record}}``; no experts where the file does not exist yet.

    A record holds ``stochastic``, ``deterministic`` and ``random`` (each ``mean``, ``std``, ``returns``), the sha256
    ``digest`` of the weights, and how they were made (``command``, ``commit``, ``versions``, ``seed``, ``settings``,
    ``env_steps``, ``wall_s``).
    """
    path = folder / "manifest.json"
    if not path.exists():
        return {"schema": 1, "experts": {}}
    try:
        manifest = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a readable manifest ({error})") from None
    if not isinstance(manifest, dict) or manifest.get("schema") != 1 or "experts" not in manifest:
        raise UserError(f"{path} is not a manifest of schema 1")
    return manifest
