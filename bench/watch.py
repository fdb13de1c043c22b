"""Watch a policy: one episode of Gymnasium's own environment, drawn without a display."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from bench import pictures
from bench.errors import UserError, unknown
from bench.files import CannotWrite, write_bytes
from bench.policy import Policy, sampler
from bench.seeding import FINAL_EVALUATION_SEED, Streams
from bench.tasks import Task

KINDS = (".mp4", ".gif", ".png")
FRAMES = 6  # of a film strip
FPS = {".mp4": 30, ".gif": 15}  # at most; a simulator's own rate, 125 on Hopper, is more than a screen shows
RENDERERS = ("egl", "osmesa", "glfw")
_UPRIGHT = {"hopper", "walker2d", "humanoid"}  # high and narrow

PROBE = """
import mujoco
from mujoco.{} import GLContext
context = GLContext(16, 16)
context.make_current()
mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), mujoco.mjtFontScale.mjFONTSCALE_100)
"""


@dataclass(frozen=True)
class Episode:
    """What was done in one episode of T steps.

    Attributes:
        seed: what the environment was reset with.
        actions: T actions.
        returns: [T + 1] the reward so far after 0, ..., T steps.
    """

    seed: int
    actions: Sequence[Any]
    returns: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.actions)


def check_file(path: Path, frames: int | None) -> None:
    """Raise a `UserError` if the file cannot be what is asked for, or not be written, before any work is done."""
    if path.suffix.lower() not in KINDS:
        raise unknown("suffix", path.suffix, KINDS)
    if frames is not None and path.suffix.lower() != ".png":
        raise UserError("--frames is a film strip's: give --out a name that ends in .png")
    if frames is not None and frames < 2:
        raise UserError(f"a film strip goes from the start to the end: it has 2 frames or more, not {frames}")
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        why = "it is a folder" if path.is_dir() else f"{folder} is not a folder that can be written to"
        raise CannotWrite(f"cannot write {path}: {why}")


def watch(
    task: Task,
    policy: Any,
    out: Path,
    who: str,
    seed: int = FINAL_EVALUATION_SEED,
    stochastic: bool = False,
    frames: int = FRAMES,
    report: Callable[[float, str], None] | None = None,
) -> Episode:
    """Play one episode of a policy and draw it.

    Args:
        task: which task.
        policy: as `bench.policy.read_policy` returns it.
        out: the file: .mp4 or .gif for a video at the task's own speed, .png for a film strip.
        who: what a film strip calls the policy.
        seed: of the episode's start, and of the actions' noise.
        stochastic: whether actions are drawn, instead of the likeliest ones.
        frames: how many frames a film strip has, evenly spaced from the start to the end; 2 or more.
        report: called with the fraction done and a note.

    Returns:
        What was played.

    Raises:
        UserError: the policy is another task's, nothing here can draw, or the file cannot be written.
    """
    act = sampler(policy, Streams(seed).torch("evaluation")) if stochastic else policy.act
    kind = out.suffix.lower()
    with stage(task) as env:
        check_fits(policy, env)
        episode = play(env, act, seed)
        rate = env.metadata["render_fps"]
        stride = 1 if kind == ".png" else -(-rate // FPS[kind])
        at = range(0, len(episode) + 1, stride) if kind != ".png" else spaced(len(episode), frames)

        def shots() -> Iterator[tuple[pictures.Frame, str]]:
            for i, (step, frame) in enumerate(draw(env, episode, at)):
                if report:
                    report(i / len(at), f"frame {i + 1} of {len(at)}")
                yield frame, f"step {step:,}, return {round(episode.returns[step]):,}"

        if kind == ".png":
            drawn, captions = zip(*shots(), strict=True)
            outcome = f"return {round(episode.returns[-1]):,} in {len(episode):,} steps"
            content = pictures.strip(drawn, captions, f"{task.title}, {who}: {outcome}")
        else:
            encode = pictures.mp4 if kind == ".mp4" else pictures.gif
            content = encode((pictures.captioned(*shot) for shot in shots()), Fraction(rate, stride))
    write_bytes(out, content)
    return episode


def check_fits(policy: Any, env: gymnasium.Env) -> None:
    """Raise a `UserError` if the policy sees or does other things than there are in this environment."""
    if not isinstance(policy, Policy):  # a user's own class knows what it takes
        return
    space = env.action_space
    there = (*env.observation_space.shape, *([space.n] if hasattr(space, "n") else space.shape), hasattr(space, "n"))
    here = (policy.arguments["observation_size"], policy.action_size, policy.discrete)
    if here != there:
        kinds = {True: "kinds of actions", False: "numbers per action"}
        texts = [
            f"{size} observed numbers and {actions} {kinds[discrete]}" for size, actions, discrete in (here, there)
        ]
        raise UserError(f"this policy is of another task: it has {texts[0]}; {env.spec.id} has {texts[1]}")


def play(env: gymnasium.Env, act: Callable[[NDArray], NDArray], seed: int) -> Episode:
    """Play one whole episode without drawing it: only then is it known which steps are evenly spaced."""
    observation, _ = env.reset(seed=seed)
    actions: list[Any] = []
    returns = [0.0]
    over = False
    while not over:
        actions.append(np.asarray(act(observation[None]))[0])
        observation, reward, terminated, truncated, _ = env.step(actions[-1])
        returns.append(returns[-1] + float(reward))
        over = terminated or truncated
    return Episode(seed, actions, np.array(returns))


def draw(env: gymnasium.Env, episode: Episode, at: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Play the episode's actions again and yield (step, frame [height, width, 3]) at the steps `at`, which ascend."""
    env.reset(seed=episode.seed)
    step = 0
    for due in at:
        for action in episode.actions[step:due]:
            env.step(action)
        step = due
        yield step, np.ascontiguousarray(env.render())


