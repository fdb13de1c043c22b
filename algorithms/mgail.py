"""MGAIL: model-based generative adversarial imitation learning (Baram et al. 2017, sections 3.2-3.5, Algorithm 1).

A stochastic policy, differentiable sampling, a differentiable forward model f and the exact gradient of the
discriminator D through time. One pass of the loop: act and push into the buffer; train f; train D; walk the
recursion of Algorithm 1 (`algorithms.recursion`) over recorded segments; descend.

What differs from the paper and from the authors' code is listed in REPRODUCTION.md.
"""

from collections.abc import Mapping
from math import nan
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from algorithms.average import follow, pull
from algorithms.bc import pretrain, set_normalisers
from algorithms.controls import LEARNED
from algorithms.critic import STRETCH, Critic
from algorithms.discriminator import Discriminator
from algorithms.forward_models import make_model
from algorithms.heads import GaussianHead, GumbelHead, Head
from algorithms.mgail_settings import MGAILConfig
from algorithms.model_learner import ModelLearner
from algorithms.normalize import set_mixed_scale
from algorithms.recursion import Walk
from algorithms.replay import Segment, SequenceBuffer
from algorithms.step_cost import StepCost
from bench.algorithm import AlgorithmConfig, Metrics
from bench.policy import Policy
from bench.seeding import Streams
from bench.tasks import Task
from bench.trajectory import Demonstrations

_OF_TURNS = ("discriminator_loss", "discriminator_accuracy", "cost", "gradient_norm", "adjoint_norm")
"""Metrics that are NaN in a pass in which D or the policy does not learn."""


