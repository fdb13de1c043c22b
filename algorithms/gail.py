"""GAIL (Ho & Ermon 2016; the paper's eq. 3-5): a discriminator gives the reward, a policy gradient follows it.

D(s, a) is the probability that a pair comes from the *agent* (see `algorithms.discriminator`); the agent minimises
E[log D] - lambda H(pi). One iteration: act, train D on the batch, turn D into rewards, let the generator improve.
"""

import copy
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor
from torch.nn.functional import one_hot

from algorithms.average import follow
from algorithms.baseline import Baseline, BaselineConfig
from algorithms.bc import pretrain, set_normalisers
from algorithms.controls import LEARNED, NEEDS_DEMONSTRATIONS, signal_field
from algorithms.discriminator import Discriminator, reward
from algorithms.likelihood import distribution
from algorithms.normalize import set_mixed_scale
from algorithms.reinforce import Reinforce, ReinforceConfig
from algorithms.rollout import Collector, Rollout
from algorithms.trpo import TRPO, TRPOConfig
from bench.algorithm import AlgorithmConfig, Metrics
from bench.policy import Policy
from bench.seeding import Streams
from bench.tasks import TASKS, Task
from bench.trajectory import Demonstrations


class GAILConfig(TRPOConfig, ReinforceConfig):
    """Settings of GAIL, its discriminator and its two generators."""

    generator: Literal["trpo", "reinforce"] = Field("trpo", description="how the policy follows the reward [paper]")
    steps: int = Field(100, gt=0, description="steps of every environment in an iteration [ours: per task]")
    hidden: tuple[PositiveInt, ...] = Field(
        (100, 100), description="hidden ReLU layers of the policy [paper; width H&E]"
    )
    reward_form: Literal["positive", "negative"] = Field(
        "positive", description="-log D (>= 0, favours long episodes) or log(1 - D) (<= 0, short ones) [H&E: per task]"
    )
    entropy: float = Field(0.0, ge=0, description="lambda, weight of the causal entropy [paper; H&E: 0]")
    init: Literal["random", "bc"] = Field("random", description="first policy [paper: random]")
    init_steps: int = Field(1000, gt=0, description="minibatch steps of behavioural cloning with init=bc [ours]")
    average: float = Field(
        0.0, ge=0, lt=1, description="share of the run that the reported average of weights recalls; 0: last weights"
    )
    discriminator_hidden: tuple[PositiveInt, ...] = Field(
        (100, 100), description="hidden ReLU layers of D [paper; width H&E]"
    )
    discriminator_learning_rate: float = Field(1e-3, gt=0, description="Adam step size of D [ours: tuned]")
    discriminator_steps: int = Field(10, gt=0, description="minibatch steps of D in an iteration [ours: tuned]")
    discriminator_batch: int = Field(256, gt=0, description="agent pairs, and as many expert pairs, a minibatch [ours]")
    gradient_penalty: float = Field(1.0, ge=0, description="weight of D's slopes above `discriminator_slope` [ours]")
    discriminator_slope: float = Field(1.0, gt=0, description="slope of D's logit that goes uncharged [ours]")
    signal: Literal["learned", "frozen", "plus", "minus"] = signal_field("a D that stays random, +1 or -1")

    def idle(self, task: Task) -> set[str]:
        """Return what changes nothing: settings of the other generator, of a D or of cloning where there is none."""
        other = ReinforceConfig if self.generator == "trpo" else TRPOConfig
        idle = set(other.model_fields) - set(BaselineConfig.model_fields)
        if self.signal != LEARNED:
            training = ("learning_rate", "steps", "batch")
            idle |= {"gradient_penalty", "discriminator_slope", *(f"discriminator_{name}" for name in training)}
        if self.signal in CONSTANT_REWARDS:
            idle |= {"reward_form", "discriminator_hidden"}
        if not self.gradient_penalty:
            idle |= {"discriminator_slope"}
        return idle | ({"init_steps"} if self.init == "random" else set())

    @model_validator(mode="after")
    def _controls_look_at_no_demonstration(self) -> Self:
        if self.signal != LEARNED and self.init == "bc":
            raise ValueError(NEEDS_DEMONSTRATIONS.format(self.signal, "init=bc"))
        return self


CONSTANT_REWARDS = {"plus": 1.0, "minus": -1.0}


_CLASSIC: dict[str, Any] = {
    "num_envs": 25,
    "steps": 200,
    "iterations": 80,
    "fisher_samples": 1000,
    "value_learning_rate": 3e-3,
    "value_epochs": 3,
    "discriminator_steps": 5,
}
_MUJOCO: dict[str, Any] = {"num_envs": 32, "value_epochs": 3}


