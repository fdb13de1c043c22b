import copy

import numpy as np
import pytest
import torch
from torch import distributions

from algorithms.baseline import Baseline, gae
from algorithms.jacobian import Perceptron
from algorithms.likelihood import Categorical, Gaussian, distribution
from algorithms.trpo import TRPO, TRPOConfig, conjugate_gradient, fisher_product
from bench.policy import Policy


def policy_of(discrete, seed=0, sizes=(4, 3), activation="relu"):
    generator = torch.Generator().manual_seed(seed)
    bounds = {} if discrete else {"low": [-1.0] * sizes[1], "high": [1.0] * sizes[1]}
    policy = Policy(*sizes, discrete, hidden=(16, 16), activation=activation, generator=generator, **bounds)
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


def batch_of(policy, size=400, dtype=torch.float32, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 4, generator=generator, dtype=dtype)
    actions = policy.draw(x, generator)
    noise = torch.randn(size, generator=generator, dtype=dtype)
    advantages = noise + (actions if policy.discrete else actions.sum(-1)) * x[:, 0]
    return x, actions, advantages


def trpo_of(policy, **settings):
    config = TRPOConfig.build({"value_hidden": (8,)}, settings)
    init, other = torch.Generator().manual_seed(2), torch.Generator().manual_seed(3)
    return TRPO(policy, Baseline(config, 4, init, other), config, other)


def flat(policy, tensors):
    """Values by parameter as one vector in TRPO's order: a layer's weights and bias row by row, then log_std."""
    by_name = dict(zip([name for name, _ in policy.named_parameters()], tensors, strict=True))
    layers = [name.removesuffix(".weight") for name in by_name if name.endswith(".weight")]
    parts = [torch.cat([by_name[f"{n}.weight"], by_name[f"{n}.bias"][:, None]], 1).flatten() for n in layers]
    return torch.cat([*parts, *([] if policy.discrete else [by_name["log_std"]])])


def likelihood_of(policy, output, actions):
    return Categorical(output, actions) if policy.discrete else Gaussian(output, policy.log_std.detach(), actions)


def double_batch(discrete, activation):
    """A policy in float64, its likelihood and its network at 30 inputs, with actions and advantages."""
    policy = policy_of(discrete, activation=activation).double()
    x, actions, advantages = batch_of(policy, 30, torch.float64)
    network = Perceptron(policy.network, 30)
    vector = torch.empty(network.size, dtype=torch.float64)
    with torch.no_grad():
        network.read(vector)
        network.load(x)
        output = network.forward(network.matrices(vector))
        network.linearise()
        torch.testing.assert_close(output, policy(x), rtol=1e-12, atol=1e-12)
        likelihood = likelihood_of(policy, output, actions)
    return policy, network, likelihood, x, actions, advantages


both = pytest.mark.parametrize(
    ("discrete", "activation"), [(discrete, name) for discrete in (True, False) for name in ("relu", "tanh")]
)


@both
def test_fisher_product_is_the_hessian_of_the_kl(discrete, activation):
    policy, network, likelihood, x, *_ = double_batch(discrete, activation)
    parameters = list(policy.parameters())
    tangents = [torch.randn_like(p) for p in parameters]
    with torch.no_grad():
        fixed = distribution(policy, policy(x))
    kl = distributions.kl_divergence(fixed, distribution(policy, policy(x))).mean()
    gradient = torch.autograd.grad(kl, parameters, create_graph=True)
    expected = flat(policy, torch.autograd.grad(gradient, parameters, tangents))
    vector = flat(policy, tangents)
    for damping in (0.0, 0.1):
        product = fisher_product(network, likelihood.metric(torch.arange(30)), damping)
        with torch.no_grad():
            torch.testing.assert_close(product(vector), expected + damping * vector, rtol=1e-9, atol=1e-12)


