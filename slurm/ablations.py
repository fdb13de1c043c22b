"""Which runs show what each ingredient of MGAIL's recipe is worth: one taken away at a time, the rest as tuned."""

from collections.abc import Callable, Sequence
from typing import Any

from algorithms import resolve
from algorithms.mgail_settings import MGAILConfig
from bench.config import RunConfig
from bench.errors import UserError, unknown
from bench.seeding import TUNING_SEEDS
from bench.tasks import get_task
from slurm.grid import longest_first

SEEDS = tuple(range(TUNING_SEEDS, TUNING_SEEDS + 3))
GAIL_AIDED = "cloned-averaged"

Change = Callable[[MGAILConfig], dict[str, Any]]


def _updates(config: MGAILConfig, factor: float) -> dict[str, Any]:
    """Return settings with so many times the updates on the same environment steps."""
    steps = max(round(config.env_steps_per_iteration / factor), config.num_envs)
    iterations = round(config.iterations * config.env_steps_per_iteration / steps)
    return {"env_steps_per_iteration": steps, "iterations": iterations}


def _on_policy(config: MGAILConfig) -> dict[str, Any]:
    """Return Algorithm 1 to the letter: a pass acts whole segments and uses them once."""
    steps = config.num_envs * config.horizon
    iterations = max(round(config.iterations * config.env_steps_per_iteration / steps), 1)
    return {"segments": "on_policy", "env_steps_per_iteration": steps, "iterations": iterations}


