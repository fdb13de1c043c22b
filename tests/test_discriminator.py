"""The discriminator's loss, its sign and its gradient penalty, against numbers worked out by hand and autograd."""

import math

import pytest
import torch
from torch import nn

from algorithms.discriminator import Discriminator, Dropout, discriminator_loss, gradient_penalty, set_gradients
from algorithms.perceptron import relu_layers
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
    """A linear D with weights (3, 4) has slope 5 everywhere: (5 - 1)^2, or (5 - 3)^2; slopes below that are free."""
    network = nn.Sequential(nn.Linear(2, 1))
    network[0].weight.data = torch.tensor([[3.0, 4.0]])
    torch.testing.assert_close(gradient_penalty(network, torch.zeros(1, 2)), torch.tensor(16.0))
    torch.testing.assert_close(gradient_penalty(network, torch.zeros(1, 2), 3.0), torch.tensor(4.0))
    network[0].weight.data = torch.tensor([[0.3, 0.4]])
    assert gradient_penalty(network, torch.zeros(1, 2)).item() == 0


@pytest.mark.parametrize(("penalty", "free"), [(0.0, 1.0), (10.0, 1.0), (10.0, 0.8)])
@pytest.mark.parametrize("hidden", [(), (16,), (16, 8, 12)])
def test_gradients_by_hand_equal_autograd(hidden, penalty, free):
    generator = torch.Generator().manual_seed(0)
    network = mlp([5, *hidden, 1], generator=generator).double()
    for parameter in network.parameters():  # slopes on both sides of the free one
        parameter.data *= 1.7 + len(hidden) / 3
    agent, expert, between = torch.randn(3, 32, 5, dtype=torch.float64, generator=generator)
    logits = network(torch.cat([agent, expert])).squeeze(-1)
    expected = discriminator_loss(*logits.chunk(2), 0.8) + penalty * gradient_penalty(network, between, free)
    gradients = torch.autograd.grad(expected, list(network.parameters()))
    leaf = between.clone().requires_grad_()
    slopes = torch.autograd.grad(network(leaf).sum(), leaf)[0].norm(dim=-1)
    assert not hidden or slopes.min() < free < slopes.max()

    layers = relu_layers(network)
    rows = torch.cat([agent, expert, between] if penalty else [agent, expert])
    mine, loss = set_gradients(layers, rows, 32, 0.8, penalty, free)
    torch.testing.assert_close(mine, logits.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=1e-12)
    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-10, atol=1e-12)


def test_a_dead_discriminator_has_finite_gradients():
    """Where no unit is on the slope is zero, and its norm has no derivative."""
    network = mlp([2, 4, 1], generator=torch.Generator().manual_seed(0))
    network[0].bias.data.fill_(-99.0)
    set_gradients(relu_layers(network), torch.randn(9, 2), 3, 1.0, 10.0, 1.0)
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize(("penalty", "slope"), [(0.0, 1.0), (10.0, 1.0), (10.0, 0.1)])
def test_both_ways_of_an_update_agree(penalty, slope, monkeypatch):
    """The general way, by autograd, draws the same random numbers and takes the same step."""
    first, second = (
        Discriminator(4, (16, 8), 1e-2, penalty, *(torch.Generator().manual_seed(seed) for seed in (0, 1)), slope=slope)
        for _ in range(2)
    )
    agent, expert = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(2))
    metrics = [first.update(agent, expert) for _ in range(3)]
    monkeypatch.setattr("algorithms.perceptron.relu_layers", lambda network: None)
    assert metrics == [pytest.approx(second.update(agent, expert), rel=1e-4) for _ in range(3)]
    for mine, other in zip(first.network.parameters(), second.network.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_penalty_of_a_general_network():
    network = mlp([3, 8, 1], "tanh", torch.Generator().manual_seed(0))
    network[0].weight.data *= 4
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    jacobian = torch.func.vmap(torch.func.jacrev(lambda row: network(row).squeeze(-1)))(x)
    expected = (jacobian.norm(dim=-1) - 1).clamp_min(0).square().mean()
    assert expected > 0
    torch.testing.assert_close(gradient_penalty(network, x), expected)


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
