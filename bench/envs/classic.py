"""CartPole, MountainCar and Acrobot for N rows at once, equal bit for bit to Gymnasium's scalar code.

Two things decide the last bit. Where Gymnasium calls `math.cos`, so do we; and where it raises a NumPy scalar to the
power 2, that is the C library's `pow`, which does not always round like the product that an array's ``** 2`` is.
All other operations are the same IEEE operations in the same order.
"""

import math
from itertools import repeat
from typing import ClassVar

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from bench.envs.base import ExactVectorEnv, Index

Floats = NDArray[np.float64]


def _widened(array: NDArray) -> Floats:
    """Round to float32, as Gymnasium's observations are, and widen again."""
    return array.astype(np.float32).astype(np.float64)


class ClassicVectorEnv(ExactVectorEnv):
    """Base of the classic tasks: the internal states of all rows are one array [N, D] float64."""

    actions: ClassVar[int]
    state_size: ClassVar[int]

    def __init__(self, num_envs: int, horizon: int):
        high = _widened(np.array(self._bounds()))
        low = _widened(np.array(self._lower_bounds()))
        super().__init__(num_envs, horizon, Box(low, high, dtype=np.float64), Discrete(self.actions))
        self._state = np.zeros((num_envs, self.state_size))

    def _bounds(self) -> list[float]:
        raise NotImplementedError

    def _lower_bounds(self) -> list[float]:
        return [-bound for bound in self._bounds()]

    def _observe(self, state: Floats) -> Floats:
        return _widened(state)

    def _place(self, rows: NDArray[np.integer], states: Floats) -> Floats:
        self._state[rows] = states
        return self._observe(states)

    def simulator_states(self, rows: NDArray[np.integer] | None = None) -> Floats:  # noqa: D102
        return self._state.copy() if rows is None else self._state[rows]

    def states_of(self, observations: Floats) -> Floats:  # noqa: D102
        return observations.copy()

    def _save_simulator(self) -> Floats:
        return self._state.copy()

    def _restore_simulator(self, state: Floats) -> None:
        self._state[:] = state


class CartPole(ClassicVectorEnv):
    """CartPole-v1; state: x, x', theta, theta' (m, rad, s)."""

    actions = 2
    state_size = 4

    _X_LIMIT = 2.4
    _THETA_LIMIT = 12 * 2 * math.pi / 360
    _GRAVITY = 9.8
    _POLE_MASS = 0.1
    _TOTAL_MASS = 0.1 + 1.0
    _LENGTH = 0.5
    _POLE_MASS_LENGTH = 0.1 * 0.5
    _FORCE = 10.0
    _TAU = 0.02

    def _bounds(self) -> list[float]:
        return [2 * self._X_LIMIT, np.inf, 2 * self._THETA_LIMIT, np.inf]

    def _simulate(self, actions: NDArray, rows: Index) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        x, x_dot, theta, theta_dot = self._state[rows].T.copy()
        force = np.where(actions == 1, self._FORCE, -self._FORCE)
        cos, sin = np.cos(theta), np.sin(theta)
        push = (force + self._POLE_MASS_LENGTH * np.square(theta_dot) * sin) / self._TOTAL_MASS
        theta_acc = (self._GRAVITY * sin - cos * push) / (
            self._LENGTH * (4.0 / 3.0 - self._POLE_MASS * np.square(cos) / self._TOTAL_MASS)
        )
        x_acc = push - self._POLE_MASS_LENGTH * theta_acc * cos / self._TOTAL_MASS
        state = np.empty((len(x), 4))
        state[:, 0] = x = x + self._TAU * x_dot
        state[:, 1] = x_dot + self._TAU * x_acc
        state[:, 2] = theta = theta + self._TAU * theta_dot
        state[:, 3] = theta_dot + self._TAU * theta_acc
        self._state[rows] = state
        terminated = (np.abs(x) > self._X_LIMIT) | (np.abs(theta) > self._THETA_LIMIT)
        return _widened(state), np.ones(len(x)), terminated

    def _reset_rows(self, rows: NDArray[np.integer]) -> Floats:
        return self._place(rows, np.stack([self._generators[row].uniform(-0.05, 0.05, size=4) for row in rows]))


