"""Behavioural cloning: maximum likelihood on the demonstrated pairs, no environment.

Protocol [H&E]: the pairs are split 70/30, Adam with step size 1e-3 on batches of 128 maximises the likelihood of the
70, and the snapshot with the best score on the 30 is the result. Other methods start there with ``init: bc``
(`pretrain`).
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn import functional

from bench.algorithm import AlgorithmConfig, Metrics
from bench.policy import Policy
from bench.seeding import Streams
from bench.tasks import Task
from bench.trajectory import Demonstrations

MINIMUM_STD = 1e-6  # a coordinate that varies less is only centred
LOG_STD_RANGE = (-5.0, 2.0)  # of the policy's deviation in normalised action units: a likelihood must not grow forever

# Per-task settings. The protocol is the same everywhere and stops by its own validation score, so there is one budget.
TUNED: dict[str, dict[str, Any]] = {}
PAPER: dict[str, dict[str, Any]] = {}
SMOKE: dict[str, Any] = {"iterations": 2}


class BCConfig(AlgorithmConfig):
    """Settings of behavioural cloning."""

    iterations: int = Field(
        20, gt=0, description="times `steps` minibatch steps [ours: the validation score levels off]"
    )
    steps: int = Field(100, gt=0, description="minibatch steps in an iteration [ours]")
    validate_every: int = Field(20, gt=0, description="minibatch steps between snapshots [ours]")
    hidden: tuple[PositiveInt, ...] = Field((100, 100), description="hidden ReLU layers of the policy [H&E]")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's step size [H&E]")
    batch: int = Field(128, gt=0, description="pairs in a minibatch [H&E]")
    training_share: float = Field(0.7, gt=0, le=1, description="share of the pairs that is trained on [H&E]")

    def idle(self, task: Task) -> set[str]:
        """Return what changes nothing: no environment is stepped."""
        return {"num_envs"}


def negative_log_likelihood(policy: Policy, x: Tensor, actions: Tensor) -> Tensor:
    """Return -log pi(a | s) of every pair, in nats.

    Args:
        policy: the policy.
        x: [M, S] observations as its network sees them.
        actions: [M] int64, or [M, A] in the policy's normalised action units, where the density is taken.
    """
    output = policy(x)
    if policy.discrete:
        return functional.cross_entropy(output, actions, reduction="none")
    z = (actions - output) * torch.exp(-policy.log_std)
    return (0.5 * z.square() + policy.log_std + 0.5 * math.log(2 * math.pi)).sum(-1)


def set_normalisers(policy: Policy, demonstrations: Demonstrations) -> None:
    """Fix the policy's observation and action normalisers to the demonstrations' mean and standard deviation."""
    pairs = [("observation", demonstrations.observations)]
    if not policy.discrete:
        pairs.append(("action", demonstrations.actions))
    for name, array in pairs:
        values = torch.tensor(array, dtype=torch.float64)
        std = values.std(0, correction=0)
        policy.get_buffer(f"{name}_mean").copy_(values.mean(0))
        policy.get_buffer(f"{name}_std").copy_(torch.where(std > MINIMUM_STD, std, torch.ones_like(std)))


class Cloner:
    """Maximum likelihood with a validation split; `policy` is trained, `best` is the snapshot to keep."""

    def __init__(
        self,
        policy: Policy,
        demonstrations: Demonstrations,
        generator: torch.Generator,
        learning_rate: float = 1e-3,
        batch: int = 128,
        training_share: float = 0.7,
    ):
        """Split the pairs at random.

        Args:
            policy: is trained in place; its normalisers stay as they are.
            demonstrations: the pairs.
            generator: of the split and the minibatches.
            learning_rate: Adam's step size.
            batch: pairs in a minibatch; all of them if there are fewer.
            training_share: of the pairs. A single pair is both trained on and validated on.
        """
        self.policy, self.generator = policy, generator
        x = policy.normalise(demonstrations.observations.copy())
        actions = torch.tensor(demonstrations.actions)
        if not policy.discrete:
            actions = (actions - policy.action_mean) / policy.action_std
        order = torch.randperm(len(x), generator=generator)
        cut = max(1, round(training_share * len(x)))
        train, held = order[:cut], order[cut:] if cut < len(x) else order
        self.training = x[train], actions[train]
        self.validation = x[held], actions[held]
        self.batch = min(batch, cut)
        self.optimizer = torch.optim.Adam(policy.parameters(), learning_rate, fused=True)
        self.best_loss = math.inf
        self.best: dict[str, Tensor] = {}
        self.validate()

    def step(self) -> float:
        """Take one minibatch step and return its loss, the mean negative log-likelihood in nats."""
        x, actions = self.training
        if self.batch < len(x):
            rows = torch.randperm(len(x), generator=self.generator)[: self.batch]
            x, actions = x[rows], actions[rows]
        loss = negative_log_likelihood(self.policy, x, actions).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if not self.policy.discrete:
            with torch.no_grad():
                self.policy.log_std.clamp_(*LOG_STD_RANGE)
        return loss.item()

    @torch.no_grad()
    def validate(self) -> float:
        """Return the loss on the held-out pairs; the best policy so far is kept."""
        loss = negative_log_likelihood(self.policy, *self.validation).mean().item()
        if loss < self.best_loss:
            self.best_loss = loss
            self.best = {name: value.detach().clone() for name, value in self.policy.state_dict().items()}
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return networks, optimiser and generator; the split follows from the seed."""
        return {
            "policy": self.policy.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "best_loss": self.best_loss,
            "best": self.best,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.policy.load_state_dict(state["policy"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.best_loss = state["best_loss"]
        self.best = dict(state["best"])


def pretrain(
    policy: Policy, demonstrations: Demonstrations, steps: int, generator: torch.Generator, validate_every: int = 20
) -> float:
    """Clone the demonstrations into a policy of another method (``init: bc``) and return the validation loss.

    The policy's normalisers must be set; they stay as they are. It ends as the snapshot with the best validation score.
    """
    cloner = Cloner(policy, demonstrations, generator)
    for step in range(1, steps + 1):
        cloner.step()
        if step % validate_every == 0:
            cloner.validate()
    policy.load_state_dict(cloner.best)
    return cloner.best_loss


class BC:
    """Behavioural cloning; `env` only tells the sizes of the spaces and is never stepped."""

    Config: ClassVar[type[AlgorithmConfig]] = BCConfig

    def __init__(self, config: BCConfig, task: Task, demonstrations: Demonstrations, env: Any, streams: Streams):
        self.config = config
        self.env_steps = 0
        self.policy = Policy.for_env(env, hidden=config.hidden, generator=streams.torch("init"))
        set_normalisers(self.policy, demonstrations)
        learner = Policy(**self.policy.arguments)
        learner.load_state_dict(self.policy.state_dict())
        self.cloner = Cloner(
            learner,
            demonstrations,
            streams.torch("batches"),
            config.learning_rate,
            config.batch,
            config.training_share,
        )

    def iterate(self) -> Metrics:
        """Take `steps` minibatch steps; the declared policy is the best snapshot so far."""
        total = validation = 0.0
        for step in range(1, self.config.steps + 1):
            total += self.cloner.step()
            if step % self.config.validate_every == 0 or step == self.config.steps:
                validation = self.cloner.validate()
        self.policy.load_state_dict(self.cloner.best)
        return {
            "training_loss": total / self.config.steps,
            "validation_loss": validation,
            "best_validation_loss": self.cloner.best_loss,
        }

    def act(self, observations: NDArray) -> NDArray:
        """Return deterministic actions, mean or argmax: [N, S] -> [N, A] or [N]."""
        return self.policy.act(observations)

    def state_dict(self) -> dict[str, Any]:
        """Return all that an exact resume needs."""
        return self.cloner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.cloner.load_state_dict(state)
        self.policy.load_state_dict(self.cloner.best)
