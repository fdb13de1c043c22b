"""Trains a peer of ours for `training.py`, in the peers' own virtual environment, and prints what came of it as JSON.

Run by ``training.py`` as ``python peers.py METHOD ENV STEPS SEED FIRST_EVALUATION_SEED EPISODES [DEMONSTRATIONS.npz]``;
imports nothing of ours. Each line is a record of how far it is, the last one has the returns. One torch thread, one
process, no logging. Each method has the settings that its own project publishes for the task:

``trpo``       sb3-contrib's TRPO as tuned in RL Baselines3 Zoo (hyperparams/trpo.yml, MuJoCo): two environments of
               1,024 steps, observations and rewards normalised, 25 conjugate gradient steps, 20 critic updates
``gail-ppo``   imitation's GAIL with Stable-Baselines3's PPO as tuned by imitation (scripts/config/tuned_hps)
``gail-trpo``  the same GAIL with the TRPO above as generator
"""

import json
import sys
import time
from importlib.metadata import version
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from imitation.algorithms.adversarial.gail import GAIL as Trainer
from imitation.data.types import Trajectory
from imitation.policies.base import FeedForward32Policy, NormalizeFeaturesExtractor
from imitation.rewards.reward_nets import BasicRewardNet
from imitation.util.logger import configure
from imitation.util.networks import RunningNorm
from sb3_contrib import TRPO
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

ZOO_TRPO = {
    "batch_size": 128,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "sub_sampling_factor": 1,
    "cg_max_steps": 25,
    "cg_damping": 0.1,
    "n_critic_updates": 20,
    "learning_rate": 1e-3,
}
ZOO_TASKS: dict[str, dict[str, Any]] = {"Hopper-v5": {}, "HalfCheetah-v5": {"target_kl": 0.04}}

# Four trajectories hold fewer pairs than the 8,192 of HalfCheetah's tuned batch: 1,024 is imitation's default.
GAIL: dict[str, dict[str, Any]] = {
    "Hopper-v5": {"demo_batch_size": 128, "gen_replay_buffer_capacity": 4096, "n_disc_updates_per_round": 8},
    "HalfCheetah-v5": {"demo_batch_size": 1024, "gen_replay_buffer_capacity": 512, "n_disc_updates_per_round": 8},
}
GAIL_ENVS, GAIL_BATCH = 8, 4096
PPO_TASKS: dict[str, dict[str, Any]] = {
    "Hopper-v5": {
        "batch_size": 512,
        "clip_range": 0.1,
        "ent_coef": 0.001255299425412744,
        "gae_lambda": 0.98,
        "gamma": 0.995,
        "learning_rate": 4.3984856156897565e-5,
        "max_grad_norm": 0.9,
        "n_epochs": 20,
        "vf_coef": 0.20315938606555833,
    },
    "HalfCheetah-v5": {
        "batch_size": 64,
        "clip_range": 0.1,
        "ent_coef": 3.992371122209408e-6,
        "gae_lambda": 0.95,
        "gamma": 0.95,
        "learning_rate": 0.00026250519057717037,
        "max_grad_norm": 0.8,
        "n_epochs": 5,
        "vf_coef": 0.11483689492120866,
    },
}


def make_envs(env_id: str, count: int, seed: int) -> VecEnv:
    """Return `count` environments, stepped one after the other in this process."""
    envs = DummyVecEnv([lambda: Monitor(gym.make(env_id))] * count)
    envs.seed(seed)
    return envs


def tell(env_steps: int) -> None:
    """Say how far the training is."""
    print(json.dumps({"env_steps": env_steps}), flush=True)


class Teller(BaseCallback):
    """Says after every batch how far Stable-Baselines3 is."""

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        tell(self.num_timesteps)


def learn_trpo(env_id: str, steps: int, seed: int) -> tuple[Any, Any, int]:
    """Return a policy trained by sb3-contrib's TRPO, the normaliser of what it sees, and the steps taken."""
    envs = VecNormalize(make_envs(env_id, 2, seed), gamma=ZOO_TRPO["gamma"])
    model = TRPO("MlpPolicy", envs, n_steps=1024, seed=seed, device="cpu", **ZOO_TRPO | ZOO_TASKS[env_id])
    model.learn(steps, callback=Teller())
    return model.policy, envs.normalize_obs, model.num_timesteps


def learn_gail(env_id: str, steps: int, seed: int, method: str, demonstrations: str) -> tuple[Any, Any, int]:
    """Return a policy trained by imitation's GAIL, the normaliser of what it sees, and the steps taken."""
    with np.load(demonstrations) as arrays:
        count = len(arrays.files) // 3
        trajectories = [
            Trajectory(arrays[f"observations{i}"], arrays[f"actions{i}"], None, terminal=bool(arrays[f"terminated{i}"]))
            for i in range(count)
        ]
    envs = make_envs(env_id, GAIL_ENVS, seed)
    keywords = {"features_extractor_class": NormalizeFeaturesExtractor}
    shared = {"n_steps": GAIL_BATCH // GAIL_ENVS, "seed": seed, "device": "cpu"}
    if method == "gail-trpo":
        keywords["net_arch"] = [64, 64]
        model = TRPO("MlpPolicy", envs, policy_kwargs=keywords, **shared, **ZOO_TRPO | ZOO_TASKS[env_id])
    elif env_id == "Hopper-v5":
        keywords |= {"activation_fn": torch.nn.ReLU, "net_arch": {"pi": [64, 64], "vf": [64, 64]}}
        model = PPO("MlpPolicy", envs, policy_kwargs=keywords, **shared, **PPO_TASKS[env_id])
    else:
        model = PPO(FeedForward32Policy, envs, policy_kwargs=keywords, **shared, **PPO_TASKS[env_id])
    trainer = Trainer(
        demonstrations=trajectories,
        venv=envs,
        gen_algo=model,
        reward_net=BasicRewardNet(envs.observation_space, envs.action_space, normalize_input_layer=RunningNorm),
        allow_variable_horizon=True,
        custom_logger=configure(format_strs=[]),
        **GAIL[env_id],
    )
    trainer.train(steps, callback=lambda _: tell(model.num_timesteps))
    return model.policy, lambda observations: observations, model.num_timesteps


def evaluate(env_id: str, policy: Any, normalise: Any, seeds: range) -> list[float]:
    """Return the deterministic policy's returns of the episodes that start with `seeds`."""
    env, returns = gym.make(env_id), []
    for seed in seeds:
        observation, _ = env.reset(seed=seed)
        total, over = 0.0, False
        while not over:
            action, _ = policy.predict(normalise(observation), deterministic=True)
            observation, reward, terminated, truncated, _ = env.step(action)
            total, over = total + float(reward), terminated or truncated
        returns.append(total)
    return returns


def main(method: str, env_id: str, steps: str, seed: str, first: str, episodes: str, *demonstrations: str) -> None:
    """Train, evaluate, print."""
    torch.set_num_threads(1)
    start = time.process_time()
    if method == "trpo":
        policy, normalise, taken = learn_trpo(env_id, int(steps), int(seed))
    else:
        policy, normalise, taken = learn_gail(env_id, int(steps), int(seed), method, *demonstrations)
    cpu_s = time.process_time() - start
    policy.set_training_mode(False)
    packages = ("torch", "gymnasium", "mujoco", "stable-baselines3", "sb3-contrib", "imitation")
    result = {
        "env_steps": taken,
        "cpu_s": cpu_s,
        "returns": evaluate(env_id, policy, normalise, range(int(first), int(first) + int(episodes))),
        "versions": {package: version(package) for package in packages},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
