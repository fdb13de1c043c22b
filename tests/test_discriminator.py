"""The discriminator's loss, its sign and its gradient penalty, against numbers worked out by hand and autograd."""

import math

import torch
from torch import nn

from algorithms.discriminator import Discriminator, Dropout, discriminator_loss, gradient_penalty, input_slope
from bench.policy import mlp


def test_loss_by_hand():
    """-log(3/4) for an agent row with D = 3/4, -log(1 - 1/5) for an expert row with D = 1/5."""
    loss = discriminator_loss(torch.tensor([math.log(3.0)]), torch.tensor([math.log(0.25)]))
    torch.testing.assert_close(loss, torch.tensor(-math.log(0.75) - math.log(0.8)))


def test_expert_rows_may_weigh_less():
    """-log(3/4) and 0.8 times -log(4/5)."""
    loss = discriminator_loss(torch.tensor([math.log(3.0)]), torch.tensor([math.log(0.25)]), 0.8)
    torch.testing.assert_close(loss, torch.tensor(-math.log(0.75) - 0.8 * math.log(0.8)))


def test_dropout_keeps_the_mean():
    x = torch.full((200_000,), 3.0)
    dropped = Dropout(0.25, torch.Generator().manual_seed(0))(x)
    torch.testing.assert_close(dropped.unique(), torch.tensor([0.0, 4.0]))
    torch.testing.assert_close(dropped.mean(), torch.tensor(3.0), atol=0.02, rtol=0)


def test_penalty_by_hand():
    """A linear D with weights (3, 4) has slope 5 everywhere: (5 - 1)^2; slopes below one are free."""
    network = nn.Sequential(nn.Linear(2, 1))
    network[0].weight.data = torch.tensor([[3.0, 4.0]])
    torch.testing.assert_close(gradient_penalty(network, torch.zeros(1, 2)), torch.tensor(16.0))
    network[0].weight.data = torch.tensor([[0.3, 0.4]])
    assert gradient_penalty(network, torch.zeros(1, 2)).item() == 0


def test_closed_form_slope_and_its_gradient_equal_double_backward():
    network = mlp([5, 16, 8, 1], generator=torch.Generator().manual_seed(0)).double()
    x = torch.randn(32, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(network(leaf).sum(), leaf, create_graph=True)
    actual = input_slope(network, x)
    torch.testing.assert_close(actual, expected)
    weights = [layer.weight for layer in network if isinstance(layer, nn.Linear)]
    for mine, reference in zip(
        torch.autograd.grad(actual.norm(dim=-1).sum(), weights),
        torch.autograd.grad(expected.norm(dim=-1).sum(), weights),
        strict=True,
    ):
        torch.testing.assert_close(mine, reference)


def test_general_network_is_differentiated_twice():
    network = mlp([3, 8, 1], "tanh", torch.Generator().manual_seed(0))
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    jacobian = torch.func.vmap(torch.func.jacrev(lambda row: network(row).squeeze(-1)))(x)
    torch.testing.assert_close(input_slope(network, x), jacobian)


def test_training_raises_the_logit_of_the_agent():
    """Logits are positive for the agent: after training they part in that direction, within the allowed slope."""
    generator = torch.Generator().manual_seed(0)
    discriminator = Discriminator(2, (32,), 1e-2, 10.0, generator, torch.Generator().manual_seed(1))
    agent = torch.randn(256, 2, generator=generator) + 2
    expert = torch.randn(256, 2, generator=generator) - 2
    for _ in range(100):
        metrics = discriminator.update(agent, expert)
    assert discriminator.logits(agent).mean() > 1
    assert discriminator.logits(expert).mean() < -1
    assert metrics["discriminator_accuracy"] > 0.9