class MountainCar(ClassicVectorEnv):
    """MountainCar-v0; state: position, velocity."""

    actions = 3
    state_size = 2

    _LOW, _HIGH, _GOAL = -1.2, 0.6, 0.5
    _MAX_SPEED = 0.07
    _FORCE = 0.001
    _GRAVITY = 0.0025

    def _bounds(self) -> list[float]:
        return [self._HIGH, self._MAX_SPEED]

    def _lower_bounds(self) -> list[float]:
        return [self._LOW, -self._MAX_SPEED]

    def _simulate(self, actions: NDArray, rows: Index) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        position, velocity = self._state[rows].T
        cos = np.fromiter(map(math.cos, (3 * position).tolist()), np.float64, len(position))
        velocity = velocity + ((actions - 1) * self._FORCE + cos * -self._GRAVITY)
        velocity = np.clip(velocity, -self._MAX_SPEED, self._MAX_SPEED)
        position = np.clip(position + velocity, self._LOW, self._HIGH)
        velocity[(position == self._LOW) & (velocity < 0)] = 0
        state = np.stack([position, velocity], axis=1)
        self._state[rows] = state
        terminated = (position >= self._GOAL) & (velocity >= 0)
        return _widened(state), np.full(len(position), -1.0), terminated

    def _reset_rows(self, rows: NDArray[np.integer]) -> Floats:
        return self._place(rows, np.array([[self._generators[row].uniform(-0.6, -0.4), 0.0] for row in rows]))


class Acrobot(ClassicVectorEnv):
    """Acrobot-v1 ("book" dynamics, Runge-Kutta 4); state: theta1, theta2, theta1', theta2' (rad, s).

    All lengths, masses and moments of inertia are 1, the centres of mass lie at 0.5; products with them are exact and
    therefore folded.
    """

    actions = 3
    state_size = 4

    _MAX_SPEED = np.array([[4 * np.pi], [9 * np.pi]])
    _DT = 0.2
    _GRAVITY = 9.8

    def _bounds(self) -> list[float]:
        return [1.0, 1.0, 1.0, 1.0, *self._MAX_SPEED[:, 0].tolist()]

    def _observe(self, state: NDArray) -> Floats:
        # In the precision of the state: right after a reset it is float32, so the cosine is float32's.
        angles = state[:, :2]
        trigonometric = np.stack([np.cos(angles), np.sin(angles)], axis=2).reshape(len(state), 4)
        return _widened(np.concatenate([trigonometric, state[:, 2:]], axis=1))

    def states_of(self, observations: Floats) -> Floats:  # noqa: D102
        cos1, sin1, cos2, sin2 = observations[:, :4].T
        return np.column_stack([np.arctan2(sin1, cos1), np.arctan2(sin2, cos2), observations[:, 4:]])

    def _derivative(self, state: Floats, torque: Floats) -> Floats:
        """Time derivative of the state for states [4, K] and torques [K]."""
        theta1, theta2, dtheta1, dtheta2 = state
        cos2, sin2 = np.cos(theta2), np.sin(theta2)
        d1 = 0.25 + (1.25 + cos2) + 1.0 + 1.0
        d2 = (0.25 + 0.5 * cos2) + 1.0
        squares = np.concatenate([dtheta1, dtheta2, d2])
        squares = np.fromiter(map(math.pow, squares.tolist(), repeat(2.0)), np.float64, squares.size)
        dtheta1_squared, dtheta2_squared, d2_squared = squares.reshape(3, -1)
        phi2 = 0.5 * self._GRAVITY * np.cos(theta1 + theta2 - np.pi / 2.0)
        phi1 = (
            -0.5 * dtheta2_squared * sin2
            - dtheta2 * dtheta1 * sin2
            + 1.5 * self._GRAVITY * np.cos(theta1 - np.pi / 2)
            + phi2
        )
        derivative = np.empty_like(state)
        derivative[:2] = state[2:]
        derivative[3] = (torque + d2 / d1 * phi1 - 0.5 * dtheta1_squared * sin2 - phi2) / (1.25 - d2_squared / d1)
        derivative[2] = -(d2 * derivative[3] + phi1) / d1
        return derivative

    def _simulate(self, actions: NDArray, rows: Index) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        torque = actions - 1.0
        start = self._state[rows].T.copy()
        half = self._DT / 2.0
        k1 = self._derivative(start, torque)
        k2 = self._derivative(start + half * k1, torque)
        k3 = self._derivative(start + half * k2, torque)
        k4 = self._derivative(start + self._DT * k3, torque)
        state = start + self._DT / 6.0 * (k1 + 2 * k2 + 2 * k3 + k4)
        angles = state[:2]
        while (over := angles > np.pi).any():
            angles[over] -= 2 * np.pi
        while (under := angles < -np.pi).any():
            angles[under] += 2 * np.pi
        np.clip(state[2:], -self._MAX_SPEED, self._MAX_SPEED, out=state[2:])
        terminated = -np.cos(angles[0]) - np.cos(angles[1] + angles[0]) > 1.0
        self._state[rows] = state.T
        return self._observe(state.T), np.where(terminated, 0.0, -1.0), terminated

    def _reset_rows(self, rows: NDArray[np.integer]) -> Floats:
        starts = np.stack([self._generators[row].uniform(-0.1, 0.1, size=4) for row in rows]).astype(np.float32)
        self._state[rows] = starts
        return self._observe(starts)
