"""What comes after a segment: a critic's word for it (setting `critic`).

Algorithm 1 sums the cost up to the trajectory's end, and a segment ends long before: nothing in it tells of a fall that
is half a second away, or of a goal. A critic Q(s, a) stands for the rest. What it learns is the sum of GAIL's rewards,
in the task's form: -log D is positive and ends with a fall, so falling is worse than whatever D may say of standing;
log(1 - D) is negative, as is the paper's cost, and ends at a goal.
"""

import copy

import torch
from torch import Tensor

from algorithms import perceptron
from algorithms.adjoint import Array
from algorithms.discriminator import reward
from bench.policy import mlp

HIDDEN = (200, 100)
FOLLOWING = 0.02  # what the target network takes on of the critic after every step


class Critic:
    """A network on (state, action) rows [M, S + A] and its target, which learn (1 - gamma) Q.

    So scaled, it is a mean reward, which has the size of one whatever the discount.

    Args:
        inputs: S + A.
        gamma: discount, below one.
        rate: Adam step size.
        form: of the reward, ``positive`` or ``negative`` (`reward`).
        generator: of the initial weights.
    """

    def __init__(self, inputs: int, gamma: float, rate: float, form: str, generator: torch.Generator):
        self.gamma, self.form = gamma, form
        self.network = mlp([inputs, *HIDDEN, 1], generator=generator)
        self.target = copy.deepcopy(self.network)
        self.optimiser = torch.optim.Adam(self.network.parameters(), rate, fused=True)
        layers, of_target = (perceptron.relu_layers(network) for network in (self.network, self.target))
        assert layers is not None
        assert of_target is not None
        self.layers, self.of_target = layers, of_target

    @torch.no_grad()
    def update(self, rows: Tensor, logits: Tensor, following: Tensor, terminated: Tensor) -> float:
        """Take one step towards r + gamma Q'(s', a'); behind a termination there is nothing.

        Args:
            rows: (s, a) [M, S + A].
            logits: D's of these rows, [M].
            following: (s', a') [M, S + A], a' drawn by the current policy.
            terminated: [M], 1 where the episode ended with the step, other than by its time limit.

        Returns:
            The mean squared error.
        """
        later = perceptron.forward(self.of_target, following.T)[-1][0] * (1 - terminated)
        goal = (1 - self.gamma) * reward(logits, self.form) + self.gamma * later
        values = perceptron.forward(self.layers, rows.T)
        error = values[-1] - goal
        cotangents = perceptron.backward(self.layers, values, error * (2 / len(rows)))
        perceptron.set_gradients(self.layers, values, cotangents)
        self.optimiser.step()
        followers: list[Tensor] = list(self.target.parameters())
        followed: list[Tensor] = list(self.network.parameters())
        torch._foreach_lerp_(followers, followed, FOLLOWING)
        return error.square().mean().item()

    @torch.no_grad()
    def slope(self, rows: Tensor) -> Tensor:
        """Return the slope of the cost to go, -Q, at rows [M, S + A] -> [M, S + A]."""
        values = perceptron.forward(self.layers, rows.T)
        cotangent = torch.full_like(values[-1], -1 / (1 - self.gamma))
        return (self.layers[0].weight.T @ perceptron.backward(self.layers, values, cotangent)[0]).T

    def close(self, slope: Array, points: Array, done: Tensor) -> None:
        """Put the cost to go in the place of the cost of every last step: the segment's, and those of episodes in it.

        Args:
            slope: of the cost of steps, [H, S + A, B]; overwritten.
            points: (s, a) along the walk, [H, S + A, B].
            done: [H, B, 1], 1 where an episode ended with the step.
        """
        last = done[..., 0] > 0
        last[-1] = True
        step, sample = (index.numpy() for index in last.nonzero(as_tuple=True))
        slope[step, :, sample] = self.slope(torch.from_numpy(points[step, :, sample])).numpy()

    def state_dict(self) -> dict[str, object]:
        """Return both networks' weights and the optimiser."""
        return {name: getattr(self, name).state_dict() for name in ("network", "target", "optimiser")}

    def load_state_dict(self, state: dict) -> None:
        """Restore what `state_dict` returned."""
        for name in ("network", "target", "optimiser"):
            getattr(self, name).load_state_dict(state[name])
