"""The policy that all methods and experts share, so that methods differ in nothing else; and how it is stored."""

import importlib
import importlib.util
import io
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.errors import UserError
from bench.files import SCHEMA, write_bytes

CLIP = 10.0  # normalised observations are clipped here
_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


def mlp(sizes: Sequence[int], activation: str = "relu", generator: torch.Generator | None = None) -> nn.Sequential:
    """Return a multi-layer perceptron; its initial weights come from `generator`, not from torch's global stream.

    Weights and biases are uniform in +-1/sqrt(fan in), torch's default for `nn.Linear`.
    """
    layers: list[nn.Module] = []
    for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        layer = nn.utils.skip_init(nn.Linear, fan_in, fan_out)
        bound = fan_in**-0.5
        with torch.no_grad():
            layer.weight.uniform_(-bound, bound, generator=generator)
            layer.bias.uniform_(-bound, bound, generator=generator)
        layers.append(layer)
        if i < len(sizes) - 2:
            layers.append(_ACTIVATIONS[activation]())
    return nn.Sequential(*layers)


class Policy(nn.Module):
    """A stochastic policy: categorical over n actions, or a diagonal Gaussian with state-independent deviation.

    The network sees normalised observations and, for continuous actions, speaks in normalised actions:
    ``a = action_mean + action_std * (mu(x) + sigma * xi)``; both normalisers are buffers that a method sets.
    The environment executes clip(a).
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        discrete: bool,
        hidden: Sequence[int] = (100, 100),
        activation: str = "relu",
        low: Sequence[float] | None = None,
        high: Sequence[float] | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.arguments: dict[str, Any] = {
            "observation_size": observation_size,
            "action_size": action_size,
            "discrete": discrete,
            "hidden": list(hidden),
            "activation": activation,
            "low": None if low is None else [float(v) for v in low],
            "high": None if high is None else [float(v) for v in high],
        }
        self.discrete = discrete
        self.action_size = action_size
        self.network = mlp([observation_size, *hidden, action_size], activation, generator)
        self.observation_mean: Tensor
        self.observation_std: Tensor
        self.register_buffer("observation_mean", torch.zeros(observation_size, dtype=torch.float64))
        self.register_buffer("observation_std", torch.ones(observation_size, dtype=torch.float64))
        if not discrete:
            if low is None or high is None:
                raise ValueError("a continuous policy needs the bounds of its actions")
            self.low: Tensor
            self.high: Tensor
            self.action_mean: Tensor
            self.action_std: Tensor
            self.register_buffer("low", torch.as_tensor(low, dtype=torch.float32), persistent=False)
            self.register_buffer("high", torch.as_tensor(high, dtype=torch.float32), persistent=False)
            self.register_buffer("action_mean", torch.zeros(action_size))
            self.register_buffer("action_std", torch.ones(action_size))
            self.log_std = nn.Parameter(torch.zeros(action_size))

    @classmethod
    def for_env(cls, env: Any, **keywords: Any) -> "Policy":
        """Return a policy with the sizes and bounds of a vector environment's spaces."""
        (observation_size,) = env.single_observation_space.shape
        space = env.single_action_space
        if hasattr(space, "n"):
            return cls(observation_size, int(space.n), True, **keywords)
        return cls(
            observation_size, space.shape[0], False, low=space.low.tolist(), high=space.high.tolist(), **keywords
        )

    def normalise(self, observations: NDArray | Tensor) -> Tensor:
        """Return what the network sees: [..., S] float64 -> [..., S] float32, clipped at +-10."""
        if isinstance(observations, np.ndarray) and not observations.flags.writeable:
            observations = observations.copy()  # torch warns of arrays that it could not write to
        x = (torch.as_tensor(observations, dtype=torch.float64) - self.observation_mean) / self.observation_std
        return x.clamp_(-CLIP, CLIP).float()

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [..., n], or means [..., A] in normalised action units, for normalised observations."""
        return self.network(x)

    def to_env(self, action: Tensor) -> NDArray:
        """Return what the environment executes: normalised actions [..., A] -> clipped actions [..., A] float32."""
        return torch.clamp(self.action_mean + self.action_std * action, self.low, self.high).numpy()

    @torch.no_grad()
    def act(self, observations: NDArray) -> NDArray:
        """Return deterministic actions, argmax or clipped mean: [N, S] -> [N] int64 or [N, A] float32."""
        output = self(self.normalise(observations))
        return output.argmax(-1).numpy() if self.discrete else self.to_env(output)

    @torch.no_grad()
    def draw(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Draw actions for normalised observations: [N, S] -> [N] int64, or [N, A] normalised and not clipped."""
        output = self(x)
        if self.discrete:  # the Gumbel-max trick: argmax(logits + Gumbel) is a categorical draw
            exponential = torch.empty_like(output).exponential_(generator=generator)
            return (output - exponential.log_()).argmax(-1)
        return output + self.log_std.exp() * torch.empty_like(output).normal_(generator=generator)

    def sample(self, observations: NDArray, generator: torch.Generator) -> NDArray:
        """Draw the actions that an environment executes: [N, S] -> [N] int64 or [N, A] float32."""
        action = self.draw(self.normalise(observations), generator)
        return action.numpy() if self.discrete else self.to_env(action)


