import csv
import itertools
import json
import os
import random
import shutil
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before a test module imports NumPy or torch


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store of demonstrations of our own, which every process that a test starts uses, too; filled when needed."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MGAIL_BENCH_DATA", str(shared / "demonstrations"))
        yield shared / "demonstrations"


@pytest.fixture(scope="session")
def toy() -> str:
    """The algorithm of tests/toy_method.py as a user names it."""
    return f"{Path(__file__).parent / 'toy_method.py'}:Toy"


USERS_POLICY = """
import numpy as np

def balance(observations):
    return (observations[:, 2] + observations[:, 3] > 0).astype(int)

def noisy(observations, generators):
    return np.stack([g.uniform(-1.5, 1.5, 3) for g in generators])

def floats(observations):
    return observations[:, 0]

def too_few(observations):
    return np.zeros(3, int)

constant = 3
"""


@pytest.fixture(scope="session")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's file of policies, good and bad."""
    path = tmp_path_factory.mktemp("user") / "mine.py"
    path.write_text(USERS_POLICY)
    return path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, policies: Path) -> tuple[Path, str]:
    """A store with 12 CartPole trajectories, read only, and the id of its data set."""
    from bench.tasks import get_task
    from datasets.demonstrations import make_demonstrations

    store = tmp_path_factory.mktemp("store")
    return store, make_demonstrations(get_task("cartpole"), 12, store, policy=f"{policies}:balance").id


@pytest.fixture
def copied(made: tuple[Path, str], tmp_path: Path) -> tuple[Path, str]:
    """The same store, to be damaged."""
    shutil.copytree(made[0], tmp_path / "copy")
    return tmp_path / "copy", made[1]


WriteRun = Callable[..., Path]


@pytest.fixture
def float64() -> Iterator[None]:
    """Torch in double precision, from one seed: for gradients that are held against autograd."""
    import torch

    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def write_run(tmp_path: Path) -> WriteRun:
    """A function that writes the record of a finished run as the harness does, with made-up returns.

    ``write_run(algorithm, task, trajectories, seed, returns)`` returns its folder, below tmp_path / "runs" or `out`.
    """

    def write(
        algorithm: str,
        task: str,
        trajectories: int,
        seed: int,
        returns: Sequence[float],
        out: Path | None = None,
        label: str | None = None,
        references: tuple[float, float] = (100.0, 0.0),
        curve: Sequence[float] = (),
        env_steps: int = 1000,
        **settings: object,
    ) -> Path:
        name = f"{algorithm}+{label}" if label else algorithm
        folder = (out or tmp_path / "runs") / name / task / f"n{trajectories}" / f"seed{seed}"
        folder.mkdir(parents=True)
        expert, random = references
        known = {"expert": expert, "expert_deterministic": expert, "random": random}
        config = {
            **{"schema": 1, "algorithm": algorithm, "source": None, "task": task, "trajectories": trajectories},
            **{"seed": seed, "label": label, "settings": settings, "iterations": len(curve) + 1, "references": known},
            **{
                "demonstrations": {"digest": f"store of {task}", "pairs": 10},
                "versions": {"numpy": "2"},
                "commit": "c0",
            },
        }
        result = {
            **{"schema": 1, "mean": statistics.fmean(returns), "n_episodes": len(returns), "references": known},
            **{"iterations": len(curve) + 1, "env_steps": env_steps, "wall_s": 2.0, "core_s": 1.0 + seed},
        }
        rows = ["iteration,env_steps,episode,eval_seed,return,length,terminated"]
        for i, mean in enumerate(curve):
            steps = env_steps * i // len(curve)
            rows += [f"{i},{steps},{e},{2_000_000 + e},{mean + e - 0.5},7,True" for e in range(2)]
        last = len(curve) + 1
        start = 3_000_000 if seed >= 1000 else 1_000_000
        rows += [f"{last},{env_steps},{e},{start + e},{value!r},7,False" for e, value in enumerate(returns)]
        (folder / "evaluations.csv").write_text("\n".join(rows) + "\n")
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "result.json").write_text(json.dumps(result))
        return folder

    return write


