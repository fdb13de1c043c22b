"""The GRU cell along a walk (see `algorithms.adjoint`): memory' = (1 - z) n + z memory, with n = tanh(i_n + r h_n)."""

import numpy as np
from torch import nn

from algorithms.adjoint import Array, aligned, array, mean_with_one


class GRUTape:
    """The tape of a GRU cell with reset r and update z.

    The cell reads memory, ones and input below each other, so that every product has its bias: r and z come from all of
    these rows, h_n from memory and ones, i_n from ones and input.
    """

    def __init__(self, cell: nn.GRUCell, horizon: int, batch: int):
        self.cell = cell
        self.load()
        size, self.width = cell.input_size, cell.hidden_size
        dtype = self.both.dtype
        self.inputs = aligned(self.width + 1 + size, batch, dtype=dtype, value=1)
        self.from_memory, self.from_x = self.inputs[: self.width + 1], self.inputs[self.width :]
        self.r_z = aligned(horizon, 2 * self.width, batch, dtype=dtype)
        self.to_r_z, self.slope = aligned(2, 2 * self.width, batch, dtype=dtype)
        self.n, self.h_n, self.changes, self.memories = aligned(4, horizon, self.width, batch, dtype=dtype)
        self.to_n, self.to_h_n, self.kept, self.to_memory = aligned(4, self.width, batch, dtype=dtype)
        self.through_gates = aligned(self.width + size, batch, dtype=dtype)
        self.to_x = aligned(size, batch, dtype=dtype)

    def load(self) -> None:
        """Read the weights; the gates' are halved: sigmoid(z) = (1 + tanh(z / 2)) / 2."""
        cell, gates = self.cell, 2 * self.cell.hidden_size
        from_x, from_memory = array(cell.weight_ih), array(cell.weight_hh)
        of_x, of_memory = array(cell.bias_ih)[:, None], array(cell.bias_hh)[:, None]
        both = [from_memory[:gates], of_x[:gates] + of_memory[:gates], from_x[:gates]]
        self.both = 0.5 * np.concatenate(both, 1)
        self.memory_n = np.concatenate([from_memory[gates:], of_memory[gates:]], 1)
        self.x_n = np.concatenate([of_x[gates:], from_x[gates:]], 1)
        self.to_both = np.concatenate([from_memory[:gates], from_x[:gates]], 1).T.copy()
        self.to_x_n, self.to_memory_n = from_x[gates:].T.copy(), from_memory[gates:].T.copy()

    def forward(self, t: int, x: Array, before: Array) -> Array:
        """Return the next memory: [I, B], [W, B] -> [W, B]."""
        width = self.width
        np.copyto(self.from_x[1:], x)
        np.copyto(self.from_memory[:width], before)
        r_z = np.matmul(self.both, self.inputs, out=self.r_z[t])
        mean_with_one(np.tanh(r_z, out=r_z))
        h_n = np.matmul(self.memory_n, self.from_memory, out=self.h_n[t])
        n = np.matmul(self.x_n, self.from_x, out=self.n[t])
        following = np.multiply(r_z[:width], h_n, out=self.memories[t])
        np.tanh(np.add(n, following, out=n), out=n)
        change = np.subtract(before, n, out=self.changes[t])
        return np.add(np.multiply(r_z[width:], change, out=following), n, out=following)

    def pull(self, t: int, cotangent: Array) -> tuple[Array, Array]:
        """Return the cotangents of input [I, B] and memory [W, B] for one of the next memory [W, B]."""
        width = self.width
        r_z, n, to_r_z, to_n, to_h_n = self.r_z[t], self.n[t], self.to_r_z, self.to_n, self.to_h_n
        kept = np.multiply(cotangent, r_z[width:], out=self.kept)
        np.subtract(1, np.square(n, out=to_h_n), out=to_h_n)  # 1 - n^2
        np.multiply(np.subtract(cotangent, kept, out=to_n), to_h_n, out=to_n)
        np.multiply(to_n, self.h_n[t], out=to_r_z[:width])
        np.multiply(cotangent, self.changes[t], out=to_r_z[width:])
        slope = np.square(r_z, out=self.slope)
        np.multiply(to_r_z, np.subtract(r_z, slope, out=slope), out=to_r_z)  # y - y^2
        np.multiply(to_n, r_z[:width], out=to_h_n)
        through = np.matmul(self.to_both, to_r_z, out=self.through_gates)
        to_x = np.matmul(self.to_x_n, to_n, out=self.to_x)
        np.add(to_x, through[width:], out=to_x)
        to_memory = np.matmul(self.to_memory_n, to_h_n, out=self.to_memory)
        np.add(to_memory, kept, out=to_memory)
        return to_x, np.add(to_memory, through[:width], out=to_memory)
