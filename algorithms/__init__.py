"""The methods, one per file, as a dict you can read; a new one is one file and one line here.

A user's own method needs not even that: ``--algorithm file.py:Class`` (see `bench.algorithm`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from algorithms import bc, controls, gail, mgail, mgail_tuned
from bench.algorithm import AlgorithmConfig
from bench.config import PRESETS
from bench.errors import UserError, unknown
from bench.policy import import_attribute
from bench.tasks import get_task


@dataclass(frozen=True)
class Entry:
    """A method under its name.

    Attributes:
        algorithm: the class.
        settings: what the name stands for.
        tuned: {task: settings} of the presets `quick` and `full`.
        paper: {task: settings}, the published budgets; none are published for MGAIL.
        smoke: settings with which a run takes about a second.
        variants: {name: settings}, for ``--variant``.
    """

    algorithm: type[Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    tuned: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    paper: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    smoke: Mapping[str, Any] = field(default_factory=dict)
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def layers(self, task: str, preset: str, variant: str | None) -> list[Mapping[str, Any]]:
        """Return the settings that name, task, preset and variant stand for, weakest first."""
        layers = [self.settings, self.tuned.get(task, {})]
        if preset == "paper":
            layers.append(self.paper.get(task, {}))
        if variant is not None:
            if variant not in self.variants:
                raise unknown("variant", variant, tuple(self.variants) or ("none of this method",))
            layers.append(self.variants[variant])
        if preset == "smoke":
            layers.append(self.smoke)
        return layers


ALGORITHMS: dict[str, Entry] = {
    "bc": Entry(bc.BC, {}, bc.TUNED, bc.PAPER, bc.SMOKE),
    "gail-reinforce": Entry(
        gail.GAIL,
        {"generator": "reinforce"},
        gail.REINFORCE_TUNED,
        gail.PAPER,
        gail.SMOKE,
        variants=controls.FROZEN | controls.CONSTANT,
    ),
    "gail-trpo": Entry(
        gail.GAIL,
        {"generator": "trpo"},
        gail.TRPO_TUNED,
        gail.PAPER,
        gail.SMOKE,
        variants=controls.FROZEN | controls.CONSTANT,
    ),
    "mgail-basic": Entry(
        mgail.MGAIL,
        {"forward_model": "basic"},
        mgail_tuned.BASIC_TUNED,
        smoke=mgail_tuned.SMOKE,
        variants=mgail_tuned.VARIANTS,
    ),
    "mgail-advanced": Entry(
        mgail.MGAIL,
        {"forward_model": "advanced"},
        mgail_tuned.ADVANCED_TUNED,
        smoke=mgail_tuned.SMOKE,
        variants=mgail_tuned.VARIANTS,
    ),
}


def build(
    name: str,
    task: str,
    preset: str = "full",
    variant: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> tuple[type[Any], AlgorithmConfig]:
    """Return the class and its settings for a name of `ALGORITHMS` or a ``file.py:Class``, idle overrides and all.

    Raises:
        UserError: unknown name, preset, variant or setting (it lists what is known), a value out of range, or an
            override that would make it another method than its name says.
    """
    overrides = overrides or {}
    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    if name in ALGORITHMS:
        entry = ALGORITHMS[name]
    elif ":" in name:
        entry = Entry(import_attribute(name))
        config = getattr(entry.algorithm, "Config", None)
        if not (isinstance(config, type) and issubclass(config, AlgorithmConfig)):
            raise UserError(f"{name} needs a class attribute Config, a subclass of bench.algorithm.AlgorithmConfig")
    else:
        raise UserError(f"unknown algorithm {name!r}; known: {', '.join(ALGORITHMS)}, or your own as file.py:Class")
    for key in entry.settings.keys() & overrides.keys():
        if overrides[key] != entry.settings[key]:
            raise UserError(f"{name}: setting {key} is {entry.settings[key]}, as the name says; choose another method")
    try:
        return entry.algorithm, entry.algorithm.Config.build(*entry.layers(task, preset, variant), overrides)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None


def resolve(
    name: str,
    task: str,
    preset: str = "full",
    variant: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> tuple[type[Any], AlgorithmConfig]:
    """Return what `build` does; an override that would change nothing on this task is a `UserError`, too."""
    cls, settings = build(name, task, preset, variant, overrides)
    if idle := sorted(settings.idle(get_task(task)) & (overrides or {}).keys()):
        raise UserError(f"{name}: setting {', '.join(idle)} would change nothing on {task} with the other settings")
    return cls, settings
