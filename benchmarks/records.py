"""How long `bench analyze` takes on many records: made-up runs are written, then loaded, tested and rendered.

    python benchmarks/records.py --records 10000 --out records

Says the seconds of each stage, on the clock and of the processor, and the most memory held. Records that are in --out
already are not written again.
"""

import argparse
import itertools
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from analysis import PARTS
from analysis.document import Document
from analysis.load import METHODS
from analysis.records import read_runs
from bench.tasks import TASKS

EVALUATIONS, EPISODES, FINAL = 20, 10, 50  # of a run, as the protocol has them


def write(out: Path, records: int) -> None:
    """Write so many finished runs, every entry of Table 1 with the same seeds as far as they go."""
    generator = np.random.default_rng(0)
    cells = [(task.name, n) for task in TASKS.values() for n in task.trajectories]
    entries = [(seed, algorithm, *cell) for seed in range(1000) for algorithm in METHODS for cell in cells]
    for seed, algorithm, task, n in itertools.islice(entries, records):
        folder = out / algorithm / task / f"n{n}" / f"seed{seed}"
        folder.mkdir(parents=True)
        known = {"expert": 3600.0, "expert_deterministic": 3650.0, "random": 20.0}
        rows = ["iteration,env_steps,episode,eval_seed,return,length,terminated"]
        for i, value in enumerate(generator.normal(2000, 300, EVALUATIONS * EPISODES)):
            rows.append(f"{i // EPISODES},{1000 * (i // EPISODES)},{i % EPISODES},{2_000_000 + i},{value},1000,False")
        returns = generator.normal(3000, 300, FINAL)
        last = f"{EVALUATIONS},{1000 * EVALUATIONS}"
        rows += [f"{last},{i},{1_000_000 + i},{value},1000,False" for i, value in enumerate(returns)]
        config: dict[str, Any] = {"schema": 1, "algorithm": algorithm, "task": task, "trajectories": n, "seed": seed}
        config |= {"label": None, "settings": {"width": 100}, "iterations": EVALUATIONS, "references": known}
        config |= {"demonstrations": {"digest": task, "pairs": 50}, "versions": {}, "commit": None, "preset": "full"}
        result = {"schema": 1, "mean": float(returns.mean()), "n_episodes": FINAL, "references": known}
        result |= {"iterations": EVALUATIONS, "env_steps": 1000 * EVALUATIONS, "wall_s": 9.0, "core_s": 9.0}
        (folder / "evaluations.csv").write_text("\n".join(rows) + "\n")
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "result.json").write_text(json.dumps(result))


def timed(what: str, work: Callable[[], Any]) -> Any:
    """Do the work and say how long it took."""
    wall, core = time.perf_counter(), time.process_time()
    done = work()
    print(f"{what:<8} {time.perf_counter() - wall:6.1f} s, {time.process_time() - core:6.1f} s of one core")
    return done


def main() -> None:
    """Write, load, test, render."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000, metavar="N", help="how many (default: 10000)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where they are written")
    args = parser.parse_args()
    if not args.out.exists():
        timed("write", lambda: write(args.out, args.records))
    results = timed("load", lambda: read_runs([args.out]))
    document = timed("test", lambda: Document.build(results))
    files = timed("render", lambda: document.contents(PARTS))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(results.runs)} runs, {len(files)} files, at most {memory:.0f} MiB")


if __name__ == "__main__":
    main()
