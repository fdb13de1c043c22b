"""The ring of recorded steps: what is drawn from it, and when in an episode that was."""

import numpy as np
import torch

from algorithms.replay import SPAN, SequenceBuffer


def test_transitions_of_the_times_asked_for():
    """Two environments, one 500 steps ahead of the other; a full ring, so that rows lie across its seam."""
    buffer = SequenceBuffer(200, 2, 1, 1, np.random.default_rng(0))
    for step in range(150):
        elapsed = np.array([step, 500 + step])
        state = torch.from_numpy(elapsed[:, None]).float()
        ends = np.array([False, step == 149])
        buffer.push(state, state, state + 1, state, ends, ends, elapsed)
    times = np.array([100] * 300 + [640] * 300)
    states, actions, next_states = buffer.transitions(600, 200, times)
    assert np.abs(states[:, 0].numpy() - times).max() <= SPAN
    assert len(np.unique(states[:300])) > 2 * SPAN - 3  # all of them come up
    assert torch.equal(actions, states)
    assert torch.equal(next_states, states + 1)
    last = buffer.segments(100, 3, 6)
    assert torch.equal(last.terminated > 0, last.states == 649)
    assert last.terminated.any()
    recent = buffer.transitions(500, 40, np.full(500, 130))[0][:, 0]
    assert recent.min() == 130
    assert recent.max() == 130 + SPAN
    nowhere = buffer.transitions(500, 40, np.full(500, 300))[0][:, 0]  # no such time: any of them
    assert set(nowhere.int().tolist()) == {*range(130, 150), *range(630, 650)}
