"""Vector environments that equal `gymnasium.make` bit for bit, at the speed of their physics."""

from collections.abc import Callable

from bench.envs.base import ExactVectorEnv
from bench.errors import UserError
from bench.tasks import Task


def make_env(task: Task, num_envs: int, threads: int = 1) -> ExactVectorEnv:
    """Return `num_envs` rows of a task, with its time limit and same-step autoreset.

    `threads` steps slices of the rows of a MuJoCo task on as many cores; the numbers are the same.
    """
    if num_envs < 1:
        raise UserError(f"num_envs must be at least 1, not {num_envs}")
    if unknown := set(task.env_kwargs) - {"max_episode_steps"}:
        raise UserError(f"task {task.name}: env_kwargs {', '.join(sorted(unknown))} are not supported")
    environments: dict[str, Callable[..., ExactVectorEnv]]
    keywords: dict[str, int] = {}
    # Each family is imported when asked for: the classic tasks need no MuJoCo.
    if task.family == "classic":
        from bench.envs import classic

        environments = {
            "CartPole-v1": classic.CartPole,
            "MountainCar-v0": classic.MountainCar,
            "Acrobot-v1": classic.Acrobot,
        }
    else:
        from bench.envs import locomotion

        keywords["threads"] = threads
        environments = {
            "Hopper-v5": locomotion.Hopper,
            "Walker2d-v5": locomotion.Walker2d,
            "HalfCheetah-v5": locomotion.HalfCheetah,
            "Ant-v5": locomotion.Ant,
            "Humanoid-v5": locomotion.Humanoid,
        }
    if task.env_id not in environments:
        raise UserError(f"no vector environment for {task.env_id} ({task.family}); known: {', '.join(environments)}")
    return environments[task.env_id](num_envs, task.horizon, **keywords)


__all__ = ["ExactVectorEnv", "make_env"]
