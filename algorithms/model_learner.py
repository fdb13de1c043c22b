"""How a forward model learns: by regression on recorded changes of state (Algorithm 1, line 6)."""

from typing import Any

import torch
from torch import Tensor

from algorithms.forward_models import BasicModel, ForwardModel

STILL = 0.01  # of the mean squared change: a model is not to spend itself on coordinates that move less


class Motion:
    """How far coordinates move in a step: a running mean of their squared changes, recent ones more.

    Attributes:
        squares: [S]; None before the first changes.
    """

    def __init__(self) -> None:
        self.squares: Tensor | None = None

    def weights(self, changes: Tensor, weighted: bool = True) -> Tensor:
        """Return what squared errors of a model count after these changes [..., S], too: one over `squares`, [S].

        Otherwise (or not `weighted`: ones) a few coordinates that jump, as contact forces do, take all of the model.
        """
        squares = changes.flatten(0, -2).square().mean(0)
        if not weighted:
            return torch.ones_like(squares)
        self.squares = squares if self.squares is None else torch.lerp(self.squares, squares, 0.01)
        return 1 / (self.squares + STILL * self.squares.mean())


class ModelLearner:
    """A forward model's optimiser, and what its errors count.

    Args:
        model: the forward model.
        rate: Adam step size.
        weighted: errors count relative to how far a coordinate moves (`Motion`).
    """

    def __init__(self, model: ForwardModel, rate: float, weighted: bool):
        self.model, self.weighted = model, weighted
        self.optimiser = torch.optim.Adam(model.parameters(), rate, fused=True)
        self.motion = Motion()

    def update(self, states: Tensor, actions: Tensor, next_states: Tensor, done: Tensor) -> float:
        """Take one step on sequences, through which a model with a memory is unrolled from an empty one.

        Args:
            states: [T, M, S]; a model without a memory is content with T = 1.
            actions: [T, M, A].
            next_states: [T, M, S], true successors.
            done: [T, M, 1], 1 where an episode ended with the step.

        Returns:
            The mean squared error with the weights of the coordinates: about the share of motion left unexplained.
        """
        target = next_states - states
        weights = self.motion.weights(target, self.weighted)
        if isinstance(self.model, BasicModel):
            x, u, change = (part.flatten(0, 1) for part in (states, actions, target))
            loss = self.model.regress(x, u, change, weights)
        else:
            memory = states.new_zeros(states.shape[1], self.model.memory_size)
            predicted = self.model.unroll(states, actions, memory, done)
            loss = (weights * (predicted - target).square()).mean()
            self.optimiser.zero_grad()
            loss.backward()
        self.optimiser.step()
        return loss.item()

    def state_dict(self) -> dict[str, Any]:
        """Return the optimiser and the running mean."""
        return {"optimiser": self.optimiser.state_dict(), "squares": self.motion.squares}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.optimiser.load_state_dict(state["optimiser"])
        self.motion.squares = state["squares"]