@both
def test_fisher_product_of_some_rows_of_a_batch(discrete, activation):
    """Rows taken out of a larger batch give what these rows alone give, whatever the batch's memory is used for."""
    policy, network, likelihood, x, *_ = double_batch(discrete, activation)
    rows = torch.tensor([7, 3, 21, 12])
    sample, alone = Perceptron(policy.network, 4), Perceptron(policy.network, 4)
    vector = torch.randn(network.size + (0 if discrete else 3), dtype=torch.float64)
    with torch.no_grad():
        sample.restrict(network, rows)
        alone.load(x[rows])
        output = alone.forward(network.weights)
        alone.linearise()
        actions = torch.zeros(4, dtype=torch.int64) if discrete else output
        expected = fisher_product(alone, likelihood_of(policy, output, actions).metric(torch.arange(4)))(vector).clone()
        network.pull(torch.ones(30, 3, dtype=torch.float64), [torch.empty(*shape).double() for shape in network.shapes])
        network.load(x + 1)
        network.forward(network.weights)
        image = fisher_product(sample, likelihood.metric(rows))(vector)
    torch.testing.assert_close(image, expected, rtol=1e-12, atol=1e-14)


@both
def test_jacobian_products_are_finite_differences(discrete, activation):
    policy, network, _, x, *_ = double_batch(discrete, activation)
    vector, change = torch.empty(network.size, dtype=torch.float64), torch.randn(network.size, dtype=torch.float64)
    other, cotangent = Perceptron(policy.network, 30), torch.randn(30, 3, dtype=torch.float64)
    image = torch.empty_like(vector)
    with torch.no_grad():
        network.read(vector)
        other.load(x)
        ends = [other.forward(other.matrices(vector + sign * 1e-6 * change)).clone() for sign in (1, -1)]
        tangent = network.push(network.matrices(change)).clone()
        network.pull(cotangent, network.matrices(image))
    torch.testing.assert_close(tangent, (ends[0] - ends[1]) / 2e-6, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(image @ change, (cotangent * tangent).sum())


@both
def test_the_gradient_of_the_surrogate_is_autograds(discrete, activation):
    policy, network, likelihood, x, actions, advantages = double_batch(discrete, activation)
    log_prob = distribution(policy, policy(x)).log_prob(actions)
    surrogate = (torch.exp(log_prob - log_prob.detach()) * advantages).mean()
    expected = flat(policy, torch.autograd.grad(surrogate, list(policy.parameters())))
    with torch.no_grad():
        gradient = torch.empty_like(expected)
        cotangent, gradient[network.size :] = likelihood.score(advantages)
        network.pull(cotangent, network.matrices(gradient[: network.size]))
    torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("discrete", [True, False])
def test_likelihoods_are_torchs_distributions(discrete):
    """Entropy, mean KL and log ratio between two policies."""
    policy, _, likelihood, x, actions, _ = double_batch(discrete, "relu")
    later = policy_of(discrete, seed=5).double()
    with torch.no_grad():
        old, new = distribution(policy, policy(x)), distribution(later, later(x))
        kl, log_ratio = likelihood.compare(later(x), torch.empty(0) if discrete else later.log_std)
    assert kl == pytest.approx(distributions.kl_divergence(old, new).mean().item(), rel=1e-12)
    torch.testing.assert_close(log_ratio, new.log_prob(actions) - old.log_prob(actions), rtol=1e-10, atol=1e-12)
    assert likelihood.entropy() == pytest.approx(old.entropy().mean().item(), rel=1e-12)


def test_conjugate_gradient_solves():
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(6, 6, dtype=torch.float64, generator=generator)
    matrix, b = root @ root.T + torch.eye(6, dtype=torch.float64), torch.arange(6, dtype=torch.float64)
    solution, image = conjugate_gradient(lambda v: matrix @ v, b, iterations=20, tolerance=1e-20)
    torch.testing.assert_close(matrix @ solution, b, rtol=1e-8, atol=1e-8)
    solution, image = conjugate_gradient(lambda v: matrix @ v, b, iterations=3)
    torch.testing.assert_close(image, matrix @ solution)
    assert (image - b).norm() > 1e-3


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
