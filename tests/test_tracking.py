"""The mirror in Weights & Biases, by what wandb itself wrote: its offline files, read back."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pandas as pd
import pytest

from bench import cli, loop, sync, tracking
from bench.config import RunConfig
from bench.files import read_json, write_json
from bench.lock import Lock

pytestmark = pytest.mark.usefixtures("store")

BLOCK, HEADER = 32 * 1024, 7


def records(path: Path) -> Iterator[Any]:
    """Yield the records of a .wandb file: LevelDB's log format behind seven bytes of magic."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, part = path.read_bytes(), HEADER, b""
    assert content.startswith(b":W&B"[: len(content)])
    while at + HEADER <= len(content):
        if BLOCK - at % BLOCK < HEADER:  # too short for another header: padding
            at += BLOCK - at % BLOCK
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        if at + HEADER + length > len(content):
            return
        part += content[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(part)
            part = b""


def whole(path: Path) -> list[Any]:
    """Return the records of a .wandb file, which wandb's service completes shortly after a run is finished."""
    deadline = time.monotonic() + 60
    while not (found := list(records(path))) or found[-1].WhichOneof("record_type") != "exit":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def mirrored(run: Path) -> dict[str, Any]:
    """Return what the one wandb run below a record holds."""
    (path,) = run.glob("wandb/offline-run-*/*.wandb")
    found: dict[str, Any] = {
        "history": {},
        "summary": {},
        "config": {},
        "artifacts": [],
        "exit": None,
        "folder": path.parent,
    }
    found["preempting"] = False
    for record in whole(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            one = record.run
            found |= {"id": one.run_id, "group": one.run_group, "tags": list(one.tags), "name": one.display_name}
            found["project"] = one.project
            found["config"] |= {item.key: json.loads(item.value_json) for item in one.config.update}
        elif kind == "history":
            row = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            assert row["_step"] not in found["history"]
            found["history"][row["_step"]] = row
        elif kind == "summary":
            items = record.summary.update
            found["summary"] |= {i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in items}
        elif kind == "artifact":
            found["artifacts"].append(record.artifact)
        elif kind == "exit":
            found["exit"] = record.exit.exit_code
        elif kind == "preempting":
            found["preempting"] = True
    return found


def assert_mirrors(run: Path) -> dict[str, Any]:
    """Check that the mirror holds the record's curves, settings, result and final episodes, and return it."""
    mirror = mirrored(run)
    config, result = read_json(run / "config.json"), read_json(run / "result.json")
    assert mirror["id"] == tracking.run_id(run)
    assert mirror["config"]["settings"] == config["settings"]
    assert mirror["config"]["demonstrations"]["digest"] == config["demonstrations"]["digest"]
    progress = pd.read_csv(run / "progress.csv").set_index("iteration")
    evaluations = pd.read_csv(run / "evaluations.csv")
    means = evaluations.groupby("iteration")[["return", "length"]].mean()
    assert sorted(mirror["history"]) == sorted({*progress.index, *means.index})
    for iteration, row in mirror["history"].items():
        for name in progress.columns if iteration in progress.index else ():
            assert row[name] == pytest.approx(progress.loc[iteration, name])
        for name in means.columns if iteration in means.index else ():
            assert row[f"evaluation/{name}"] == pytest.approx(means.loc[iteration, name])
    assert mirror["summary"]["result/mean"] == result["mean"]
    assert mirror["exit"] == 0
    final = evaluations[evaluations.iteration == result["iterations"]]
    (path,) = mirror["folder"].glob("files/media/table/*.table.json")
    table = json.loads(path.read_text())
    assert table["columns"] == ["episode", "eval_seed", "return", "length", "terminated"]
    assert table["data"] == final[table["columns"]].to_numpy().tolist()
    return mirror


def config(toy: str, seed: int = 0, **settings: Any) -> RunConfig:
    return RunConfig(toy, "cartpole", 1, seed, preset="full", settings=settings)


def test_a_run_is_mirrored_as_it_is_recorded(toy: str, tmp_path: Path) -> None:
    outcome = loop.run(config(toy), tmp_path, tracking="offline")
    assert outcome.remarks == ()
    mirror = assert_mirrors(config(toy).directory(tmp_path))
    assert (mirror["name"], mirror["group"]) == ("Toy/cartpole/n1/seed0", "Toy/cartpole/n1")
    assert mirror["tags"] == ["Toy", "cartpole", "n1", "full"]
    assert mirror["project"] == "mgail-bench"


def test_a_run_that_was_stopped_and_went_on_is_one_whole_mirror(toy: str, tmp_path: Path) -> None:
    run, seen = config(toy).directory(tmp_path), []
    loop.run(config(toy), tmp_path, seen.append, lambda: seen[-1].iteration == 4, "offline")
    first = mirrored(run)
    assert sorted(first["history"]) == [0, 1, 2, 3, 4]
    assert (first["exit"], first["preempting"]) == (1, True)
    loop.run(config(toy), tmp_path, tracking="offline")
    assert assert_mirrors(run)["id"] == first["id"]


def test_a_crash_is_seen_in_the_mirror(toy: str, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        loop.run(config(toy, crash_at=2), tmp_path, tracking="offline")
    mirror = mirrored(config(toy, crash_at=2).directory(tmp_path))
    assert (mirror["exit"], mirror["preempting"]) == (1, False)
    assert sorted(mirror["history"]) == [0, 1, 2]


def test_records_are_mirrored_after_the_fact_with_artifacts(toy: str, tmp_path: Path, capfd) -> None:
    for seed in range(3):
        loop.run(config(toy, seed), tmp_path / "runs")
    with pytest.raises(ZeroDivisionError):
        loop.run(config(toy, 3, crash_at=2), tmp_path / "runs")
    command = ["sync", str(tmp_path / "runs"), "--wandb", "offline", "--artifacts", "--workers", "2"]
    for _ in range(2):  # the second time, wandb's files are written anew, not beside the first
        assert cli.main(command) == 0
        output, errors = capfd.readouterr()
        assert output == f"4 records in {tmp_path / 'runs'}: 4 mirrored\n"
        assert "note" not in errors  # a slow machine shows progress
        ids = set()
        for seed in range(3):
            mirror = assert_mirrors(config(toy, seed).directory(tmp_path / "runs"))
            (policy,) = [artifact for artifact in mirror["artifacts"] if artifact.type == "policy"]
            assert [entry.path for entry in policy.manifest.contents] == ["policy.pt"]
            assert "digest" in json.loads(policy.metadata)["demonstrations"]
            ids.add(mirror["id"])
        assert len(ids) == 3
    assert mirrored(config(toy, 3).directory(tmp_path / "runs"))["exit"] == 1


def test_what_is_online_as_it_stands_is_not_mirrored_again(toy: str, tmp_path: Path, monkeypatch) -> None:
    run = config(toy).directory(tmp_path)
    loop.run(config(toy), tmp_path)
    assert not tracking.in_sync(run)
    marker = {"id": tracking.run_id(run), "destination": tracking.destination(), "content": tracking.content(run)}
    write_json(run / tracking.MARKER, marker)
    assert sync.sync([run]) == ({run: "in sync"}, [])
    assert not tracking.in_sync(run, artifacts=True)
    with Lock(run / "sync", "the mirror"):
        (remark,) = sync.mirror(run, "offline")
    assert "in use by another process" in remark
    monkeypatch.setattr(tracking, "destination", lambda: marker["destination"] | {"project": "another"})
    assert not tracking.in_sync(run)
    monkeypatch.undo()
    with (run / "evaluations.csv").open("a") as stream:
        stream.write("more")
    assert not tracking.in_sync(run)


def test_a_mirror_that_breaks_does_not_cost_the_run(toy: str, tmp_path: Path, monkeypatch) -> None:
    import wandb

    class Broken:
        id = "x"

        def log(self, *_: Any, **__: Any) -> None:
            raise ConnectionError("the service died")

    monkeypatch.setattr(wandb, "init", lambda **_: Broken())
    outcome = loop.run(config(toy), tmp_path, tracking="offline")
    assert outcome.status == "finished"
    (remark,) = outcome.remarks
    assert "the service died" in remark


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    """Return an environment in which wandb finds no account but what `more` says."""
    home = tmp_path / "home"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return kept | {
        **{"HOME": str(home), "NETRC": str(home / "netrc"), "WANDB_CONFIG_DIR": str(home), "no_proxy": "*"},
        **more,
    }


NOWHERE = "http://127.0.0.1:9"
COMMAND = [sys.executable, "-m", "bench.cli"]


@pytest.fixture
def server() -> Iterator[str]:
    """A server that answers every question with 404."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as one:
        Thread(target=one.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{one.server_port}"
        one.shutdown()


def test_without_a_network_a_run_is_mirrored_offline_and_says_so_in_one_line(toy: str, tmp_path: Path) -> None:
    env = environment(tmp_path, WANDB_BASE_URL=NOWHERE, WANDB_API_KEY="0" * 40)
    one = ["run", "--task", "cartpole", "--trajectories", "1", "--preset", "smoke", "--algorithm", toy]
    command = [*COMMAND, *one, "--wandb", "online", "--out", str(tmp_path / "runs")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (line,) = [text for text in done.stderr.splitlines() if "wandb" in text]
    assert line.startswith(f"bench: wandb: no answer from {NOWHERE} (")
    assert line.endswith("; mirrored offline, bench sync brings it online")
    assert_mirrors(RunConfig(toy, "cartpole", 1, 0).directory(tmp_path / "runs"))


@pytest.mark.parametrize(("reached", "why"), [(True, "no API key is configured"), (False, f"no answer from {NOWHERE}")])
def test_sync_without_an_account_or_a_network_is_one_line(server: str, tmp_path: Path, reached: bool, why: str) -> None:
    env = environment(tmp_path, WANDB_BASE_URL=server if reached else NOWHERE)
    done = subprocess.run([*COMMAND, "sync", "."], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"bench: error: wandb: {why}")
    assert line.endswith("; --wandb offline needs neither")