def spaced(steps: int, frames: int) -> list[int]:
    """Return at most `frames` different steps from 0 to `steps`, evenly spaced."""
    return sorted({round(float(step)) for step in np.linspace(0, steps, frames)})


@contextmanager
def stage(task: Task) -> Iterator[gymnasium.Env]:
    """Open Gymnasium's environment of a task such that `render` returns a frame, without a display."""
    os.environ["SDL_VIDEODRIVER"] = "dummy"
    os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"
    if task.family == "classic":
        env = gymnasium.make(task.env_id, render_mode="rgb_array", **task.env_kwargs)
    else:
        os.environ["MUJOCO_GL"] = renderer()
        env = _mujoco(task)
    try:
        yield env
    finally:
        env.close()


def _mujoco(task: Task) -> gymnasium.Env:
    import mujoco

    from bench.envs.mujoco import unwarned

    size = {"width": 320 if task.name in _UPRIGHT else 480, "height": 480}
    with unwarned():
        env = gymnasium.make(task.env_id, render_mode="rgb_array", camera_name="track", **size, **task.env_kwargs)
    # The drawn floor ends after 20 or 40 m, and a good policy goes further; the floor that bodies touch never ends.
    model = env.unwrapped.model
    (floor,) = np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE)
    model.mat_texrepeat[model.geom_matid[floor]] /= 2 * model.geom_size[floor, :2]  # from then on it is per metre
    model.geom_size[floor, :2] = 0  # without end
    return env


def renderer() -> str:
    """Return how MuJoCo can draw here: the environment variable MUJOCO_GL, or else the first of EGL, OSMesa and GLFW.

    Each is tried in a process of its own, for OpenGL can be chosen only once in a process.

    Raises:
        UserError: none works; it says what to install.
    """
    wanted = os.environ.get("MUJOCO_GL", "").lower()
    if wanted and wanted not in RENDERERS:
        raise UserError(
            f"MUJOCO_GL={wanted} cannot draw into a file; unset it, or choose one of {', '.join(RENDERERS)}"
        )
    for name in (wanted,) if wanted else RENDERERS:
        environment = os.environ | {"MUJOCO_GL": name}
        probe = subprocess.run([sys.executable, "-c", PROBE.format(name)], env=environment, capture_output=True)
        if probe.returncode == 0:
            return name
    raise UserError(
        f"MuJoCo cannot draw here with {wanted or 'EGL, OSMesa or GLFW'}: no OpenGL library works. On Debian or Ubuntu "
        "`apt-get install libegl1 libgl1` (or libosmesa6) brings one that needs neither a display nor a GPU"
    )
