import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.checkpoint import read_checkpoint
from bench.errors import UserError
from bench.policy import save_policy
from bench.tasks import TASKS
from datasets.expert import (
    RECIPES,
    ExpertConfig,
    ExpertTraining,
    evaluate_expert,
    list_experts,
    load_expert,
    train_expert,
)
from datasets.manifest import EXPERTS, read_manifest

SMALL = {"iterations": 4, "num_envs": 4, "steps": 25, "evaluate_every": 2, "selection_episodes": 2, "value_epochs": 1}
LEVELS = {"cartpole": 200, "mountaincar": -100, "acrobot": -80, "hopper": 3571, "halfcheetah": 4463, "ant": 4228}


@pytest.mark.parametrize("task", ["cartpole", "hopper"])
def test_training_resumes_bit_for_bit(task):
    config = ExpertConfig.build(RECIPES[task], SMALL)
    training, resumed = (ExpertTraining(config, TASKS[task], 0) for _ in range(2))
    resumed.iterate()  # it has been elsewhere
    training.judge(training.iterate())
    resumed.load_state_dict(copy.deepcopy(training.state_dict()))
    metrics, again = training.iterate(), resumed.iterate()
    training.judge(metrics)
    resumed.judge(again)
    assert metrics == again
    assert training.curve == resumed.curve
    assert training.best == resumed.best
    for name, value in training.policy.state_dict().items():
        assert torch.equal(value, resumed.policy.state_dict()[name])


class Killed(Exception):
    pass


def test_a_killed_training_ends_as_one_never_killed(tmp_path):
    def kill(training):
        raise Killed

    whole = train_expert("cartpole", tmp_path / "whole", overrides=SMALL)
    with pytest.raises(Killed):
        train_expert("cartpole", tmp_path / "killed", overrides=SMALL, report=kill)
    resumed = train_expert("cartpole", tmp_path / "killed", overrides=SMALL)
    policies = [torch.load(folder / "expert.pt")["state"] for folder in (whole, resumed)]
    assert all(torch.equal(policies[0][name], policies[1][name]) for name in policies[0])
    with pytest.raises(UserError, match="another seed or other settings"):
        train_expert("cartpole", tmp_path / "killed", seed=1, overrides=SMALL)


def test_a_finished_training_can_be_lengthened(tmp_path):
    train_expert("cartpole", tmp_path / "short", overrides=SMALL)
    folders = [
        train_expert("cartpole", tmp_path / name, overrides=SMALL | {"iterations": 6}) for name in ("short", "long")
    ]
    shorter, longer = (read_checkpoint(folder / "checkpoint.pt")["state"]["policy"] for folder in folders)
    assert all(torch.equal(shorter[name], longer[name]) for name in longer)
    records = [json.loads((folder / "training.json").read_text()) for folder in folders]
    assert [record["env_steps"] for record in records] == [700, 700]
    assert records[0]["settings"] == records[1]["settings"]


def test_evaluation_enters_the_manifest(tmp_path):
    folder = train_expert("cartpole", tmp_path, overrides=SMALL)
    store = tmp_path / "experts"
    record = evaluate_expert("cartpole", folder, episodes=3, experts=store)
    assert read_manifest(store)["experts"]["cartpole"] == record
    assert record["env_steps"] == 5 * 100  # four batches and the one that told the observations' scale
    for name in ("stochastic", "deterministic", "random"):
        assert record[name]["mean"] == pytest.approx(np.mean(record[name]["returns"]))
        assert len(record[name]["returns"]) == 3
    again = evaluate_expert("cartpole", episodes=3, experts=store)
    assert again == record
    assert [row["task"] for row in list_experts(store)] == ["cartpole"]

    policy = load_expert("cartpole", store)
    with torch.no_grad():
        policy.network[0].bias += 1
    save_policy(policy, store / "cartpole.pt")
    with pytest.raises(UserError, match="sha256"):
        load_expert("cartpole", store)


def test_bad_input_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="unknown task"):
        train_expert("hoppper", tmp_path)
    with pytest.raises(UserError, match="no recipe"):
        train_expert(replace(TASKS["ant"], name="ants"), tmp_path)
    with pytest.raises(UserError, match="unknown setting"):
        train_expert("cartpole", tmp_path, overrides={"gama": 0.9})
    with pytest.raises(UserError, match="no finished training"):
        evaluate_expert("cartpole", tmp_path)
    with pytest.raises(UserError, match="no expert for cartpole"):
        load_expert("cartpole", tmp_path)
    (tmp_path / "manifest.json").write_text("{broken")
    with pytest.raises(UserError, match="not a readable manifest"):
        read_manifest(tmp_path)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match="cannot"):
        train_expert("cartpole", blocked, overrides=SMALL)
    (tmp_path / "cartpole").mkdir()
    (tmp_path / "cartpole" / "checkpoint.pt").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"checkpoint\.pt"):
        train_expert("cartpole", tmp_path, overrides=SMALL)


@pytest.mark.parametrize("task", LEVELS)
def test_shipped_experts_are_what_the_manifest_says(task):
    record = read_manifest()["experts"][task]
    assert record["stochastic"]["mean"] >= LEVELS[task]
    assert len(record["stochastic"]["returns"]) == 100
    assert np.mean(record["stochastic"]["returns"]) == pytest.approx(record["stochastic"]["mean"])
    load_expert(task)  # checks the digest
    settings = ExpertConfig.build(RECIPES[task])
    assert json.loads(json.dumps(settings.model_dump(mode="json"))) == record["settings"]
    if TASKS[task].family == "classic":
        assert evaluate_expert(task) == record
    assert (EXPERTS / f"{task}-curve.csv").exists()
