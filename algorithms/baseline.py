"""The state-value baseline of both policy-gradient generators, and generalised advantage estimation."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from algorithms.rollout import Rollout
from bench.algorithm import AlgorithmConfig
from bench.policy import Policy, mlp


def gae(
    rewards: NDArray,
    values: NDArray,
    next_values: NDArray,
    terminated: NDArray,
    truncated: NDArray,
    gamma: float,
    lambda_: float,
) -> NDArray:
    """Return generalised advantage estimates (Schulman et al. 2016, eq. 16).

        delta_t = r_t + gamma V(s_{t+1}) [not terminated] - V(s_t)
        A_t     = delta_t + gamma lambda A_{t+1} [the episode goes on]

    A termination has value zero behind it; a truncation is bootstrapped with the value of its true final
    observation, as is the end of the batch.

    Args:
        rewards: [T, N].
        values: [T, N], V(s_t).
        next_values: [T, N], V(s_{t+1}) for the true successor.
        terminated: [T, N] bool.
        truncated: [T, N] bool.
        gamma: discount.
        lambda_: 0 one-step estimates, 1 Monte-Carlo returns minus the baseline.

    Returns:
        [T, N] advantages; advantages + values are the regression targets for V.
    """
    delta = rewards + gamma * next_values * ~terminated - values
    carry = gamma * lambda_ * ~(terminated | truncated)
    advantages = np.empty_like(delta)
    running = np.zeros(delta.shape[1])
    for t in reversed(range(len(delta))):
        running = delta[t] + carry[t] * running
        advantages[t] = running
    return advantages


def explained_variance(advantages: NDArray, targets: NDArray) -> float:
    """Return the share of the targets' variance that V explains: advantages are what V leaves of its targets."""
    return 1 - float(advantages.var() / max(targets.var(), 1e-8))


@torch.no_grad()
def regress(network: nn.Sequential, x: Tensor, targets: Tensor) -> None:
    """Set the gradients of the mean of (network(x) - targets)^2, for a tanh perceptron, x [B, S] and targets [B].

    Backpropagation by hand takes half of autograd's time, which steps so small and many spend on building graphs.
    """
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    inputs = [x]
    for layer in layers[:-1]:
        inputs.append(layer(inputs[-1]).tanh_())
    cotangent = 2 * (layers[-1](inputs[-1]) - targets[:, None]) * (1 / len(x))
    for layer, below in zip(reversed(layers), reversed(inputs), strict=True):
        layer.weight.grad, layer.bias.grad = cotangent.T @ below, cotangent.sum(0)
        if below is not x:
            cotangent = torch.ops.aten.tanh_backward(cotangent @ layer.weight, below)


class BaselineConfig(AlgorithmConfig):
    """Settings of advantage estimation and of the value network."""

    gamma: float = Field(0.995, gt=0, lt=1, description="discount [H&E]")
    value_hidden: tuple[PositiveInt, ...] = Field(
        (64, 64), description="hidden tanh layers of the value network [ours: speed]"
    )
    value_learning_rate: float = Field(1e-3, gt=0, description="Adam step size of the value network [ours]")
    value_epochs: int = Field(5, gt=0, description="passes of the value regression over a batch [ours]")
    value_batch: int = Field(512, gt=0, description="minibatch of the value regression [ours]")


class Baseline:
    """V(s) by regression on the targets that GAE gives.

    The network predicts (1 - gamma) V, an average reward per step, so that one step size suits every discount.
    """

    def __init__(self, config: BaselineConfig, observation_size: int, init: torch.Generator, batches: torch.Generator):
        self.config = config
        self.network = mlp([observation_size, *config.value_hidden, 1], "tanh", init)
        self.optimizer = torch.optim.Adam(self.network.parameters(), config.value_learning_rate, fused=True)
        self.generator = batches

    @torch.no_grad()
    def values(self, x: Tensor) -> NDArray:
        """Return V for normalised observations: [..., S] -> [...] float64."""
        return self.network(x).squeeze(-1).double().numpy() / (1 - self.config.gamma)

    def advantages(self, policy: Policy, rollout: Rollout, rewards: NDArray, lambda_: float) -> tuple[NDArray, NDArray]:
        """Return advantages and regression targets, both [T, N], for `rewards` [T, N]."""
        values = self.values(rollout.x)
        next_values = np.roll(values, -1, axis=0)
        # Where the next row of the batch is not the successor: at an episode's end, and at the end of the batch.
        elsewhere = rollout.terminated | rollout.truncated
        elsewhere[-1] = True
        next_values[elsewhere] = self.values(policy.normalise(rollout.next_observations[elsewhere]))
        estimates = gae(
            rewards,
            values,
            next_values,
            rollout.terminated,
            rollout.truncated,
            self.config.gamma,
            lambda_,
        )
        return estimates, estimates + values

    def fit(self, x: Tensor, targets: Tensor) -> None:
        """Regress on targets [M] for x [M, S]."""
        scaled, size = targets * (1 - self.config.gamma), self.config.value_batch
        for _ in range(self.config.value_epochs):
            order = torch.randperm(len(x), generator=self.generator)
            for inputs, outputs in zip(x[order].split(size), scaled[order].split(size), strict=True):
                regress(self.network, inputs, outputs)
                self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Return weights, optimiser and generator."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
