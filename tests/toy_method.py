"""A user's own method in one file, as small as one can be: it walks about in weight space and looks at the task."""

import time
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from bench.algorithm import AlgorithmConfig, Metrics
from bench.policy import Policy
from bench.seeding import Streams
from bench.tasks import Task
from bench.trajectory import Demonstrations


class ToyConfig(AlgorithmConfig):
    """Settings."""

    iterations: int = Field(8, gt=0)
    num_envs: int = Field(2, gt=0)
    step_size: float = Field(0.1, gt=0)
    sleep: float = Field(0.0, ge=0, description="seconds an iteration takes beside its work")
    crash_at: int = Field(-1, description="the iteration that crashes")
    kill_at: int = Field(-1, description="the iteration that kills its process")
    blow_up_at: int = Field(-1, description="the iteration whose weights are not finite")


class Toy:
    """Random steps in weight space, some from a named stream, some from the global generators."""

    Config: ClassVar[type[AlgorithmConfig]] = ToyConfig

    def __init__(self, config: ToyConfig, task: Task, demonstrations: Demonstrations, env: Any, streams: Streams):
        self.config, self.env, self.env_steps, self.done = config, env, 0, 0
        self.policy = Policy.for_env(env, hidden=(4,), generator=streams.torch("init"))
        self.noise = streams.torch("actions")
        self.observations, _ = env.reset(seed=streams.integer("environment"))
        self.first_action = float(np.mean(demonstrations.actions[0]))

    def iterate(self) -> Metrics:
        """Take three steps on the task and one in weight space."""
        if self.done == self.config.crash_at:
            raise ZeroDivisionError("the toy crashed")
        if self.done == self.config.kill_at:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.config.sleep)
        for _ in range(3):
            self.observations, *_ = self.env.step(self.policy.sample(self.observations, self.noise))
            self.env_steps += len(self.observations)
        with torch.no_grad():
            for weights in self.policy.parameters():
                step = torch.randn(weights.shape) + float(np.random.normal())  # noqa: NPY002
                weights += self.config.step_size * (step + torch.randn(weights.shape, generator=self.noise))
                if self.done == self.config.blow_up_at:
                    weights.fill_(float("nan"))
        self.done += 1
        return {"observation": float(self.observations.mean()), "first_action": self.first_action}

    def act(self, observations: NDArray) -> NDArray:
        """Return the policy's deterministic actions."""
        return self.policy.act(observations)

    def state_dict(self) -> dict[str, Any]:
        """Return everything."""
        return {
            "policy": self.policy.state_dict(),
            "noise": self.noise.get_state(),
            "env": self.env.save_state(),
            "observations": self.observations,
            "counts": (self.env_steps, self.done),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore everything."""
        self.policy.load_state_dict(state["policy"])
        self.noise.set_state(state["noise"])
        self.env.restore_state(state["env"])
        self.observations = state["observations"]
        self.env_steps, self.done = state["counts"]