FAR = 1e9  # a bound that bounds nothing
ABLATIONS: dict[str, tuple[str, Change]] = {
    "replay": ("recorded actions instead of the current policy's", lambda config: {"segments": "replay"}),
    "on-policy": ("Algorithm 1 to the letter, on the same environment steps", _on_policy),
    "old-segments": ("anchors from the whole buffer", lambda config: {"segment_age": config.buffer_size}),
    "young-segments": ("anchors from the last 1,600 steps", lambda config: {"segment_age": 1600}),
    "no-penalty": ("D without gradient penalty", lambda config: {"gradient_penalty": 0.0}),
    "steep": ("D's slope free up to one", lambda config: {"discriminator_slope": 1.0}),
    "unweighted": ("f's errors not weighed by how far a coordinate moves", lambda config: {"model_weighted": False}),
    "dropout": ("D with dropout instead", lambda config: {"gradient_penalty": 0.0, "discriminator_dropout": 0.25}),
    "old-agent": ("D's agent half from the whole buffer", lambda config: {"discriminator_age": config.buffer_size}),
    "young-agent": ("D's agent half from the last 3,200 steps", lambda config: {"discriminator_age": 3200}),
    "adjoint-clip": ("adjoints no longer than 10", lambda config: {"adjoint_clip": 10.0}),
    "no-gradient-clip": ("gradients of any length", lambda config: {"gradient_clip": FAR}),
    "no-correction-clip": ("anchors corrected without bound", lambda config: {"correction_clip": FAR}),
    "horizon-1": ("no adjoint: the cost of the next step alone", lambda config: {"horizon": 1}),
    "horizon-third": ("a third of the horizon", lambda config: {"horizon": max(config.horizon // 3, 2)}),
    "horizon-triple": ("three times the horizon", lambda config: {"horizon": 3 * config.horizon}),
    "batch-half": ("half as many segments a step", lambda config: {"batch_size": config.batch_size // 2}),
    "narrow-model": ("f half as wide", lambda config: {"model_width": config.model_width // 2}),
    "raw": ("the last weights, not their average", lambda config: {"average": 0.0}),
    "pull": ("the learner pulled back to its average", lambda config: {"pull": 0.002}),
    "no-decay": ("step sizes that stay", lambda config: {"final_rate": 1.0}),
    "policy-rate-double": ("the policy's steps doubled", lambda config: {"policy_rate": 2 * config.policy_rate}),
    "policy-rate-half": ("the policy's steps halved", lambda config: {"policy_rate": config.policy_rate / 2}),
    "updates-half": ("half the updates an environment step", lambda config: _updates(config, 0.5)),
    "updates-double": ("twice the updates an environment step", lambda config: _updates(config, 2.0)),
    "sigma-half": ("half the action noise", lambda config: {"sigma": config.sigma / 2}),
    "sigma-double": ("twice the action noise", lambda config: {"sigma": 2 * config.sigma}),
    "paper-cost": ("the paper's cost D instead of -log(1 - D)", lambda config: {"objective": "paper"}),
    "mixed-starts": ("every other episode from a demonstrated state", lambda config: {"starts": "mixed"}),
    "matched": ("D's agent rows of its expert rows' times", lambda config: {"discriminator_matched": True}),
    "critic": ("a critic's cost to go behind every segment", lambda config: {"critic": True}),
    "cloned": ("behavioural cloning first", lambda config: {"init": "bc"}),
}
"""{label: (what is changed, the settings that change it)}."""


def ablations(
    labels: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    algorithms: Sequence[str] | None = None,
    trajectories: Sequence[int] | None = None,
    seeds: Sequence[int] | None = None,
    **common: Any,
) -> tuple[RunConfig, ...]:
    """Return the runs of ablations, and of what they stand beside, longest first.

    That is what they are taken from, cloning alone, and GAIL with MGAIL's aids (`GAIL_AIDED`).

    Args:
        labels: of `ABLATIONS` (default: all); what would change nothing on a task, or is so already, is left out.
        tasks: default: Hopper.
        algorithms: MGAIL's names (default: mgail-basic).
        trajectories: dataset sizes (default: each task's smallest).
        seeds: run seeds (default: `SEEDS`, which no table uses).
        **common: further fields of every `RunConfig`; `settings` are under the ablations'.

    Raises:
        UserError: an unknown name, or a method that is not MGAIL's.
    """
    for label in labels or ():
        if label not in ABLATIONS:
            raise unknown("ablation", label, tuple(ABLATIONS))
    if common.pop("label", None) or common.pop("variant", None):
        raise UserError("--ablations labels its runs itself: leave --label and --variant out")
    settings = common.pop("settings", {})
    found: list[RunConfig] = []
    for task in map(get_task, tasks or ["hopper"]):
        for size in trajectories or task.trajectories[:1]:
            variations: list[tuple[str, str | None, dict[str, Any]]] = [("bc", None, {})]
            aids = {"init": "bc", "average": MGAILConfig.build().average}
            variations.append(("gail-trpo", GAIL_AIDED, aids))
            for algorithm in algorithms or ["mgail-basic"]:
                variations += _of_method(algorithm, task.name, labels, settings, common.get("preset", "quick"))
            found += [
                RunConfig(name, task.name, size, seed, label=label, settings=changed, **common)
                for seed in seeds or SEEDS
                for name, label, changed in variations
            ]
    return longest_first(found)


def _of_method(
    algorithm: str, task: str, labels: Sequence[str] | None, settings: dict[str, Any], preset: str
) -> list[tuple[str, str | None, dict[str, Any]]]:
    """Return (algorithm, label, settings) of the whole recipe and of each ablation that changes something."""
    config = resolve(algorithm, task, preset, overrides=settings)[1]
    if not isinstance(config, MGAILConfig):
        raise UserError(f"--ablations are of MGAIL's recipe, and {algorithm} is not MGAIL")
    whole = config.model_dump()
    variations: list[tuple[str, str | None, dict[str, Any]]] = [(algorithm, None, dict(settings))]
    for label in labels or ABLATIONS:
        change = ABLATIONS[label][1](config)
        idle = config.model_copy(update=change).idle(get_task(task))
        if not change.keys() & idle and any(whole[key] != value for key, value in change.items()):
            variations.append((algorithm, label, settings | change))
    return variations
