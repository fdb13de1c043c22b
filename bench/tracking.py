"""A mirror of run records in Weights & Biases. The record is complete without it; what is mirrored is its files.

Each record is one wandb run, whose id follows from its config.json: a run that was killed, requeued or mirrored twice
keeps it. A sitting mirrors the record from its beginning and so replaces what an earlier one left behind, on the server
as on the disk: wandb has no way to go on with a run offline, nor to take rows back that a resumed run does again.
"""

import contextlib
import csv
import io
import shutil
import statistics
import sys
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from bench.errors import UserError
from bench.files import read_json, write_json
from bench.record import TABLES, named

MODES = ("disabled", "offline", "online")
MARKER = "wandb.json"  # in a record that is wholly mirrored: where, and of what content
REACH_S = 10.0  # for how long a server may not answer
UPLOAD_S = 120.0  # for how long the end of a run waits for its upload; what is missing then, `bench sync` brings

_unreachable = False  # so that one run of a process waits for a dead network, not all of them


def check(mode: str) -> str:
    """Return the mode that can be had: without an account or a network, what was to go online is kept offline."""
    if mode != "online":
        return mode
    why = unavailable()
    if why is None:
        return mode
    print(f"bench: wandb: {why}; mirrored offline, bench sync brings it online", file=sys.stderr)  # noqa: T201
    return "offline"


def unavailable() -> str | None:
    """Return why nothing can go online (no API key, no answer from the server), or None if it can."""
    import wandb

    server = wandb.setup().settings.base_url
    try:
        with contextlib.suppress(HTTPError):  # an answer all the same
            urlopen(server, timeout=REACH_S).close()
        known = wandb.login(prompt=False)  # asks the server whether it takes the key
    except OSError as error:
        return f"no answer from {server} ({getattr(error, 'reason', error)})"
    except wandb.errors.Error as error:
        return str(error).splitlines()[0]
    return None if known else "no API key is configured (wandb login stores one)"


def run_id(directory: Path) -> str:
    """Return the id of a record's wandb run: it follows from the config.json, which is written once."""
    return sha256((directory / "config.json").read_bytes()).hexdigest()[:16]


def content(directory: Path) -> str:
    """Return a digest of what there is to mirror."""
    digest = sha256()
    for name in (*TABLES, "result.json", "error.txt"):
        path = directory / name
        digest.update(f"{name} {path.exists()}".encode() + (path.read_bytes() if path.exists() else b""))
    return digest.hexdigest()


def destination() -> dict[str, str | None]:
    """Return where mirrors go: the server, the entity and the project, as wandb's own settings say."""
    import wandb

    settings = wandb.setup().settings
    return {"server": settings.base_url, "entity": settings.entity, "project": settings.project or "mgail-bench"}


def in_sync(directory: Path, artifacts: bool = False) -> bool:
    """Return whether the record, as it is now, is mirrored online where it would go (and its artifacts are)."""
    try:
        marker = read_json(directory / MARKER)
    except UserError:
        return False
    complete = marker.get("artifacts", False) >= artifacts and marker.get("content") == content(directory)
    return complete and marker.get("destination") == destination()


