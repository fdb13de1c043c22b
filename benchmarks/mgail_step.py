"""MGAIL's policy step, the recursion of Algorithm 1, against automatic differentiation of the unrolled graph.

Run as ``python benchmarks/mgail_step.py [--horizons 10,50,100] [--models basic,advanced] [--batch 64] [--rounds 15]``.
Both are whole steps as training takes them (`MGAIL._update_policy`: draw segments and noise, act anew along them, cost,
gradient, Adam, average), on Hopper with its tuned widths, from the same weights and with the same random numbers. They
differ in where the gradient comes from:

``recursion``  `algorithms.recursion`, this project's
``unrolled``   one graph over all steps, as one would write it down, and `backward()`
``pruned``     the same graph, and `torch.autograd.grad` with respect to the policy's weights alone: nothing is spent on
               those of f and D

They take turns, so that a slow moment of the machine meets all; times are medians of CPU seconds. `difference` is the
largest one between the gradients of the first step, as a fraction of the gradient's largest entry (float32).
"""

import argparse
import os
import time
from collections.abc import Sequence
from statistics import median

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from side_by_side import command_line, markdown, origin
from torch import Tensor
from torch.nn.functional import softplus

from algorithms import resolve
from algorithms.average import follow
from algorithms.mgail import MGAIL
from algorithms.recursion import remember
from bench.algorithm import Metrics
from bench.cli_text import integers, names, positive
from bench.envs import make_env
from bench.errors import unknown
from bench.progress import Display
from bench.seeding import Streams
from bench.tasks import get_task
from datasets.demonstrations import load_demonstrations

MODELS = ("basic", "advanced")
EXACT = 1e9  # an adjoint is never so long: both gradients are the exact one


class Bounded(torch.autograd.Function):
    """clip(a) in value; in gradient the identity, but nothing that leads a clipped action further out."""

    @staticmethod
    def forward(ctx, free: Tensor, low: Tensor, high: Tensor) -> Tensor:  # noqa: D102
        ctx.save_for_backward(free > high, free < low)
        return free.clamp(low, high)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:  # noqa: D102
        above, below = ctx.saved_tensors
        return gradient.masked_fill((above & (gradient < 0)) | (below & (gradient > 0)), 0.0), None, None


class Unrolled(MGAIL):
    """MGAIL whose policy step differentiates the unrolled graph."""

    pruned = False

    def _update_policy(self, fraction: float) -> Metrics:
        config, network, model, head = self.config, self.learner.network, self.model, self.walk.head
        segment, noise = self._segment()
        x, memory = segment.states[0], remember(model, segment)
        with torch.no_grad():
            changes = model.unroll(segment.states, segment.actions, memory, segment.done)
        weight, total = torch.ones(len(x)), torch.zeros(())
        for t in range(len(segment.states)):
            action = Bounded.apply(network(x) + head.sigma * noise[t], head.low, head.high)
            cost = softplus(self.discriminator.logits(torch.cat([x, action], -1)))
            total = total + (weight * cost).mean()
            change, memory = model(x, action, memory)
            predicted = x + change
            with torch.no_grad():
                bracket = predicted - segment.states[t] - changes[t]
                value = segment.next_states[t] + bracket.clamp(-config.correction_clip, config.correction_clip)
            x = predicted + (value - predicted).detach()
            done = segment.done[t]
            weight = torch.where(done.squeeze(-1) > 0, 1.0, config.gamma * weight)
            memory = memory * (1 - done)
            if t + 1 < len(segment.states):
                x = torch.where(done > 0, segment.states[t + 1], x)
        parameters = list(network.parameters())
        mean = total / len(segment.states)
        if self.pruned:
            for parameter, gradient in zip(parameters, torch.autograd.grad(mean, parameters), strict=True):
                parameter.grad = gradient
        else:
            for part in (network, model, self.discriminator.network):
                part.zero_grad()
            mean.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, config.gradient_clip)
        self.policy_optimiser.param_groups[0]["lr"] = config.policy_rate * fraction
        self.policy_optimiser.step()
        follow(self.policy.network, network, config.average, self.iteration)
        return {"cost": total.item(), "gradient_norm": norm.item(), "adjoint_norm": 0.0}


