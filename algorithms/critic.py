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
STRETCH = 20  # steps of the recorded stretches it learns on


class Critic:
    """A network on (state, action) rows [M, S + A] and its target, which learn (1 - gamma) Q.

    So scaled, it is a mean reward, which has the size of one whatever the discount.

    Args:
        inputs: S + A.
        gamma: discount, below one.
        trace: lambda of the targets (`goals`).
        rate: Adam step size.
        form: of the reward, ``positive`` or ``negative`` (`reward`).
        generator: of the initial weights.
    """

    def __init__(self, inputs: int, gamma: float, trace: float, rate: float, form: str, generator: torch.Generator):
        self.gamma, self.trace, self.form = gamma, trace, form
        self.network = mlp([inputs, *HIDDEN, 1], generator=generator)
        self.target = copy.deepcopy(self.network)
        self.optimiser = torch.optim.Adam(self.network.parameters(), rate, fused=True)
        layers, of_target = (perceptron.relu_layers(network) for network in (self.network, self.target))
        assert layers is not None
        assert of_target is not None
        self.layers, self.of_target = layers, of_target

    @torch.no_grad()
    def goals(self, logits: Tensor, following: Tensor, done: Tensor, terminated: Tensor) -> Tensor:
        """Return the lambda-returns of recorded stretches, G_t = r_t + gamma ((1 - lambda) Q'_{t+1} + lambda G_{t+1}).

        A fall so tells the whole stretch before it at once; one-step targets (lambda 0) carry it back a step at a time,
        each as slowly as the target network follows. Behind a termination there is nothing, at a time limit and the
        stretch's end Q' alone.

        Args:
            logits: D's of the steps, [T, B].
            following: (s', a') [T, B, S + A], a' drawn by the current policy.
            done: [T, B], 1 where the episode ended with the step.
            terminated: [T, B], 1 where it did so other than by its time limit.

        Returns:
            (1 - gamma) times the returns, [T, B].
        """
        later = perceptron.forward(self.of_target, following.flatten(0, 1).T)[-1].view(done.shape) * (1 - terminated)
        rewards = (1 - self.gamma) * reward(logits, self.form)
        found = rewards + self.gamma * later
        for t in range(len(found) - 2, -1, -1):
            found[t] += self.gamma * self.trace * (1 - done[t]) * (found[t + 1] - later[t])
        return found

    @torch.no_grad()
    def update(self, rows: Tensor, logits: Tensor, following: Tensor, done: Tensor, terminated: Tensor) -> float:
        """Take one step towards the `goals` of recorded stretches.

        Args:
            rows: (s, a) [T, B, S + A].
            logits: as in `goals`, [T, B].
            following: as in `goals`, [T, B, S + A].
            done: as in `goals`, [T, B].
            terminated: as in `goals`, [T, B].

        Returns:
            The mean squared error.
        """
        values = perceptron.forward(self.layers, rows.flatten(0, 1).T)
        error = values[-1] - self.goals(logits, following, done, terminated).view(1, -1)
        cotangents = perceptron.backward(self.layers, values, error * (2 / error.numel()))
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

    def close(self, slope: Array, points: Array, done: Tensor, weight: float) -> None:
        """Put the cost to go in the place of the cost of every last step: the segment's, and those of episodes in it.

        Args:
            slope: of the cost of steps, [H, S + A, B]; overwritten.
            points: (s, a) along the walk, [H, S + A, B].
            done: [H, B, 1], 1 where an episode ended with the step.
            weight: of the cost to go; the cost of a step has one.
        """
        last = done[..., 0] > 0
        last[-1] = True
        step, sample = (index.numpy() for index in last.nonzero(as_tuple=True))
        slope[step, :, sample] = weight * self.slope(torch.from_numpy(points[step, :, sample])).numpy()

    def state_dict(self) -> dict[str, object]:
        """Return both networks' weights and the optimiser."""
        return {name: getattr(self, name).state_dict() for name in ("network", "target", "optimiser")}

    def load_state_dict(self, state: dict) -> None:
        """Restore what `state_dict` returned."""
        for name in ("network", "target", "optimiser"):
            getattr(self, name).load_state_dict(state[name])