def import_attribute(spec: str) -> Any:
    """Return what ``module:name`` or ``path/to/file.py:name`` stands for; a `UserError` says what is missing."""
    source, _, name = spec.rpartition(":")
    if not source or not name:
        raise UserError(f"{spec!r} should read file.py:Name or package.module:Name")
    if source.endswith(".py"):
        path = Path(source).resolve()
        if not path.is_file():
            raise UserError(f"{path} does not exist; {spec!r} should read file.py:Name")
        module_name = f"_bench_user_{path.stem}_{abs(hash(str(path))):x}"
        if module_name not in sys.modules:
            module_spec = importlib.util.spec_from_file_location(module_name, path)
            assert module_spec is not None
            assert module_spec.loader is not None
            module = importlib.util.module_from_spec(module_spec)
            sys.modules[module_name] = module
            try:
                module_spec.loader.exec_module(module)
            except BaseException as error:
                del sys.modules[module_name]  # half a module is none
                if isinstance(error, SyntaxError):
                    raise UserError(f"{path}, line {error.lineno}: {error.msg}") from None
                if isinstance(error, ImportError):
                    raise UserError(f"{path} cannot be imported: {error}") from None
                raise
        module = sys.modules[module_name]
        module.__dict__.setdefault("__bench_source__", str(path))
    elif source.startswith("."):
        raise UserError(f"cannot import {source!r}: it should be a whole name, as package.module:Name, or a .py file")
    else:
        try:
            module = importlib.import_module(source)
        except ModuleNotFoundError as error:
            raise UserError(f"cannot import {source!r}: {error}") from None
    if not hasattr(module, name):
        raise UserError(f"{source} has no {name!r}")
    return getattr(module, name)


def save_policy(policy: nn.Module, path: Path) -> None:
    """Write a policy (its class, arguments and weights only) aside, then rename it into place."""
    cls = type(policy)
    source = sys.modules[cls.__module__].__dict__.get("__bench_source__", cls.__module__)
    content = {
        "schema": SCHEMA,
        "class": f"{source}:{cls.__qualname__}",
        "arguments": policy.arguments,
        "state": policy.state_dict(),
    }
    stream = io.BytesIO()  # torch would report a full disk as a bug; writing the bytes ourselves does not
    torch.save(content, stream)
    write_bytes(path, stream.getbuffer())


def read_policy(path: Path) -> Any:
    """Read a policy that `save_policy` wrote; a `UserError` says what is wrong with the file."""
    if not path.is_file():
        raise UserError(f"{path} does not exist: no policy was saved there")
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
        if content["schema"] != SCHEMA:
            raise UserError(f"{path} is of schema {content['schema']}, this version reads {SCHEMA}")
        policy = import_attribute(content["class"])(**content["arguments"])
        policy.load_state_dict(content["state"])
    except UserError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error!s}".splitlines()[0].partition(". ")[0]
        raise UserError(f"{path} is not a readable policy file ({reason})") from None
    return policy.eval()


def load_policy(run: str | Path) -> Callable[[NDArray], NDArray]:
    """Return the policy of a run as a callable [N, S] -> deterministic actions that works in plain Gymnasium.

    The policy itself is its attribute ``policy`` (for `sample`, or to look at the weights).
    """
    policy = read_policy(Path(run) / "policy.pt")

    def act(observations: NDArray) -> NDArray:
        return policy.act(np.atleast_2d(observations))

    act.policy = policy  # type: ignore[attr-defined]
    return act


def sampler(policy: Any, generator: torch.Generator) -> Callable[[NDArray], NDArray]:
    """Return a policy as it draws actions, with its own stream of noise: [N, S] -> actions."""
    if not hasattr(policy, "sample"):
        raise UserError("this policy cannot be sampled: it has no method sample")
    return lambda observations: policy.sample(observations, generator)