def describe(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return name, group and tags of a record's wandb run: the seeds of one entry are one group."""
    method = named(config)
    entry = f"{method}/{config['task']}/n{config['trajectories']}"
    tags = [
        config["algorithm"],
        config["task"],
        f"n{config['trajectories']}",
        config.get("preset"),
        config.get("label"),
    ]
    return {
        "name": f"{entry}/seed{config['seed']}",
        "group": entry,
        "job_type": method,
        "tags": [tag for tag in dict.fromkeys(tags) if tag],
    }


class Tracker:
    """Mirrors one record to Weights & Biases, which is imported only if it is asked for.

    A mirror never costs a run: what goes wrong with it becomes a remark, and ends it.

    Args:
        mode: disabled, offline or online.
        directory: the run's folder, below which wandb keeps its files.
    """

    def __init__(self, mode: str, directory: Path):
        self.mode, self.directory = mode, directory
        self.remarks: list[str] = []
        self._run: Any = None
        self._read = dict.fromkeys(TABLES, 0)

    def start(self) -> None:
        """Begin the mirror, with what the record holds so far."""
        if self.mode == "disabled":
            return
        with self._tolerant():
            shutil.rmtree(self.directory / "wandb", ignore_errors=True)  # of an earlier sitting
            (self.directory / MARKER).unlink(missing_ok=True)
            self._run = self._begin()
        self.follow()

    def _begin(self) -> Any:
        global _unreachable
        import wandb

        config = read_json(self.directory / "config.json")
        where = destination()
        arguments: dict[str, Any] = {
            **{"entity": where["entity"], "project": where["project"], "id": run_id(self.directory)},
            **{"dir": self.directory, "config": config, **describe(config)},
            "settings": wandb.Settings(
                silent=True,
                console="off",
                init_timeout=REACH_S,
                finish_timeout=UPLOAD_S,
                finish_timeout_raises=True,
                disable_git=True,  # the record says what ran where; nothing else of this machine goes out
                disable_job_creation=True,
                x_disable_meta=True,
                x_disable_stats=True,
            ),
        }
        if self.mode == "online" and not _unreachable:
            try:
                return wandb.init(mode="online", **arguments)
            except wandb.errors.Error as error:
                _unreachable = True
                self.remarks.append(
                    f"wandb: {str(error).splitlines()[0]}; mirrored offline, bench sync brings it online"
                )
        self.mode = "offline"
        return wandb.init(mode="offline", **arguments)

    def follow(self) -> None:
        """Mirror the rows that the record has got since; their iteration is wandb's step."""
        if self._run is None:
            return
        with self._tolerant():
            for iteration, row in sorted(self._new_rows().items()):
                self._run.log(row, step=iteration)

    def _new_rows(self) -> dict[int, dict[str, float]]:
        """Return {iteration: what is new of it}; of an evaluation's episodes, their mean return and length."""
        found: dict[int, dict[str, float]] = {}
        for row in self._tail("progress.csv"):
            found[int(row["iteration"])] = {key: float(value) for key, value in row.items() if value}
        episodes: dict[int, list[dict[str, str]]] = {}
        for row in self._tail("evaluations.csv"):
            episodes.setdefault(int(row["iteration"]), []).append(row)
        for iteration, rows in episodes.items():
            found.setdefault(iteration, {"iteration": iteration, "env_steps": float(rows[0]["env_steps"])})
            for key in ("return", "length"):
                found[iteration][f"evaluation/{key}"] = statistics.fmean(float(row[key]) for row in rows)
        return found

    def _tail(self, name: str) -> list[dict[str, str]]:
        """Return the rows of a table that were not read before."""
        try:
            with (self.directory / name).open("rb") as stream:
                header = stream.readline()
                stream.seek(max(self._read[name], len(header)))
                new = stream.read()
                self._read[name] = stream.tell()
        except FileNotFoundError:
            return []
        return list(csv.DictReader(io.StringIO((header + new).decode(), newline="")))

    def finish(self, artifacts: bool = False) -> None:
        """Complete the mirror with how the run ended, and close it.

        Args:
            artifacts: also keep the policy, and of which demonstrations it was learnt.
        """
        if self._run is None:
            return
        self.follow()
        if self._run is None:  # it broke just now
            return
        run, self._run = self._run, None
        finished = (self.directory / "result.json").exists()
        with self._tolerant():
            if finished:
                self._conclude(run, artifacts)
            elif not (self.directory / "error.txt").exists():
                run.mark_preempting()
        with self._tolerant():
            run.finish(exit_code=0 if finished else 1)
            if self.mode == "online" and not self.remarks:
                done = {"destination": destination(), "content": content(self.directory), "artifacts": artifacts}
                write_json(self.directory / MARKER, {"id": run.id, **done})

    def _conclude(self, run: Any, artifacts: bool) -> None:
        """Add the result, the table of the final episodes and, if asked for, the artifacts."""
        import wandb

        config, result = read_json(self.directory / "config.json"), read_json(self.directory / "result.json")
        run.summary.update({f"result/{key}": value for key, value in result.items() if key != "schema"})
        with (self.directory / "evaluations.csv").open(newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if int(row["iteration"]) == result["iterations"]]
        columns = ["episode", "eval_seed", "return", "length", "terminated"]
        table = wandb.Table(columns, [[_value(row[column]) for column in columns] for row in rows])
        run.log({"final_episodes": table}, step=result["iterations"])
        if artifacts:
            data = config["demonstrations"]
            policy = wandb.Artifact(f"policy-{run.id}", "policy", metadata={"demonstrations": data, "result": result})
            policy.add_file(self.directory / "policy.pt")
            if self.mode == "online":  # offline, wandb cannot say what a run used: the policy's metadata does
                run.use_artifact(
                    wandb.Artifact(f"demonstrations-{data['digest'][:16]}", "demonstrations", metadata=data)
                )
            run.log_artifact(policy)

    @contextlib.contextmanager
    def _tolerant(self) -> Iterator[None]:
        """Turn whatever goes wrong with the mirror into a remark that ends it."""
        try:
            yield
        except Exception as error:
            self._run = None
            why = f"{type(error).__name__}: {error}".splitlines()[0]
            self.remarks.append(
                f"wandb: the mirror of {self.directory} is not complete ({why}); bench sync completes it"
            )


def _value(text: str) -> bool | int | float:
    return text == "True" if text in ("True", "False") else float(text) if "." in text else int(text)
