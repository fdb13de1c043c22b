"""MGAIL's policy gradient against float64 autograd through the unrolled graph, written independently here."""

import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot, softplus

from algorithms.forward_models import AdvancedModel, BasicModel, ForwardModel
from algorithms.heads import GaussianHead, GumbelHead, columns
from algorithms.recursion import Walk
from algorithms.replay import Segment
from algorithms.step_cost import step_cost
from bench.policy import mlp

pytestmark = pytest.mark.usefixtures("float64")
H, B, S, A, K = 7, 5, 4, 3, 3
GAMMA, ENTROPY = 0.9, 0.3


class Tanh2(nn.Module):
    """A policy that the closed-form pullback does not know, so that the general path is taken."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(S, A) * 0.3)

    def forward(self, x):
        return torch.tanh(x @ self.weight).square()


class UserModel(ForwardModel):
    """A user's own forward model with a memory, without `record`."""

    memory_size = 2

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(S + A + 2, S + 2)

    def forward(self, x, u, memory):
        out = torch.tanh(self.mix(torch.cat([x, u, memory], -1)))
        return out[:, :S], out[:, S:]


class Bounded(torch.autograd.Function):
    """clip in value; in gradient the identity, but nothing that leads a clipped value further out."""

    @staticmethod
    def forward(ctx, free, low, high, value):
        ctx.save_for_backward(free > high, free < low)
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        above, below = ctx.saved_tensors
        return (
            torch.where(above, gradient.clamp_min(0), torch.where(below, gradient.clamp_max(0), gradient)),
            None,
            None,
            None,
        )


def make_model(kind):
    generator = torch.Generator().manual_seed(3)
    if kind == "user":
        return UserModel()
    if kind == "basic":
        return BasicModel(S, A, 16, generator)
    return AdvancedModel(S, A, 8, generator, carried=kind == "carried")


def make_segment(discrete, with_ends):
    states = torch.randn(H, B, S)
    actions = one_hot(torch.randint(A, (H, B)), A).double() if discrete else torch.randn(H, B, A)
    done = (torch.rand(H, B, 1) < 0.2).double() if with_ends else torch.zeros(H, B, 1)
    past_actions = one_hot(torch.randint(A, (K, B)), A).double() if discrete else torch.randn(K, B, A)
    return Segment(
        states=states,
        actions=actions,
        next_states=torch.where(done > 0, torch.randn(H, B, S), torch.cat([states[1:], torch.randn(1, B, S)])),
        noise=torch.randn(H, B, A),
        done=done,
        terminated=done,
        past_states=torch.randn(K, B, S),
        past_actions=past_actions,
        past_done=(torch.rand(K, B, 1) < 0.3).double(),
    )


def walk_of(policy, model, head, segment, noise, fresh, clip=torch.inf):
    walk = Walk(policy, model, head)
    walk.forward(segment, noise, fresh, clip)
    return walk


def rows_of(walk):
    """The pairs of a walk as D sees them, [H, B, S + A]."""
    return torch.tensor(walk.points).transpose(1, 2)


def unrolled_loss(policy, model, discriminator, segment, noise, head, kind, clip):
    """Build J as one graph over the whole segment: the definition, with nothing clever in it."""
    with torch.no_grad():
        memory = torch.zeros(B, model.memory_size)
        for t in range(K):
            memory = model(segment.past_states[t], segment.past_actions[t], memory)[1] * (1 - segment.past_done[t])
    recorded_memory = memory
    x, weight, total = segment.states[0], torch.ones(B), 0.0
    for t in range(H):
        out = policy(x)
        if isinstance(head, GumbelHead):
            soft = ((out + noise[t]) / head.temperature).softmax(-1)
            hard = one_hot((out + noise[t]).argmax(-1), A).double() if kind == "fresh" else segment.actions[t]
            u = hard + soft - soft.detach()
            log_p = out.log_softmax(-1)
            total = total + (weight * ENTROPY * (log_p.exp() * log_p).sum(-1)).mean()
        else:
            free = out + head.sigma * noise[t]
            value = free.detach().clamp(head.low, head.high) if kind == "fresh" else segment.actions[t]
            u = Bounded.apply(free, head.low, head.high, value)
        cost = softplus(discriminator(torch.cat([x, u], -1)).squeeze(-1))
        total = total + (weight * cost).mean()
        done = segment.done[t]
        weight = torch.where(done.squeeze(-1) > 0, 1.0, GAMMA * weight)
        change, next_memory = model(x, u, memory)
        predicted = x + change
        if kind == "fresh":
            with torch.no_grad():
                s, a = segment.states[t], segment.actions[t]
                recorded_change, recorded_memory = model(s, a, recorded_memory)
                value = segment.next_states[t] + (predicted - s - recorded_change).clamp(-clip, clip)
        else:
            value = segment.states[t + 1] if t + 1 < H else segment.next_states[t]
        x = predicted + (value - predicted).detach()
        memory = next_memory
        if t + 1 < H:  # behind an episode's end the next one starts: nothing of the last one reaches it
            x = torch.where(done > 0, segment.states[t + 1], x)
            memory = torch.where(done > 0, torch.zeros_like(memory), memory)
            recorded_memory = torch.where(done > 0, torch.zeros_like(memory), recorded_memory)
    return total


