"""Bias controls: GAIL and MGAIL without demonstrations. They tell how much of a score needs no expert at all.

The setting `signal` says what the policy learns from. With every value but ``learned`` no demonstration is looked at:
D is not trained on them, and they scale neither observations (the agent's own do) nor actions.
MGAIL follows D's slope, and a constant has none: it has the frozen D only.
"""

from typing import Any

from pydantic import Field

LEARNED = "learned"
FROZEN: dict[str, dict[str, Any]] = {"frozen": {"signal": "frozen"}}
CONSTANT: dict[str, dict[str, Any]] = {"plus": {"signal": "plus"}, "minus": {"signal": "minus"}}
NEEDS_DEMONSTRATIONS = "signal={} looks at no demonstration, {} does"


def signal_field(what: str) -> Any:
    """Return the setting's field; its default is left out of records, whose runs are those of before there was one."""
    return Field(
        LEARNED,
        exclude_if=lambda value: value == LEARNED,
        description=f"what the policy learns from: D, or for control {what} [ours: how much needs no expert]",
    )
