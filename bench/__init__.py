"""mgail-bench: an imitation-learning benchmark, from expert to Table 1.

The data flows one way; so do the imports::

    true reward                no reward from here on                     files only from here on
    datasets.expert (TRPO) -> datasets.demonstrations -> algorithms.*  -> runs/<...>/seed<k>/ -> analysis
                                                         bench.loop: iterate, evaluate, checkpoint, record

``bench``       tasks, the paper's numbers, seeding, environments, policy, evaluation, loop, record, command line
``algorithms``  one method per file: bc, gail, mgail; their parts beside them
``datasets``    experts (trained by TRPO on the true reward) and their demonstrations
``analysis``    reads files only: statistics, Table 1, Figure 5
``slurm``       which runs make a grid, and how they are launched

Two functions are for notebooks: `bench.load` (run records -> tidy DataFrame) and `bench.load_policy` (run -> callable).
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_LAZY = {"load": "bench.frame", "load_policy": "bench.policy"}


def __getattr__(name: str) -> Any:
    """Import `load` and `load_policy` on first use, so that reading files needs no torch."""
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'bench' has no attribute {name!r}")