@pytest.fixture
def covered_texts() -> Callable[[Any], list[tuple[str, str]]]:
    """A function that returns the pairs of a figure's texts of which one covers the other, tick labels apart."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    def covered(figure: Any) -> list[tuple[str, str]]:
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        axis = [one for axes in figure.axes for one in (axes.xaxis, axes.yaxis)]
        ticks = {text for one in axis for text in one.findobj(Text)} - {one.label for one in axis}
        texts = [text for text in figure.findobj(Text) if text.get_text() and text not in ticks]
        boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
        assert len(boxes) > 5
        return [(a, b) for (a, one), (b, other) in itertools.combinations(boxes, 2) if Bbox.intersection(one, other)]

    return covered


Essence = Callable[[Path], dict[str, Any]]


@pytest.fixture(scope="session")
def what_must_agree() -> Essence:
    """A function that returns all that a resumed run shares with an uninterrupted one, bit for bit: all but times."""

    def essence(run: Path) -> dict[str, Any]:
        import torch

        result = json.loads((run / "result.json").read_text())
        with (run / "progress.csv").open(newline="") as stream:
            progress = [{k: v for k, v in row.items() if k != "wall_s"} for row in csv.DictReader(stream)]
        return {
            "progress": progress,
            "evaluations": (run / "evaluations.csv").read_bytes(),
            "result": {k: v for k, v in result.items() if not k.endswith("_s")},
            "policy": [value.tolist() for value in torch.load(run / "policy.pt", weights_only=True)["state"].values()],
            "files": sorted(path.name for path in run.iterdir()),
        }

    return essence


@pytest.fixture
def runs(write_run, tmp_path: Path) -> Path:
    """Two methods on hopper, three seeds of 50 episodes; returns need all their digits."""
    generator = random.Random(0)
    for algorithm in ("mgail-basic", "mgail-advanced"):
        for seed in range(3):
            write_run(algorithm, "hopper", 4, seed, [generator.gauss(3000, 100) for _ in range(50)], curve=[1.5, 2 / 3])
    return tmp_path / "runs"


@pytest.fixture(scope="session")
def build() -> Callable[..., Any]:
    """A function that returns a smoke run's learner; the demonstrations are of a simple rule: no expert is needed."""
    import numpy as np

    from algorithms import resolve
    from bench.envs import make_env
    from bench.seeding import Streams
    from bench.tasks import TASKS
    from bench.trajectory import Demonstrations

    def demonstrations_of(task, pairs=40):
        env = make_env(task, 1)
        observation, _ = env.reset(seed=5)
        space = env.single_action_space
        observations, actions = [], []
        for _ in range(pairs):
            x = observation[0]
            action = int(x.sum() > 0) if task.discrete else space.high * np.sin(30 * np.resize(x, space.shape))
            observations.append(observation[0])
            actions.append(action)
            observation = env.step(np.asarray([action]))[0]
        zeros = np.zeros(pairs, dtype=np.int64)
        dtype = np.int64 if task.discrete else np.float32
        return Demonstrations(
            np.stack(observations), np.asarray(actions, dtype), zeros, zeros.copy(), {0: 0}, (), "test"
        )

    def build(name, task_name, seed=1000, overrides=None, wrap=lambda env: env, variant=None):
        task = TASKS[task_name]
        cls, config = resolve(name, task_name, "smoke", variant, overrides)
        return cls(config, task, demonstrations_of(task), wrap(make_env(task, config.num_envs)), Streams(seed))

    return build


@pytest.fixture(scope="session")
def same() -> Callable[[Any, Any], bool]:
    """A function that compares nested states bit for bit."""
    import numpy as np
    import torch

    def same(a, b):
        if isinstance(a, dict):
            return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
        if isinstance(a, list | tuple):
            return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
        if isinstance(a, torch.Tensor):
            return torch.equal(a, b)
        return np.array_equal(a, b)

    return same