class MGAIL:
    """Model-based GAIL on one task."""

    Config: ClassVar[type[AlgorithmConfig]] = MGAILConfig

    def __init__(self, config: MGAILConfig, task: Task, demonstrations: Demonstrations, env: Any, streams: Streams):
        self.config = config
        self.env = env
        self.env_steps = 0
        self.iteration = 0
        init = streams.torch("init")
        self.learner = Policy.for_env(env, hidden=config.hidden, generator=init)
        if config.signal == LEARNED:
            set_normalisers(self.learner, demonstrations)
        self.policy = Policy.for_env(env, hidden=config.hidden, generator=init)
        self.actions = streams.torch("actions")
        self.batches = streams.torch("batches")
        states, actions = len(self.learner.observation_mean), self.learner.action_size
        model_kind = (config.forward_model, states, actions, config.model_width, config.memory)
        self.model = make_model(*model_kind, generator=streams.torch("model"))
        self.discriminator = Discriminator(
            states + actions,
            config.discriminator_hidden,
            config.discriminator_rate,
            config.gradient_penalty,
            streams.torch("discriminator"),
            streams.torch("penalty"),
            config.discriminator_dropout,
            config.expert_weight,
            config.discriminator_slope,
        )
        self.model_learner = ModelLearner(self.model, config.model_rate, config.model_weighted)
        self.critic = (
            Critic(
                states + actions,
                config.gamma,
                config.critic_lambda,
                config.critic_rate,
                task.reward_form,
                streams.torch("critic"),
            )
            if config.critic
            else None
        )
        self.policy_optimiser = torch.optim.Adam(self.learner.network.parameters(), config.policy_rate, fused=True)
        self.buffer = SequenceBuffer(
            max(config.buffer_size, config.warmup_steps), config.num_envs, states, actions, streams.numpy("segments")
        )
        self.demonstrations = demonstrations
        self.expert = self._expert_rows()
        self.walk = Walk(self.learner.network, self.model, self._head())
        self.cost = StepCost(self.discriminator.network, config.objective)
        if config.init == "bc":
            pretrain(self.learner, demonstrations, config.init_steps, streams.torch("pretraining"))
        self.policy.load_state_dict(self.learner.state_dict())
        self.elapsed = np.zeros(config.num_envs, dtype=np.int64)
        self.observations, _ = env.reset(seed=streams.integer("environment"), options={"staggered": True})

    def _head(self) -> Head:
        policy = self.learner
        if policy.discrete:
            return GumbelHead(self.config.temperature)
        policy.log_std.data.fill_(np.log(self.config.sigma)).requires_grad_(False)
        low, high = ((bound - policy.action_mean) / policy.action_std for bound in (policy.low, policy.high))
        return GaussianHead(policy.log_std.exp().detach(), low, high)

    def _encode(self, actions: NDArray) -> Tensor:
        """Return executed actions as D and f see them: one-hot [M, n], or normalised [M, A]."""
        policy = self.learner
        if policy.discrete:
            return one_hot(torch.as_tensor(np.array(actions)), policy.action_size).float()
        return (torch.as_tensor(np.array(actions)) - policy.action_mean) / policy.action_std

    def _expert_rows(self) -> Tensor:
        """Return the demonstrations' pairs as D sees them: [M, S + A]."""
        pairs = self.demonstrations
        return torch.cat([self.learner.normalise(pairs.observations), self._encode(pairs.actions)], -1)

    def iterate(self) -> Metrics:
        """Do one pass of Algorithm 1's outer loop; the first one also fills the buffer."""
        config = self.config
        if self.iteration == 0:
            self._warm_up(max(config.warmup_steps // config.num_envs, 1))
        else:
            self._act(config.acted)
        fraction = config.fraction(self.iteration)
        for _ in range(config.model_steps):
            metrics = {"model_error": self._update_model()}
        turn = config.turns and self.iteration // config.turns % 2  # D's comes first
        metrics |= dict.fromkeys(_OF_TURNS, nan)
        if not turn and config.signal == LEARNED:
            metrics |= self._update_discriminator(fraction)
        if self.critic is not None:
            metrics |= {"critic_error": self._update_critic(self.critic)}
        if turn or not config.turns:
            metrics |= self._update_policy(fraction)
        self.iteration += 1
        return metrics

    def _act(self, vector_steps: int) -> None:
        """Lines 3-4: act with the current policy and push (s, a, s') and the noise into the buffer."""
        for step in range(1, vector_steps + 1):
            elapsed = self.elapsed
            observations, u, successors, noise, done, terminated = self._step()
            if self.config.starts == "expert" and step == vector_steps:
                done[:] = True
                self._begin_at_demonstrations(done)
            elif self.config.starts == "mixed" and done.any():
                self._begin_at_demonstrations(done & (torch.rand(len(done), generator=self.batches).numpy() < 0.5))
            self._push(observations, u, successors, noise, done, terminated, elapsed)

    def _begin_at_demonstrations(self, chosen: NDArray[np.bool_]) -> None:
        """Put the chosen environments [N] into states of demonstrated pairs."""
        (rows,) = chosen.nonzero()
        pairs = torch.randint(len(self.expert), (len(rows),), generator=self.batches).numpy()
        self.elapsed[rows] = self.demonstrations.step[pairs]
        states = self.env.states_of(self.demonstrations.observations[pairs])
        self.observations[rows] = self.env.set_simulator_states(rows, states)

    def _warm_up(self, vector_steps: int) -> None:
        """Fill the buffer; before that, random actions may show how far observations reach."""
        learned = self.config.signal == LEARNED
        if not learned or (self.config.scale == "mixture" and self.config.init == "random"):
            observations = np.stack([self._step(at_random=True)[0] for _ in range(vector_steps)])
            groups = [observations] + ([self.demonstrations.observations] if learned else [])
            for policy in (self.learner, self.policy):
                set_mixed_scale(policy, *groups)
            self.expert = self._expert_rows()
        self._act(vector_steps)

    @torch.no_grad()
    def _step(self, at_random: bool = False) -> tuple[NDArray, Tensor, NDArray, Tensor, NDArray, NDArray]:
        """Take one step everywhere: observations [N, S], actions [N, A], next observations, noise, done, terminated.

        `at_random`: whatever the policy's output would be, as if it were zero.
        """
        policy, observations = self.learner, self.observations
        noise = self.noise((len(observations), policy.action_size), self.actions)
        output = torch.zeros_like(noise) if at_random else policy(policy.normalise(observations))
        u = self.walk.head.draw(output, noise)
        self.observations, _, terminated, truncated, info = self.env.step(
            u.argmax(-1).numpy() if policy.discrete else policy.to_env(u)
        )
        self.env_steps += len(observations)
        self.elapsed = np.where(terminated | truncated, 0, self.elapsed + 1)
        return observations, u, info["final_obs"], noise, terminated | truncated, terminated

    def _push(self, observations: NDArray, u: Tensor, successors: NDArray, noise: Tensor, *times: NDArray) -> None:
        normalise = self.learner.normalise
        self.buffer.push(normalise(observations), u, normalise(successors), noise, *times)

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Draw standard normal noise, or Gumbel noise for discrete actions."""
        noise = torch.empty(shape)
        if self.learner.discrete:
            return noise.exponential_(generator=generator).log_().neg_()
        return noise.normal_(generator=generator)

    def _update_model(self) -> float:
        """Line 6: one step of f; one with a memory sees sequences as long as the walk and the past before it."""
        config, buffer = self.config, self.buffer
        if self.model.memory_size:
            length = config.past + config.length
            past = buffer.segments(max(config.model_batch // length, 1), length, config.buffer_size)
            return self.model_learner.update(past.states, past.actions, past.next_states, past.done)
        states, actions, next_states = (
            part[None] for part in buffer.transitions(config.model_batch, config.buffer_size)
        )
        return self.model_learner.update(states, actions, next_states, torch.zeros_like(states[..., :1]))

    def _update_discriminator(self, fraction: float) -> Metrics:
        """Line 7: one step of D, half agent, half expert."""
        config = self.config
        chosen = torch.randint(len(self.expert), (config.discriminator_batch,), generator=self.batches)
        times = self.demonstrations.step[chosen.numpy()] if config.discriminator_matched else None
        states, actions, _ = self.buffer.transitions(config.discriminator_batch, config.discriminator_age, times)
        self.discriminator.optimiser.param_groups[0]["lr"] = config.discriminator_rate * fraction
        return self.discriminator.update(torch.cat([states, actions], -1), self.expert[chosen])

    @torch.no_grad()
    def _update_critic(self, critic: Critic) -> float:
        """Take one step of the critic on D's rewards along recorded stretches and the current policy's next actions."""
        config = self.config
        past = self.buffer.segments(config.batch_size, STRETCH, config.critic_age)
        rows = torch.cat([past.states, past.actions], -1)
        noise = self.noise(tuple(past.actions.shape), self.actions)
        actions = self.walk.head.draw(self.learner(past.next_states), noise)
        following = torch.cat([past.next_states, actions], -1)
        done, terminated = past.done[..., 0], past.terminated[..., 0]
        return critic.update(rows, self.discriminator.logits(rows), following, done, terminated)

    def _segment(self) -> tuple[Segment, Tensor]:
        """Return recorded segments [H, B] and the noise to walk them with, as the setting `segments` says."""
        config = self.config
        if config.segments == "on_policy":  # acted by the current policy, used once, with the noise of the acting
            segment = self.buffer.latest(config.length, config.acted, config.past)
            return segment, segment.noise
        segment = self.buffer.segments(config.batch_size, config.length, config.segment_age, config.past)
        if config.segments == "fresh":
            return segment, self.noise(tuple(segment.actions.shape), self.actions)
        with torch.no_grad():
            output = self.learner(segment.states)
        return segment, self.walk.head.posterior_noise(output, segment.actions, self.actions)

    def _update_policy(self, fraction: float) -> Metrics:
        """Lines 9-14: walk the recursion and descend the cost."""
        config, network = self.config, self.learner.network
        segment, noise = self._segment()
        walk = self.walk
        walk.forward(segment, noise, config.segments == "fresh", config.correction_clip)
        cost, slope = self.cost.along(walk.points)
        if self.critic is not None:
            self.critic.close(slope, walk.points, segment.done, config.weight_of_rest(fraction))
        found = walk.backward(slope, config.gamma, config.entropy, config.adjoint_clip)
        for parameter, part in zip(network.parameters(), found.parameters, strict=True):
            parameter.grad = part.div_(len(segment.states))  # of the mean over the steps
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), config.gradient_clip)
        self.policy_optimiser.param_groups[0]["lr"] = config.policy_rate * fraction
        self.policy_optimiser.step()
        follow(self.policy.network, network, config.average, self.iteration)
        if config.pull:
            pull(network, self.policy.network, config.pull)
        return {
            "cost": cost.mean().item(),
            "gradient_norm": norm.item(),
            "adjoint_norm": found.adjoint_norm.mean().item(),
        }

    def act(self, observations: NDArray) -> NDArray:
        """Return deterministic actions of the reported policy."""
        return self.policy.act(observations)

    def _parts(self) -> dict[str, Any]:
        return {
            "learner": self.learner,
            "policy": self.policy,
            "model": self.model,
            "discriminator": self.discriminator,
            "model_learner": self.model_learner,
            "policy_optimiser": self.policy_optimiser,
            "buffer": self.buffer,
        } | ({} if self.critic is None else {"critic": self.critic})

    def state_dict(self) -> dict[str, Any]:
        """Return all that an exact resume needs."""
        return {name: part.state_dict() for name, part in self._parts().items()} | {
            "env": self.env.save_state(),
            "observations": self.observations,
            "elapsed": self.elapsed,
            "actions": self.actions.get_state(),
            "batches": self.batches.get_state(),
            "env_steps": self.env_steps,
            "iteration": self.iteration,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.env.restore_state(state["env"])
        self.elapsed = state["elapsed"]
        self.observations = state["observations"]
        self.actions.set_state(state["actions"])
        self.batches.set_state(state["batches"])
        self.env_steps, self.iteration = state["env_steps"], state["iteration"]
        self.expert = self._expert_rows()  # its scale came with the policy
