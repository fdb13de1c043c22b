"""What is tuned of MGAIL's settings per task, on run seeds of 1000 and up, and the variants of them.

`iterations` is the budget. TUNING.md has what was tried.
"""

from typing import Any

from algorithms.controls import FROZEN

_CLASSIC: dict[str, Any] = {
    "batch_size": 32,
    "discriminator_rate": 1e-3,
    "gradient_clip": 100.0,
    "model_width": 64,
    "policy_rate": 5e-4,
    "scale": "mixture",
}
_MUJOCO: dict[str, Any] = {
    "discriminator_slope": 0.3,  # with one, D tells all agent states from the expert's at once, and learns no more
    "horizon": 30,
    "iterations": 8800,
    "policy_rate": 4e-4,
}
# A gait is lost within a few strides and takes seconds to fall: what a segment does not show must cost something. The
# learner swings while the average of its weights walks: it is pulled there. A policy that walks is soon all that the
# last steps hold: D and the critic remember longer.
_WALKING: dict[str, Any] = _MUJOCO | {
    "buffer_size": 200_000,
    "critic": True,
    "critic_age": 100_000,
    "critic_weight": 2.0,
    "decay": "exponential",
    "discriminator_age": 100_000,
    "discriminator_matched": True,
    "gamma": 0.995,
    "iterations": 24_000,
    "policy_rate": 3e-4,
    "pull": 2e-3,
    "sigma": 0.2,
    "starts": "mixed",
}
BASIC_TUNED: dict[str, dict[str, Any]] = {
    "cartpole": _CLASSIC | {"entropy": 0.03, "horizon": 60, "iterations": 400, "model_rate": 3e-3, "model_steps": 3},
    "acrobot": _CLASSIC
    | {
        "entropy": 0.1,
        "discriminator_slope": 0.1,
        "horizon": 30,
        "iterations": 250,
        "model_rate": 3e-3,
        "model_steps": 5,
        "model_width": 200,
        "temperature": 0.5,
    },
    # The expert's actions turn on small differences near the valley's bottom: a D of slope one cannot tell them apart,
    # and an action changes the velocity by so little that f must be trained well to know of it. Such states are rare,
    # so steps are long, the policy is kept from making up its mind before, and D's slopes at later states, which lead
    # to the next best swing, weigh little.
    "mountaincar": _CLASSIC
    | {
        "adjoint_clip": 2.0,
        "batch_size": 64,
        "correction_clip": 2.0,
        "discriminator_hidden": (64, 64),
        "entropy": 0.4,
        "gradient_penalty": 0.0,
        "horizon": 10,
        "iterations": 600,
        "model_rate": 3e-3,
        "model_steps": 5,
        "policy_rate": 2e-3,
        "segment_age": 8000,
    },
    "hopper": _MUJOCO,
    # How it sets out is hard, and soon a small share of the last steps. The smaller its steps, the nearer it settles to
    # where it falls.
    "walker2d": _WALKING | {"batch_size": 128, "critic_growth": 0.33, "discriminator_slope": 1.75, "model_steps": 2},
    "humanoid": _WALKING | {"iterations": 48_000},  # it swings for longer
    "halfcheetah": _MUJOCO | {"horizon": 20, "iterations": 18_500, "sigma": 0.1},
    # The expert itself acts with much noise.
    "ant": _MUJOCO | {"horizon": 20, "iterations": 16_000, "model_steps": 2, "policy_rate": 2e-4},
}
# The GRU model costs several times the basic one at equal width; a narrower one still has more weights.
_GRU_MUJOCO: dict[str, Any] = {"model_width": 64}
_GRU: dict[str, dict[str, Any]] = {
    "cartpole": {},
    "mountaincar": {"model_steps": 3},
    "acrobot": {"model_width": 48, "horizon": 20},
}
ADVANCED_TUNED: dict[str, dict[str, Any]] = {
    task: settings | _GRU.get(task, _GRU_MUJOCO) for task, settings in BASIC_TUNED.items()
}
# The authors' release, as far as it is settings (REPRODUCTION.md, M16, has the rest); it names all that is tuned above.
AUTHORS: dict[str, Any] = {
    "iterations": 20_000,  # there 1e6
    "num_envs": 7,  # seven rollouts of ten steps a policy step, from expert states
    "env_steps_per_iteration": 70,
    "horizon": 10,
    "segments": "on_policy",
    "starts": "expert",
    "turns": 100,
    "warmup_steps": 50_000,
    "buffer_size": 50_000,
    "scale": "demonstrations",
    "memory": "constant",
    "model_width": 100,
    "model_batch": 70,
    "model_rate": 1e-4,
    "model_steps": 1,
    "model_weighted": False,
    "discriminator_hidden": (200, 100),
    "discriminator_batch": 70,
    "discriminator_age": 50_000,
    "discriminator_rate": 1e-3,
    "discriminator_dropout": 0.25,
    "expert_weight": 0.8,
    "gradient_penalty": 0.0,
    "discriminator_slope": 1.0,  # of a penalty that is not there
    "hidden": (100, 50),
    "sigma": 1 / 6,
    "entropy": 0.0,
    "temperature": 1.0,
    "policy_rate": 1e-4,
    "final_rate": 1.0,
    "gradient_clip": 200.0,  # there every entry at 2, of a loss times 0.01
    "adjoint_clip": 1e9,
    "critic": False,
    "gamma": 0.99,
    "decay": "linear",
    "discriminator_matched": False,
    "average": 0.0,
    "pull": 0.0,
}
# Starts of some tasks are demonstrated states, which a control must not see.
VARIANTS = {"authors": AUTHORS, "frozen": FROZEN["frozen"] | {"starts": "task"}}
SMOKE: dict[str, Any] = {"iterations": 2, "warmup_steps": 1600, "buffer_size": 3200, "horizon": 5}
