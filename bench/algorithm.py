"""The contract between the harness and a method. A user's own method fulfils it in one file."""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.errors import UserError
from bench.tasks import Task

Metrics = dict[str, float]


class AlgorithmConfig(BaseModel):
    """Settings of a method: frozen, typed, unknown keys and infinite numbers refused.

    Each default's description says where it comes from: ``[paper]``, ``[code]`` (the MGAIL authors' release), ``[H&E]``
    (Ho & Ermon 2016) or ``[ours: why]``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    iterations: int = Field(100, gt=0, description="passes through the algorithm's loop (the budget) [ours: per task]")
    num_envs: int = Field(1, gt=0, description="environments stepped together [ours: speed]")

    @classmethod
    def build(cls, *layers: Mapping[str, Any]) -> Self:
        """Return the settings with later layers over earlier ones; a `UserError` names what is wrong."""
        merged: dict[str, Any] = {}
        for layer in layers:
            merged |= layer
        unknown = sorted(set(merged) - set(cls.model_fields))
        if unknown:
            raise UserError(f"unknown setting {', '.join(unknown)}; known: {', '.join(sorted(cls.model_fields))}")
        try:
            return cls(**merged)
        except ValidationError as error:
            first = error.errors()[0]
            if not first["loc"]:  # of several settings together
                raise UserError(first["msg"].removeprefix("Value error, ")) from None
            name = ".".join(str(part) for part in first["loc"])
            raise UserError(f"setting {name}={first.get('input')!r}: {first['msg']}") from None

    def idle(self, task: Task) -> set[str]:
        """Return the settings that change nothing on this task with the others as they are: nobody may set them."""
        return set()


@runtime_checkable
class Algorithm(Protocol):
    """A learner, constructed as ``Class(config, task, demonstrations, env, streams)``; there is no other way in.

    It never fetches, logs or writes, and it does not look at the task's reward, which `env.step` returns and whole
    demonstrated trajectories hold. `Config` is its settings class.
    """

    Config: ClassVar[type[AlgorithmConfig]]
    env_steps: int
    policy: torch.nn.Module
    """The policy that is evaluated and saved (declared: the last one or an average); see `bench.policy.Policy`."""

    def iterate(self) -> Metrics:
        """Do one pass through the loop of the algorithm box; the same metric keys at every call."""
        ...

    def act(self, observations: NDArray) -> NDArray:
        """Return deterministic actions, mean or argmax: [N, S] -> [N, A] or [N]."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that an exact resume needs: networks, optimisers, buffers, generators, simulators."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        ...