@pytest.mark.parametrize("with_ends", [False, True])
@pytest.mark.parametrize("kind", ["fresh", "replay"])
@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("model_kind", ["basic", "carried", "constant", "user"])
@pytest.mark.parametrize("policy_kind", ["mlp", "user"])
def test_recursion_equals_unrolled_autograd(policy_kind, model_kind, discrete, kind, with_ends):
    policy = Tanh2() if policy_kind == "user" else mlp([S, 12, 12, A], generator=torch.Generator().manual_seed(1))
    discriminator = mlp([S + A, 12, 1], "tanh", generator=torch.Generator().manual_seed(2))
    model = make_model(model_kind)
    head = GumbelHead(0.7) if discrete else GaussianHead(torch.full((A,), 0.5), torch.full((A,), -1.0), torch.ones(A))
    segment = make_segment(discrete, with_ends)
    clip = 0.4

    loss = unrolled_loss(policy, model, discriminator, segment, segment.noise, head, kind, clip)
    expected = torch.autograd.grad(loss, list(policy.parameters()))

    walk = Walk(policy, model, head)
    for _ in range(2):  # the second time in the memory of the first
        walk.forward(segment, segment.noise, kind == "fresh", clip)
    rows = rows_of(walk).requires_grad_()
    logits = discriminator(rows).squeeze(-1)
    (slope,) = torch.autograd.grad(logits, rows, step_cost(logits.detach(), "cross_entropy")[1])
    entropy = ENTROPY if discrete else 0.0

    assert max(g.abs().max() for g in expected) > 1e-3
    for _ in range(2):  # nothing of the first way back is left in the second
        actual = walk.backward(columns(slope), GAMMA, entropy).parameters
        for mine, reference in zip(actual, expected, strict=True):
            torch.testing.assert_close(mine, reference, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("bound", [1.0, 99.0])
@pytest.mark.parametrize("discrete", [False, True])
def test_all_kinds_of_segments_agree_on_the_policys_own_data(discrete, bound):
    """Data acted by the current policy, walked with the noise of the acting: the correction is zero.

    `on_policy` follows the segment with the stored noise, `fresh` acts anew with it, and `replay` infers it: another
    where an action lies on a bound, but as far as the gradient goes the same.
    """
    policy = mlp([S, 12, A], generator=torch.Generator().manual_seed(1))
    model = make_model("basic")
    head = (
        GumbelHead(1.0)
        if discrete
        else GaussianHead(torch.full((A,), 0.5), torch.full((A,), -bound), torch.full((A,), bound))
    )
    noise, x, states, actions = torch.randn(H, B, A), torch.randn(B, S), [], []
    with torch.no_grad():
        for t in range(H):
            states.append(x)
            actions.append(head.draw(policy(x), noise[t]))
            x = 0.9 * x + actions[-1].sum(-1, keepdim=True)  # the true dynamics, unknown to the model
    zeros = torch.zeros(H, B, 1)
    segment = Segment(
        torch.stack(states),
        torch.stack(actions),
        torch.stack([*states[1:], x]),
        noise,
        zeros,
        zeros,
        *[zeros[:0]] * 3,
    )
    slope = torch.randn(H, S + A, B).numpy()
    inferred = noise
    if not discrete:
        with torch.no_grad():
            inferred = head.posterior_noise(policy(segment.states), segment.actions, torch.Generator())
        assert ((segment.actions.abs() == bound).any()) == (bound == 1)
    on_policy, fresh, replay = (
        walk_of(policy, model, head, segment, xi, kind).backward(slope, GAMMA)
        for xi, kind in ((noise, False), (noise, True), (inferred, False))
    )
    assert on_policy.outputs.abs().max() > 1e-3
    for other in (fresh, replay):
        torch.testing.assert_close(other.outputs, on_policy.outputs, rtol=1e-10, atol=1e-12)
        for mine, reference in zip(other.parameters, on_policy.parameters, strict=True):
            torch.testing.assert_close(mine, reference, rtol=1e-10, atol=1e-12)


def test_adjoint_clip_bounds_every_sample():
    policy, model = mlp([S, 8, A], generator=torch.Generator().manual_seed(1)), make_model("basic")
    head = GaussianHead(torch.ones(A), torch.full((A,), -9.0), torch.full((A,), 9.0))
    segment = make_segment(False, False)
    walk = walk_of(policy, model, head, segment, segment.noise, False)
    norms = walk.backward(100 * torch.randn(H, S + A, B).numpy(), GAMMA, adjoint_clip=2.0).adjoint_norm
    assert torch.all(norms <= 2.0 + 1e-9)
    assert torch.all(norms > 1.9)


def test_posterior_noise_reproduces_the_action_and_the_prior():
    """Given the argmax, the noise must give it back; averaged over actions it is standard Gumbel again."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.tensor([0.3, -1.0, 1.2]).expand(200_000, 3)
    prior = -torch.empty_like(logits).exponential_(generator=generator).log()
    action = one_hot((logits + prior).argmax(-1), 3).double()
    noise = GumbelHead.posterior_noise(logits, action, generator)
    assert torch.equal((logits + noise).argmax(-1), action.argmax(-1))
    torch.testing.assert_close(noise.mean(0), torch.full((3,), 0.5772156649), atol=0.01, rtol=0)
    torch.testing.assert_close(noise.var(0), torch.full((3,), torch.pi**2 / 6), atol=0.03, rtol=0)


def test_descent_moves_towards_the_expert_in_one_dimension():
    """D = sigmoid(2 a): positive actions look like the agent's. Descending J must push the action down."""
    policy = nn.Sequential(nn.Linear(1, 1))
    discriminator = nn.Linear(2, 1, bias=False)
    discriminator.weight.data = torch.tensor([[0.0, 2.0]])
    generator = torch.Generator().manual_seed(0)
    model = BasicModel(1, 1, 4, generator)
    head = GaussianHead(torch.zeros(1), torch.full((1,), -9.0), torch.full((1,), 9.0))
    ones, zeros = torch.ones(1, 1, 1), torch.zeros(1, 1, 1)
    segment = Segment(ones, zeros, ones, zeros, zeros, zeros, *[zeros[:0]] * 3)
    before = policy(ones[0]).item()
    for _ in range(10):
        walk = walk_of(policy, model, head, segment, zeros, True)
        rows = rows_of(walk).requires_grad_()
        logits = discriminator(rows).squeeze(-1)
        for objective in ("paper", "cross_entropy"):
            (slope,) = torch.autograd.grad(logits, rows, step_cost(logits.detach(), objective)[1], retain_graph=True)
            found = walk.backward(columns(slope), GAMMA)
            assert found.outputs.item() > 0
        with torch.no_grad():
            for parameter, slope in zip(policy.parameters(), found.parameters, strict=True):
                parameter -= 0.1 * slope
    assert policy(ones[0]).item() < before


class Known(ForwardModel):
    """s' = s + a, known exactly."""

    memory_size = 0

    def forward(self, x, u, memory):
        return u + 0 * x, memory


class Ignorant(Known):
    """Knows nothing of what an action does; that a state stays, it believes, too."""

    def forward(self, x, u, memory):
        return 0 * u + 0 * x, memory


def test_figure_2_half_plane():
    """The paper's Figure 2: dD/da = 0 and dD/ds = 1. Without a model the gradient is zero; through f it is not."""
    policy = nn.Sequential(nn.Linear(1, 1))
    head = GaussianHead(torch.zeros(1), torch.full((1,), -9.0), torch.full((1,), 9.0))
    ones, zeros = torch.ones(2, 1, 1), torch.zeros(2, 1, 1)
    segment = Segment(ones, zeros, ones, zeros, zeros, zeros, *[zeros[:0]] * 3)
    slope = torch.cat([ones, zeros], 1).numpy()  # dc/ds = 1, dc/da = 0 at both steps
    model_based = walk_of(policy, Known(), head, segment, zeros, False).backward(slope, 1.0).outputs
    model_free = walk_of(policy, Ignorant(), head, segment, zeros, False).backward(slope, 1.0).outputs
    assert torch.equal(model_free, torch.zeros(2, 1, 1))
    assert torch.equal(model_based, torch.tensor([1.0, 0.0]).view(2, 1, 1))  # a_0 moves s_1; a_1 moves nothing counted