class Pruned(Unrolled):
    """MGAIL whose policy step differentiates the unrolled graph with respect to the policy alone."""

    pruned = True


def learner(cls: type[MGAIL], model: str, horizon: int, batch: int) -> MGAIL:
    """Return an algorithm that has filled its buffer; equal ones for equal arguments."""
    task = get_task("hopper")
    settings = {"horizon": horizon, "batch_size": batch, "adjoint_clip": EXACT, "gradient_clip": EXACT}
    _, config = resolve(f"mgail-{model}", task.name, overrides=settings)
    demonstrations = load_demonstrations(task, task.trajectories[0], 0)
    algorithm = cls(config, task, demonstrations, make_env(task, config.num_envs), Streams(0))
    algorithm._warm_up(config.warmup_steps // config.num_envs)
    return algorithm


def timed(algorithm: MGAIL, steps: int) -> float:
    """Return the CPU seconds of a step."""
    start = time.process_time()
    for _ in range(steps):
        algorithm._update_policy(1.0)
    return (time.process_time() - start) / steps


def gradient(algorithm: MGAIL) -> Tensor:
    """Return the gradient of a step that is taken now."""
    algorithm._update_policy(1.0)
    parameters = [parameter.grad for parameter in algorithm.learner.network.parameters()]
    return torch.cat([part.flatten() for part in parameters if part is not None])


def compare(model: str, horizon: int, batch: int, rounds: int) -> dict[str, str]:
    """Return the row of one model and horizon."""
    learners = [learner(cls, model, horizon, batch) for cls in (MGAIL, Unrolled, Pruned)]
    exact, unrolled, _ = map(gradient, learners)
    difference = (exact - unrolled).abs().max() / unrolled.abs().max()
    steps = max(1, 100 // horizon)
    times = [[timed(one, steps) for one in learners] for _ in range(rounds)]
    ours, graph, pruned = map(median, zip(*times, strict=True))
    row = {"model": model, "horizon": str(horizon), "batch": str(batch), "recursion, ms": f"{1e3 * ours:.1f}"}
    for name, seconds, column in (("unrolled", graph, 1), ("pruned", pruned, 2)):
        ratio = median(turn[column] / turn[0] for turn in times)
        row |= {f"{name}, ms": f"{1e3 * seconds:.1f}", f"{name} / recursion": f"{ratio:.1f}"}
    return row | {"difference": f"{difference:.0e}"}


def measure(models: Sequence[str], horizons: Sequence[int], batch: int, rounds: int) -> list[dict[str, str]]:
    """Return all rows, with progress."""
    jobs = [(model, horizon) for model in models for horizon in horizons]
    rows = []
    with Display([float(horizon) for _, horizon in jobs], 1) as display:
        for number, (model, horizon) in enumerate(jobs):
            title = f"{model} model, horizon {horizon}"
            display.start(0, title)
            rows.append(compare(model, horizon, batch, rounds))
            display.end(0, number, title)
    return rows


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--horizons", default="10,50,100", help="comma-separated (default: 10,50,100)")
    parser.add_argument("--models", default=",".join(MODELS), help=f"comma-separated (default: {','.join(MODELS)})")
    parser.add_argument("--batch", default="64", help="segments of a step (default: 64)")
    parser.add_argument("--rounds", default="15", help="turns that both take (default: 15)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    models = names(options.models)
    for model in models:
        if model not in MODELS:
            raise unknown("model", model, MODELS)
    rows = measure(models, integers(options.horizons), positive(options.batch), positive(options.rounds))
    print("MGAIL's policy step on Hopper, CPU milliseconds on one core.\n")
    print(origin(), markdown(rows), sep="\n\n")


if __name__ == "__main__":
    command_line(main)
