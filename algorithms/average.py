"""The moving average of a policy's weights that GAIL and MGAIL offer alike (setting `average`), and its pull."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def follow(averaged: nn.Module, learner: nn.Module, share: float, updates: int) -> None:
    """Move averaged weights towards the learner's, with a memory that grows with the run.

    The step is 1 / (1 + share * updates): after n updates, update i weighs about as (i / n)^(1 / share - 1), so that a
    tenth (`share` 0.1) forgets a random start whatever the budget. A share of 0 copies the learner.

    Args:
        averaged: is moved in place.
        learner: the same class of network.
        share: the setting `average`.
        updates: updates of the average so far.
    """
    ours: list[Tensor] = list(averaged.parameters())
    theirs: list[Tensor] = list(learner.parameters())
    torch._foreach_lerp_(ours, theirs, 1 / (1 + share * updates))


@torch.no_grad()
def pull(learner: nn.Module, averaged: nn.Module, share: float) -> None:
    """Move a learner this share of the way to the average of its weights.

    Two players who learn against each other go round their equilibrium; the average stands near the middle, and the
    pull is friction.

    Args:
        learner: is moved in place.
        averaged: the same class of network.
        share: the setting `pull`.
    """
    ours: list[Tensor] = list(learner.parameters())
    theirs: list[Tensor] = list(averaged.parameters())
    torch._foreach_lerp_(ours, theirs, share)