def _for_tasks(
    classic: Mapping[str, Any], mujoco: Mapping[str, Any], **per_task: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return {task: settings}, a task's own over its family's."""
    families = {"classic": classic, "mujoco": mujoco}
    return {
        name: {"reward_form": task.reward_form, **families[task.family], **per_task.get(name, {})}
        for name, task in TASKS.items()
    }


# Tuned on run seeds from 1000 on. `iterations` is the budget.
TRPO_TUNED = _for_tasks(
    _CLASSIC,
    # Small batches: on Hopper they arrive in half of the environment steps.
    _MUJOCO | {"steps": 64, "iterations": 500, "fisher_samples": 500, "discriminator_batch": 128},
    cartpole={"iterations": 40},
    mountaincar={"gae_lambda": 1.0},  # a bootstrapped advantage hardly ever credits the first push
    hopper={"iterations": 400},
)
REINFORCE_TUNED = _for_tasks(
    _CLASSIC
    | {"steps": 100, "iterations": 150, "policy_learning_rate": 3e-3, "discriminator_steps": 2, "entropy": 0.03},
    _MUJOCO | {"steps": 320, "iterations": 60},  # untuned
    cartpole={"steps": 80, "iterations": 100, "entropy": 0.0},
)
# Ho & Ermon's budgets: 300 iterations of 5,000 steps, 500 of 50,000, Humanoid 1,500 of 50,000.
PAPER = _for_tasks(
    {"num_envs": 25, "steps": 200, "iterations": 300},
    {"num_envs": 50, "steps": 1000, "iterations": 500},
    humanoid={"iterations": 1500},
)
SMOKE: dict[str, Any] = {"iterations": 2, "num_envs": 8, "steps": 25}


class GAIL:
    """Generative adversarial imitation learning with a TRPO or a REINFORCE generator."""

    Config: ClassVar[type[AlgorithmConfig]] = GAILConfig

    def __init__(self, config: GAILConfig, task: Task, demonstrations: Demonstrations, env: Any, streams: Streams):
        self.config = config
        self.env_steps = 0
        self.updates = 0
        init = streams.torch("init")
        self.learner = Policy.for_env(env, hidden=config.hidden, generator=init)
        if config.signal == LEARNED:
            set_normalisers(self.learner, demonstrations)
        if config.init == "bc":
            pretrain(self.learner, demonstrations, config.init_steps, streams.torch("pretraining"))
        self.policy = copy.deepcopy(self.learner) if config.average else self.learner
        size = demonstrations.observations.shape[1]
        baseline = Baseline(config, size, init, streams.torch("baseline"))
        self.generator: TRPO | Reinforce = (
            TRPO(self.learner, baseline, config, streams.torch("fisher"))
            if config.generator == "trpo"
            else Reinforce(self.learner, baseline, config)
        )
        self.discriminator = Discriminator(
            size + self.learner.action_size,
            config.discriminator_hidden,
            config.discriminator_learning_rate,
            config.gradient_penalty,
            init,
            streams.torch("discriminator"),
            slope=config.discriminator_slope,
        )
        self.batches = streams.torch("batches")
        self.collector = Collector(env, self.learner, streams.integer("environment"), streams.torch("actions"))
        self.demonstrations = demonstrations

    def iterate(self) -> Metrics:
        """Act for a batch, train D on it, and improve the policy under D's reward."""
        learned = self.config.signal == LEARNED
        if self.env_steps == 0 and self.config.init == "random":
            groups = [self._collect().observations] + ([self.demonstrations.observations] if learned else [])
            for policy in {self.learner, self.policy}:
                set_mixed_scale(policy, *groups)
        rollout = self._collect()
        agent = self._inputs(rollout.x.flatten(0, 1), torch.from_numpy(rollout.executed).flatten(0, 1))
        metrics = self._train_discriminator(agent) if learned else {}
        rewards = self._rewards(rollout, agent)
        metrics |= {"reward": float(rewards.mean())} | self.generator.update(rollout, rewards)
        if self.config.average:
            follow(self.policy, self.learner, self.config.average, self.updates)
            self.updates += 1
        return metrics

    def _collect(self) -> Rollout:
        rollout = self.collector.collect(self.config.steps)
        self.env_steps += rollout.steps
        return rollout

    def _inputs(self, x: Tensor, actions: Tensor) -> Tensor:
        """Return what D sees: normalised observations [M, S] beside executed actions, one-hot or normalised."""
        if self.learner.discrete:
            return torch.cat([x, one_hot(actions, self.learner.action_size)], -1)
        return torch.cat([x, (actions - self.learner.action_mean) / self.learner.action_std], -1)

    def _train_discriminator(self, agent: Tensor) -> Metrics:
        expert_x = self.learner.normalise(self.demonstrations.observations.copy())
        expert = self._inputs(expert_x, torch.tensor(self.demonstrations.actions))
        size = self.config.discriminator_batch
        metrics: Metrics = {}
        for _ in range(self.config.discriminator_steps):
            agent_rows = torch.randint(len(agent), (size,), generator=self.batches)
            expert_rows = torch.randint(len(expert), (size,), generator=self.batches)
            metrics = self.discriminator.update(agent[agent_rows], expert[expert_rows])
        return metrics

    @torch.no_grad()
    def _rewards(self, rollout: Rollout, agent: Tensor) -> NDArray[np.float64]:
        """Return the rewards [T, N], D's or a constant; the causal entropy enters as -lambda log pi(a|s) of a step."""
        if self.config.signal in CONSTANT_REWARDS:
            rewards = torch.full(rollout.rewards.shape, CONSTANT_REWARDS[self.config.signal])
        else:
            rewards = reward(self.discriminator.logits(agent), self.config.reward_form).view(rollout.rewards.shape)
        if self.config.entropy:
            current = distribution(self.learner, self.learner(rollout.x))
            rewards = rewards - self.config.entropy * current.log_prob(rollout.actions)
        return rewards.double().numpy()

    def act(self, observations: NDArray) -> NDArray:
        """Return deterministic actions, mean or argmax: [N, S] -> [N, A] or [N]."""
        return self.policy.act(observations)

    def state_dict(self) -> dict[str, Any]:
        """Return networks, optimisers, generators and simulators."""
        parts = ("learner", "policy", "generator", "discriminator", "collector")
        state = {name: getattr(self, name).state_dict() for name in parts}
        return state | {"batches": self.batches.get_state(), "env_steps": self.env_steps, "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for name in ("learner", "policy", "generator", "discriminator", "collector"):
            getattr(self, name).load_state_dict(state[name])
        self.batches.set_state(state["batches"])
        self.env_steps, self.updates = state["env_steps"], state["updates"]
