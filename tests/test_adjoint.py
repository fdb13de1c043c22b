"""Tapes, the cost along a walk and the regression of f: what MGAIL differentiates by hand, against autograd."""

import pytest
import torch
from torch import nn

from algorithms.adjoint import ALL, WIDE, record
from algorithms.forward_models import BasicModel
from algorithms.model_learner import Motion
from algorithms.step_cost import StepCost, step_cost
from bench.policy import mlp

pytestmark = pytest.mark.usefixtures("float64")
B, S, A = 5, 4, 3


@pytest.mark.parametrize(
    "layers",
    [
        (nn.ReLU(), nn.Linear(S, A)),
        (nn.Linear(S, A), nn.Tanh(), nn.ReLU()),
        (nn.Linear(S, A), nn.Sigmoid(), nn.Linear(A, A), nn.Tanh()),
    ],
    ids=["activation first", "two activations", "perceptron"],
)
def test_pullbacks_of_any_sequence_of_layers(layers):
    network = nn.Sequential(*layers).double()
    x, cotangent = torch.randn(B, S), torch.randn(B, A)
    leaf = x.clone().requires_grad_()
    expected = torch.autograd.grad(network(leaf), leaf, cotangent)[0]
    given = x.clone()
    tape = record(network, 2, B)
    torch.testing.assert_close(torch.from_numpy(tape.forward(1, given.numpy().T).T), network(x))
    torch.testing.assert_close(torch.from_numpy(tape.pull(1, cotangent.numpy().T).T), expected)
    assert torch.equal(given, x)


@pytest.mark.parametrize("batch", [1, WIDE - 1, WIDE])
@pytest.mark.parametrize("horizon", [1, 2])
def test_all_steps_of_a_tape_at_once(horizon, batch):
    network = mlp([S, 12, A], generator=torch.Generator().manual_seed(1))
    x = torch.randn(horizon, S, batch)
    tape = record(network, horizon, batch)
    expected = network(x.transpose(1, 2)).transpose(1, 2).detach()
    torch.testing.assert_close(torch.from_numpy(tape.forward(ALL, x.numpy())), expected, rtol=1e-12, atol=1e-12)
    for t in range(horizon):
        torch.testing.assert_close(torch.from_numpy(tape.forward(t, x[t].numpy())), expected[t])


@pytest.mark.parametrize(
    ("objective", "cost", "slope"),
    [("paper", 0.75, 0.1875), ("cross_entropy", 1.3862943611198906, 0.75)],  # D = 3/4: D(1-D) = 3/16; -log(1/4), D
)
def test_step_cost_by_hand(objective, cost, slope):
    value, derivative = step_cost(torch.tensor(3.0).log(), objective)
    torch.testing.assert_close(value, torch.tensor(cost))
    torch.testing.assert_close(derivative, torch.tensor(slope))


@pytest.mark.parametrize("horizon", [3, 130])  # in one block, and in several of which the last two overlap
@pytest.mark.parametrize("objective", ["paper", "cross_entropy"])
def test_cost_along_a_walk_equals_autograd(objective, horizon):
    network = mlp([S + A, 12, 8, 1], generator=torch.Generator().manual_seed(0))
    points = torch.randn(horizon, S + A, B)
    rows = points.transpose(1, 2).requires_grad_()
    expected, _ = step_cost(network(rows).squeeze(-1), objective)
    (slopes,) = torch.autograd.grad(expected.sum(), rows)
    for _ in range(2):
        cost, slope = StepCost(network, objective).along(points.numpy())
    torch.testing.assert_close(cost.double(), expected.detach(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(torch.from_numpy(slope), slopes.transpose(1, 2), rtol=1e-10, atol=1e-12)


def test_regression_of_the_basic_model_equals_autograd():
    model = BasicModel(S, A, 16, torch.Generator().manual_seed(3))
    x, u, target = torch.randn(20, S), torch.randn(20, A), torch.randn(20, S)
    weights = torch.arange(1.0, S + 1)
    expected = (weights * (model(x, u, x[:, :0])[0] - target).square()).mean()
    gradients = torch.autograd.grad(expected, list(model.parameters()))
    torch.testing.assert_close(model.regress(x, u, target, weights), expected.detach(), rtol=1e-12, atol=0)
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-10, atol=1e-12)


def test_errors_of_f_count_relative_to_motion():
    """Mean squared changes of 5 and 0, a hundredth of whose mean is added; then zeros, of which a hundredth counts."""
    motion = Motion()
    changes = torch.tensor([[[1.0, 0.0]], [[3.0, 0.0]]])  # [H, B, S]
    torch.testing.assert_close(motion.weights(changes), 1 / torch.tensor([5.025, 0.025]))
    torch.testing.assert_close(motion.weights(0 * changes), 1 / torch.tensor([4.97475, 0.02475]))
    assert torch.equal(motion.weights(changes, weighted=False), torch.ones(2))
