"""What a step costs the policy, by D, and the cost's slope: where Algorithm 1's recursion starts (D_s and D_a)."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import sigmoid

from algorithms.adjoint import Array, Tape, record

COLUMNS = 320  # samples that D sees at a time: what they take stays in the caches


def step_cost(logits: Tensor, objective: str) -> tuple[Tensor, Tensor]:
    """Return a step's cost and its slope with respect to D's logit: [...] -> ([...], [...]).

    ``paper``: c = D, dc/dl = D (1 - D).  ``cross_entropy``: c = -log(1 - D) = softplus(l), dc/dl = D.
    """
    d = sigmoid(logits)
    if objective == "paper":
        return d, d * (1 - d)
    return torch.nn.functional.softplus(logits), d


class StepCost:
    """The cost of steps by a discriminator, which it reads anew every time."""

    def __init__(self, network: nn.Module, objective: str):
        self.network, self.objective = network, objective
        self.tape: Tape | None = None
        self.columns = 0

    def along(self, points: Array) -> tuple[Tensor, Array]:
        """Return the cost at points (state, action) [H, S + A, B] -> [H, B], and its slope [H, S + A, B]."""
        horizon, size, batch = points.shape
        flat = np.swapaxes(points, 0, 1).reshape(size, -1)
        columns = min(COLUMNS, horizon * batch)
        if self.tape is None or self.columns != columns:
            self.tape, self.columns = record(self.network, 1, columns), columns
        self.tape.load()
        cost, slope = torch.empty(horizon * batch), np.empty_like(flat)
        for first in [*range(0, len(cost) - columns, columns), len(cost) - columns]:
            block = slice(first, first + columns)
            logits = torch.from_numpy(self.tape.forward(0, flat[:, block]))
            cost[block], of_logits = step_cost(logits, self.objective)
            slope[:, block] = self.tape.pull(0, of_logits.numpy())
        return cost.view(horizon, batch), np.swapaxes(slope.reshape(size, horizon, batch), 0, 1)
