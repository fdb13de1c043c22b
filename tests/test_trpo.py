import copy

import numpy as np
import pytest
import torch
from torch import distributions

from algorithms.baseline import Baseline, gae
from algorithms.trpo import TRPO, TRPOConfig, conjugate_gradient, distribution, fisher_product
from bench.policy import Policy


def policy_of(discrete, seed=0, sizes=(4, 3)):
    generator = torch.Generator().manual_seed(seed)
    bounds = {} if discrete else {"low": [-1.0] * sizes[1], "high": [1.0] * sizes[1]}
    policy = Policy(*sizes, discrete, hidden=(16, 16), generator=generator, **bounds)
    if not discrete:
        with torch.no_grad():
            policy.log_std.uniform_(-1, 0, generator=generator)
    return policy


def mean_kl(old, new, x):
    """Mean KL(old || new) over x in float64, written out."""
    old, new, x = copy.deepcopy(old).double(), copy.deepcopy(new).double(), x.double()
    with torch.no_grad():
        if old.discrete:
            p, q = old(x).log_softmax(-1), new(x).log_softmax(-1)
            return (p.exp() * (p - q)).sum(-1).mean().item()
        s, t = old.log_std.exp(), new.log_std.exp()
        return ((t / s).log() + (s**2 + (old(x) - new(x)) ** 2) / (2 * t**2) - 0.5).sum(-1).mean().item()


def batch_of(policy, size=400, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 4, generator=generator)
    actions = policy.draw(x, generator)
    advantages = torch.randn(size, generator=generator) + (actions if policy.discrete else actions.sum(-1)) * x[:, 0]
    return x, actions, advantages


def trpo_of(policy, **settings):
    config = TRPOConfig.build({"value_hidden": (8,)}, settings)
    init, other = torch.Generator().manual_seed(2), torch.Generator().manual_seed(3)
    return TRPO(policy, Baseline(config, 4, init, other), config, other)


@pytest.mark.parametrize("discrete", [True, False])
def test_fisher_product_is_the_hessian_of_the_kl(discrete):
    policy = policy_of(discrete).double()
    x = torch.randn(30, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    parameters = list(policy.parameters())
    vector = torch.randn(sum(p.numel() for p in parameters), dtype=torch.float64)
    with torch.no_grad():
        fixed = distribution(policy, policy(x))
    kl = distributions.kl_divergence(fixed, distribution(policy, policy(x))).mean()
    gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(kl, parameters, create_graph=True)])
    expected = torch.cat([g.reshape(-1) for g in torch.autograd.grad(gradient @ vector, parameters)])
    torch.testing.assert_close(fisher_product(policy, x)(vector), expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(fisher_product(policy, x, 0.1)(vector), expected + 0.1 * vector, rtol=1e-9, atol=1e-12)


def test_conjugate_gradient_solves():
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(6, 6, dtype=torch.float64, generator=generator)
    matrix, b = root @ root.T + torch.eye(6, dtype=torch.float64), torch.arange(6, dtype=torch.float64)
    solution = conjugate_gradient(lambda v: matrix @ v, b, iterations=20, tolerance=1e-20)
    torch.testing.assert_close(matrix @ solution, b, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("settings", [{}, {"max_kl": 0.2, "fisher_samples": 2, "cg_damping": 1e-3}], ids=str)
def test_exact_kl_keeps_its_bound(discrete, settings):
    policy = policy_of(discrete)
    trpo = trpo_of(policy, **settings)
    for seed in range(5):
        old = copy.deepcopy(policy)
        batch = batch_of(policy, seed=seed)
        metrics = trpo.step(*batch)
        kl = mean_kl(old, policy, batch[0])
        assert kl <= trpo.config.max_kl * (1 + 1e-4)
        assert kl == pytest.approx(metrics["kl"], rel=1e-2, abs=1e-6)
        moved = any(not torch.equal(a, b) for a, b in zip(old.parameters(), policy.parameters(), strict=True))
        assert moved == (metrics["step_scale"] > 0)
        if moved:
            assert metrics["surrogate"] > 0


def test_two_states_cannot_tell_the_curvature_of_a_batch():
    """The case above really needs its line search: the full step breaks the bound."""
    scales = []
    for seed in range(5):
        policy = policy_of(True)
        trpo = trpo_of(policy, max_kl=0.2, fisher_samples=2, cg_damping=1e-3)
        scales.append(trpo.step(*batch_of(policy, seed=seed))["step_scale"])
    assert min(scales) < 1


def test_step_without_improvement_is_rejected():
    policy = policy_of(True)
    before = copy.deepcopy(policy.state_dict())
    x, actions, advantages = batch_of(policy)
    metrics = trpo_of(policy).step(x, actions, torch.zeros_like(advantages))
    assert metrics["step_scale"] == 0
    assert metrics["kl"] == 0
    assert all(torch.equal(before[name], value) for name, value in policy.state_dict().items())


@pytest.mark.parametrize("discrete", [True, False])
def test_log_probabilities_and_entropy(discrete):
    policy = policy_of(discrete)
    x, actions, _ = batch_of(policy, 5)
    current = distribution(policy, policy(x))
    if discrete:
        log_p = policy(x).log_softmax(-1)
        expected, entropy = log_p[torch.arange(5), actions], -(log_p.exp() * log_p).sum(-1)
    else:
        z = (actions - policy(x)) / policy.log_std.exp()
        expected = (-0.5 * z**2 - policy.log_std - 0.5 * np.log(2 * np.pi)).sum(-1)
        entropy = (policy.log_std + 0.5 * np.log(2 * np.pi * np.e)).sum().expand(5)
    torch.testing.assert_close(current.log_prob(actions), expected)
    torch.testing.assert_close(current.entropy(), entropy)


def test_gae_by_hand():
    """gamma = lambda = 1/2; column 0 terminates, column 1 is truncated, column 2 goes on, all at the second step."""
    rewards = np.array([1.0, 2.0, 4.0])[:, None] * np.ones(3)
    values = np.array([8.0, 4.0, 2.0])[:, None] * np.ones(3)
    next_values = np.array([4.0, 6.0, 10.0])[:, None] * np.ones(3)
    terminated, truncated = np.zeros((3, 3), bool), np.zeros((3, 3), bool)
    terminated[1, 0] = truncated[1, 1] = True
    advantages = gae(rewards, values, next_values, terminated, truncated, 0.5, 0.5)
    # deltas: 1 + 2 - 8 = -5;  2 + 3 - 4 = 1, or 2 - 4 = -2 at the termination;  4 + 5 - 2 = 7
    expected = [[-5 - 0.5, -5 + 0.25, -5 + 0.25 * (1 + 1.75)], [-2, 1, 1 + 0.25 * 7], [7, 7, 7]]
    np.testing.assert_allclose(advantages, expected)


def test_gae_with_lambda_one_is_the_return_minus_the_baseline():
    rng = np.random.default_rng(0)
    rewards, values = rng.normal(size=(2, 4, 1))
    next_values = np.append(values[1:], [[99.0]], axis=0)
    terminated = np.array([[False], [False], [False], [True]])
    advantages = gae(rewards, values, next_values, terminated, np.zeros_like(terminated), 0.9, 1.0)
    returns = [sum(0.9**k * rewards[t + k, 0] for k in range(4 - t)) for t in range(4)]
    np.testing.assert_allclose(advantages[:, 0], returns - values[:, 0])
